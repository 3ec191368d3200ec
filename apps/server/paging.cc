#include "apps/server/paging.h"

#include <charconv>

#include "apps/server/api_error.h"

namespace gritstone {

PageQuery page_query(const Request& request, std::size_t default_limit, std::size_t max_limit) {
  PageQuery query;
  query.limit = default_limit;
  if (const auto text = request.query_value("limit")) {
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), query.limit);
    if (error != std::errc() || end != text->data() + text->size() || query.limit < 1 || query.limit > max_limit) {
      throw ApiError::bad_request("limit must be a number between 1 and " + std::to_string(max_limit), "limit", "invalid_value");
    }
  }
  if (const auto order = request.query_value("order")) {
    if (*order != "asc" && *order != "desc") throw ApiError::bad_request("order must be asc or desc", "order", "invalid_value");
    query.ascending = *order == "asc";
  }
  query.after = request.query_value("after").value_or("");
  query.before = request.query_value("before").value_or("");
  return query;
}

PageRange page_range(const PageQuery& query, const std::vector<std::string>& ids) {
  const auto find = [&](const std::string& id, const char* param) {
    const auto found = std::find(ids.begin(), ids.end(), id);
    if (found == ids.end()) throw ApiError::not_found(std::string(param) + " is not the id of an item of this list", param);
    return static_cast<std::size_t>(found - ids.begin());
  };
  PageRange range{0, ids.size(), false};
  if (!query.after.empty()) range.begin = find(query.after, "after") + 1;
  if (!query.before.empty()) range.end = find(query.before, "before");
  range.end = std::max(range.begin, range.end);
  if (range.end - range.begin <= query.limit) return range;
  range.has_more = true;
  if (query.after.empty() && !query.before.empty()) {
    range.begin = range.end - query.limit;
  } else {
    range.end = range.begin + query.limit;
  }
  return range;
}

std::string page_json(const PageRange& range, const std::vector<std::string>& ids,
                      const std::function<void(JsonOutput&, std::size_t)>& write) {
  JsonOutput json;
  json.begin_object().field("object", "list").begin_array("data");
  for (std::size_t i = range.begin; i < range.end; ++i) write(json, i);
  json.end_array();
  for (const char* key : {"first_id", "last_id"}) {
    json.key(key);
    if (range.begin == range.end) {
      json.null();
    } else {
      json.value(ids[key[0] == 'f' ? range.begin : range.end - 1]);
    }
  }
  json.field("has_more", range.has_more).end_object();
  return json.text();
}

}  // namespace gritstone

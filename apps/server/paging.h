// OpenAI's list pages: ?limit=&order=&after=&before=, newest first unless asked otherwise.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "apps/json_output.h"
#include "apps/server/request.h"

namespace gritstone {

struct PageQuery {
  std::size_t limit = 20;
  bool ascending = false;
  std::string after;   // id; the page begins behind it
  std::string before;  // id; the page ends before it
};

// Throws ApiError (400) naming the parameter.
PageQuery page_query(const Request& request, std::size_t default_limit, std::size_t max_limit);

struct PageRange {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool has_more = false;
};

// Which of `ids` (in the order of the list) are on the page. With `before` the page is the last one that ends there. Throws ApiError (404)
// for an id that is not on the list.
PageRange page_range(const PageQuery& query, const std::vector<std::string>& ids);

// {"object":"list","data":[...],"first_id","last_id","has_more"}. write(i) writes item i of the list.
std::string page_json(const PageRange& range, const std::vector<std::string>& ids,
                      const std::function<void(JsonOutput&, std::size_t)>& write);

}  // namespace gritstone

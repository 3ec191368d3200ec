// Request heads, paths and queries from strangers: refused or read, with what is read as strict as promised.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "apps/server/http_head.h"
#include "apps/server/router.h"

namespace {

using namespace gritstone;

constexpr std::size_t kMaxHead = 8192;
constexpr std::size_t kMaxFields = 64;

void require(bool condition) {
  if (!condition) __builtin_trap();
}

const Router& router() {
  static const Router kRouter = [] {
    Router r;
    for (const char* path : {"/", "/v1/models", "/v1/models/{model}", "/v1/vector_stores/{id}/files/{file_id}"}) {
      r.add({.method = "GET", .path = path, .handler = [](const Request&, ReplyWriter&) {}});
    }
    return r;
  }();
  return kRouter;
}

void check_head(const RequestHead& head) {
  require(head.version == 10 || head.version == 11);
  require(head.fields.size() <= kMaxFields);
  require(head.target == "*" || head.target.front() == '/');
  require(std::none_of(head.target.begin(), head.target.end(), [](char c) { return c <= ' ' || c >= 127; }));
  for (const char* once : {"host", "content-length", "content-type", "authorization", "origin", "expect"}) {
    require(std::count_if(head.fields.begin(), head.fields.end(), [&](const auto& field) { return field.first == once; }) <= 1);
  }
  for (const auto& [name, value] : head.fields) {
    require(name != "transfer-encoding" && !name.empty());
    require(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
  }
  const Router::Match match = router().match(head.method, head.path);
  for (const auto& [name, value] : match.params) require(!value.empty() && value.find('\0') == std::string::npos);
  parse_query(head.query);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::optional<HeadError> error;
  const std::optional<std::size_t> end = find_head_end(input, kMaxHead, error);
  require(!end || !error);
  if (error) require(error->status >= 400 && error->status < 600);
  if (!end) return 0;
  require(*end <= kMaxHead && *end <= size);
  // Where the end is does not depend on how much of the rest has come.
  std::optional<HeadError> again;
  require(find_head_end(input.substr(0, *end), kMaxHead, again) == end);
  const HeadResult result = parse_head(input.substr(0, *end), kMaxFields);
  if (result.head) {
    check_head(*result.head);
  } else {
    require(result.error.status >= 400 && result.error.status < 600 && !result.error.message.empty());
  }
  return 0;
}

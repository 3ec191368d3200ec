#include "apps/server/router.h"

#include <algorithm>
#include <set>

#include "base/error.h"

namespace gritstone {
namespace {

std::vector<std::string_view> segments(std::string_view path) {
  std::vector<std::string_view> parts;
  std::size_t begin = 1;
  while (begin <= path.size()) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    parts.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

bool is_param(std::string_view segment) { return segment.size() > 2 && segment.front() == '{' && segment.back() == '}'; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool same_shape(std::string_view a, std::string_view b) {
  const auto x = segments(a), y = segments(b);
  return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                    [](std::string_view p, std::string_view q) { return (is_param(p) && is_param(q)) || p == q; });
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

void Router::add(Route route) {
  GS_CHECK(!route.path.empty() && route.path.front() == '/');
  GS_CHECK(route.handler != nullptr);
  for (const Route& other : routes_) GS_CHECK(other.method != route.method || !same_shape(other.path, route.path));
  routes_.push_back(std::move(route));
}

Router::Match Router::match(std::string_view method, std::string_view path) const {
  Match match;
  if (path.empty() || path.front() != '/') return match;
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  const std::vector<std::string_view> given = segments(path);
  std::set<std::string> allowed;
  std::size_t best = 0;  // literal segments of the match so far, plus one
  for (const Route& route : routes_) {
    const std::vector<std::string_view> parts = segments(route.path);
    if (parts.size() != given.size()) continue;
    std::map<std::string, std::string> params;
    std::size_t literals = 1;
    bool fits = true;
    for (std::size_t i = 0; i < parts.size() && fits; ++i) {
      if (is_param(parts[i])) {
        std::optional<std::string> value = percent_decode(given[i]);
        fits = value && !value->empty();
        if (fits) params.emplace(parts[i].substr(1, parts[i].size() - 2), std::move(*value));
      } else {
        fits = parts[i] == given[i];
        ++literals;
      }
    }
    if (!fits) continue;
    allowed.insert(route.method);
    if (route.method != wanted || literals <= best) continue;
    best = literals;
    match.route = &route;
    match.params = std::move(params);
  }
  if (allowed.empty()) return match;
  if (allowed.contains("GET")) allowed.insert("HEAD");
  allowed.insert("OPTIONS");
  match.allowed.assign(allowed.begin(), allowed.end());
  return match;
}

}  // namespace gritstone

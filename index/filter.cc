#include "index/filter.h"

#include <charconv>
#include <chrono>

#include "base/error.h"
#include "base/utf8.h"

namespace gritstone {
namespace {

// A filter becomes one SQL statement; SQLite allows far more parameters, but nobody types this many.
constexpr std::size_t kMaxTerms = 64;

[[noreturn]] void reject(std::string_view term, const std::string& why) {
  throw Error(ErrorCode::kInvalidArgument, "filter term \"" + sanitize_utf8(term) + "\": " + why);
}

// Cuts at blanks outside double quotes and drops the quotes.
std::vector<std::string> split_terms(std::string_view expression) {
  std::vector<std::string> terms;
  std::string term;
  bool quoted = false;
  bool started = false;
  for (const char c : expression) {
    if (c == '"') {
      quoted = !quoted;
      started = true;
    } else if (!quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) {
      if (started) terms.push_back(term);
      term.clear();
      started = false;
    } else {
      term += c;
      started = true;
    }
  }
  if (quoted) reject(expression, "a quote is not closed");
  if (started) terms.push_back(term);
  return terms;
}

int number(std::string_view text, std::string_view term) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) reject(term, "expected a date like 2024-01-31");
  return value;
}

std::int64_t day_start_ns(std::string_view date, std::string_view term) {
  if (date.size() != 10 || date[4] != '-' || date[7] != '-') reject(term, "expected a date like 2024-01-31");
  const std::chrono::year_month_day day(std::chrono::year(number(date.substr(0, 4), term)),
                                        std::chrono::month(static_cast<unsigned>(number(date.substr(5, 2), term))),
                                        std::chrono::day(static_cast<unsigned>(number(date.substr(8, 2), term))));
  // Nanoseconds in 64 bits reach from 1678 to 2261.
  if (!day.ok() || day.year() < std::chrono::year(1678) || day.year() > std::chrono::year(2261)) reject(term, "no such date");
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::sys_days(day).time_since_epoch()).count();
}

std::string type_name(std::string_view value, std::string_view term) {
  if (value == "md" || value == "markdown") return "markdown";
  if (value == "txt" || value == "text") return "text";
  if (value == "html" || value == "htm") return "html";
  reject(term, "type is one of md, txt, html");
}

}  // namespace

Filter parse_filter(std::string_view expression) {
  if (!is_valid_utf8(expression)) reject(expression, "not valid UTF-8");
  Filter filter;
  const auto terms = split_terms(expression);
  if (terms.size() > kMaxTerms) reject(expression, std::to_string(terms.size()) + " terms, at most " + std::to_string(kMaxTerms));
  for (const std::string& term : terms) {
    const std::string_view view = term;
    const std::size_t mark = view.find_first_of(":=");
    if (mark == std::string_view::npos || mark == 0) reject(term, "expected path:, type:, after:, before: or key=value");
    const std::string_view key = view.substr(0, mark);
    const std::string_view value = view.substr(mark + 1);
    if (view[mark] == '=') {
      filter.attributes.emplace_back(key, value);
    } else if (value.empty()) {
      reject(term, "a value is missing");
    } else if (key == "path") {
      filter.paths.emplace_back(value);
    } else if (key == "type") {
      filter.types.push_back(type_name(value, term));
    } else if (key == "after") {
      filter.modified_from_ns = day_start_ns(value, term);
    } else if (key == "before") {
      filter.modified_before_ns = day_start_ns(value, term);
    } else {
      reject(term, "expected path:, type:, after:, before: or key=value");
    }
  }
  return filter;
}

}  // namespace gritstone

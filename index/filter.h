// Which documents a search may see: "path:docs/* type:md after:2024-01-01 author=Ada".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace gritstone {

// The value a condition compares with. A number compares with attributes that are written as one ("2024", "7.5"), a boolean with "true" and
// "false", a text byte by byte.
using AttributeValue = std::variant<std::string, double, bool>;

// A condition on attributes, or several joined. A document without the attribute passes kNe and kNin alone.
struct AttributeCondition {
  enum class Op { kEq, kNe, kGt, kGte, kLt, kLte, kIn, kNin, kAnd, kOr };
  Op op = Op::kEq;
  std::string key;
  std::vector<AttributeValue> values;          // one; kIn, kNin: any number
  std::vector<AttributeCondition> conditions;  // kAnd, kOr: any number; none: kAnd passes all, kOr nothing
};

// All conditions must hold; alternatives of one kind (two path: or two type: terms) are or-ed. Empty = everything.
struct Filter {
  std::vector<std::string> paths;                  // globs (* ? [abc]); without a wildcard: the path itself or a folder above it
  std::vector<std::string> types;                  // "text", "markdown", "html"
  std::optional<std::int64_t> modified_from_ns;    // inclusive, nanoseconds since 1970 UTC
  std::optional<std::int64_t> modified_before_ns;  // exclusive
  std::vector<std::pair<std::string, std::string>> attributes;  // exact key and value
  std::optional<AttributeCondition> condition;

  bool empty() const noexcept {
    return paths.empty() && types.empty() && !modified_from_ns && !modified_before_ns && attributes.empty() && !condition;
  }
};

// Terms separated by blanks: path:GLOB, type:(md|markdown|txt|text|html), after:YYYY-MM-DD (that day included), before:YYYY-MM-DD (that day
// excluded), KEY=VALUE. Values may be quoted: path:"my docs/*", author="Ada Lovelace". Throws Error(kInvalidArgument) naming the term.
Filter parse_filter(std::string_view expression);

}  // namespace gritstone

// Which documents a search may see: "path:docs/* type:md after:2024-01-01 author=Ada".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gritstone {

// All conditions must hold; alternatives of one kind (two path: or two type: terms) are or-ed. Empty = everything.
struct Filter {
  std::vector<std::string> paths;                  // globs (* ? [abc]); without a wildcard: the path itself or a folder above it
  std::vector<std::string> types;                  // "text", "markdown", "html"
  std::optional<std::int64_t> modified_from_ns;    // inclusive, nanoseconds since 1970 UTC
  std::optional<std::int64_t> modified_before_ns;  // exclusive
  std::vector<std::pair<std::string, std::string>> attributes;  // exact key and value

  bool empty() const noexcept { return paths.empty() && types.empty() && !modified_from_ns && !modified_before_ns && attributes.empty(); }
};

// Terms separated by blanks: path:GLOB, type:(md|markdown|txt|text|html), after:YYYY-MM-DD (that day included), before:YYYY-MM-DD (that day
// excluded), KEY=VALUE. Values may be quoted: path:"my docs/*", author="Ada Lovelace". Throws Error(kInvalidArgument) naming the term.
Filter parse_filter(std::string_view expression);

}  // namespace gritstone

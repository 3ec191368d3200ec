// The files of the web page, embedded at build time (apps/server/web/embed.cmake writes the definition).
#pragma once

#include <span>
#include <string_view>

namespace gritstone {

struct PageAsset {
  std::string_view path;  // "/js/api.js"; the page itself is "/"
  std::string_view content_type;
  std::string_view etag;  // with its quotes; changes with the content
  std::string_view body;
};

// In no particular order; static storage. Thread-safe.
std::span<const PageAsset> page_assets() noexcept;

}  // namespace gritstone

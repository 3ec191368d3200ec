#include "base/cache_directory.h"

#include <cstdlib>

namespace gritstone {

std::filesystem::path cache_directory(std::string_view name) {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg != nullptr && *xdg == '/')
    return std::filesystem::path(xdg) / "gritstone" / name;
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    return std::filesystem::path(home) / ".cache" / "gritstone" / name;
  }
  return {};
}

}  // namespace gritstone

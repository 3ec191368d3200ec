#include "apps/paths.h"

#include <filesystem>

#include "apps/terminal.h"

namespace gritstone {

std::string absolute_path(const std::string& path) {
  std::string absolute = std::filesystem::absolute(path).lexically_normal().string();
  if (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  return absolute;
}

std::string display_path(const std::string& path) {
  std::error_code error;
  const std::filesystem::path here = std::filesystem::current_path(error);
  if (error) return printable(path);
  const std::string relative = std::filesystem::path(path).lexically_relative(here).string();
  return printable(!relative.empty() && relative.size() < path.size() ? relative : path);
}

}  // namespace gritstone

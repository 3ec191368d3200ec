#include "apps/run_description.h"

#include <fstream>
#include <iterator>
#include <string_view>
#include <thread>

namespace gritstone {
namespace {

bool is_plain(std::string_view text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=,:+@%";
  return !text.empty() && text.find_first_not_of(kPlain) == std::string_view::npos;
}

std::string quoted(std::string_view text) {
  if (is_plain(text)) return std::string(text);
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::string command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  std::string line;
  for (std::size_t begin = 0; begin < all.size();) {
    const std::size_t end = std::min(all.find('\0', begin), all.size());
    std::string_view argument = std::string_view(all).substr(begin, end - begin);
    // Where the program lies says nothing.
    if (begin == 0) argument = argument.substr(argument.find_last_of('/') + 1);
    line += (begin == 0 ? "" : " ") + quoted(argument);
    begin = end + 1;
  }
  return line;
}

std::string machine_name() {
  std::string name = "unknown CPU";
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const std::size_t at = line.find(": ");
    if (at != std::string::npos) name = line.substr(at + 2);
    break;
  }
  return name + ", " + std::to_string(std::thread::hardware_concurrency()) + " threads";
}

}  // namespace gritstone

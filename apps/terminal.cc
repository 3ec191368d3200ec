#include "apps/terminal.h"

#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace gritstone {
namespace {

bool closed_pipe = false;

void check_out(bool ok) {
  if (ok || closed_pipe) return;
  if (errno == EPIPE) {
    closed_pipe = true;
    return;
  }
  throw Error(ErrorCode::kStorage, std::string("cannot write to standard output: ") + std::strerror(errno));
}

}  // namespace

void print_out(std::string_view text) {
  if (closed_pipe) return;
  check_out(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
}

void flush_out() {
  if (closed_pipe) return;
  check_out(std::fflush(stdout) == 0);
}

void print_err(std::string_view text) noexcept { std::fwrite(text.data(), 1, text.size(), stderr); }

bool stdout_is_terminal() noexcept { return ::isatty(STDOUT_FILENO) == 1; }
bool stderr_is_terminal() noexcept { return ::isatty(STDERR_FILENO) == 1; }

std::string format(const char* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  va_list again;
  va_copy(again, arguments);
  const int size = std::vsnprintf(nullptr, 0, pattern, arguments);
  va_end(arguments);
  std::vector<char> buffer(static_cast<std::size_t>(size > 0 ? size : 0) + 1);
  std::vsnprintf(buffer.data(), buffer.size(), pattern, again);
  va_end(again);
  return buffer.data();
}

std::string human_bytes(std::uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return format(value < 10 ? "%.2f %s" : "%.1f %s", value, kUnits[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds < 1) return format("%.3f s", seconds);
  if (seconds < 60) return format("%.1f s", seconds);
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 3600) return format("%lld:%02lld", whole / 60, whole % 60);
  return format("%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string human_count(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return digits;
}

std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Decoded decoded = decode_utf8(text, i);
    const char32_t c = decoded.code_point;
    const bool control = (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0);
    if (control) {
      out += ' ';
    } else {
      append_utf8(out, c);
    }
    i += decoded.length;
  }
  return out;
}

}  // namespace gritstone

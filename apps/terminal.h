// Where results and messages go: results to standard output, everything else to standard error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gritstone {

// Writes to standard output, buffered. Throws Error(kStorage) if it cannot be written (a full disk behind a redirection). A closed pipe
// (`gritstone search ... | head -1`) is no error: the rest is dropped.
void print_out(std::string_view text);
// Flushes what print_out buffered; same errors.
void flush_out();
void print_err(std::string_view text) noexcept;

bool stdout_is_terminal() noexcept;
bool stderr_is_terminal() noexcept;

// "1.50 GiB", "12.0 MiB", "17 B".
std::string human_bytes(std::uint64_t bytes);
// "0.012 s", "4.1 s", "3:07", "1:02:03" (minutes or hours first).
std::string human_seconds(double seconds);
// "12,345".
std::string human_count(std::uint64_t count);
// printf into a string.
std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));

// Text of strangers on a terminal: control characters but line feed and tab become spaces, so that no document can send escape sequences.
std::string printable(std::string_view text);

}  // namespace gritstone

// How every operation that cannot go on ends: one exception type with a code a program can act on and a message a person can.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace gritstone {

enum class ErrorCode {
  kInvalidArgument,  // the caller's input: usage, shapes, ranges
  kNotFound,         // a named file, collection or document does not exist
  kCancelled,        // a stop was asked for; nothing half-done remains visible
  kDeadline,         // the time given ran out
  kPartial,          // some inputs were skipped, the rest is done
  kLocked,           // another process holds the write lock
  kDamagedData,      // our own stored data does not verify
  kStorage,          // I/O error or no space
  kModelRejected,    // a model or tokenizer file is malformed or unsupported
  kMemoryBudget,     // what was asked for does not fit the memory budget
  kDevice,           // a compute device failed
  kUnavailable,      // a service reached over the network does not answer, or not with what it should
};

// Ends an operation. The message names the values involved ("row 7 has 3 columns, expected 4"), in one line without a trailing period.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

// The process exit code of DESIGN's table: 0 ok, 1 usage, 2 partly done, 3 locked, 4 damaged data, 5 storage, 6 model rejected, 7 memory.
int exit_code(ErrorCode code) noexcept;

// Short lower-case name for logs and JSON ("invalid_argument").
std::string_view error_name(ErrorCode code) noexcept;

// Reports a broken invariant and aborts. Only for bugs: no input may reach it.
[[noreturn]] void check_failed(const char* expression, const char* file, int line) noexcept;

}  // namespace gritstone

#define GS_CHECK(expression) (static_cast<bool>(expression) ? void(0) : ::gritstone::check_failed(#expression, __FILE__, __LINE__))

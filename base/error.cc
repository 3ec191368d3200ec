#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace gritstone {

int exit_code(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotFound:
      return 1;
    case ErrorCode::kCancelled:
    case ErrorCode::kDeadline:
    case ErrorCode::kPartial:
      return 2;
    case ErrorCode::kLocked:
      return 3;
    case ErrorCode::kDamagedData:
      return 4;
    case ErrorCode::kStorage:
    case ErrorCode::kDevice:
    case ErrorCode::kUnavailable:
      return 5;
    case ErrorCode::kModelRejected:
      return 6;
    case ErrorCode::kMemoryBudget:
      return 7;
  }
  return 1;
}

std::string_view error_name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid_argument";
    case ErrorCode::kNotFound:
      return "not_found";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kDeadline:
      return "deadline";
    case ErrorCode::kPartial:
      return "partial";
    case ErrorCode::kLocked:
      return "locked";
    case ErrorCode::kDamagedData:
      return "damaged_data";
    case ErrorCode::kStorage:
      return "storage";
    case ErrorCode::kModelRejected:
      return "model_rejected";
    case ErrorCode::kMemoryBudget:
      return "memory_budget";
    case ErrorCode::kDevice:
      return "device";
    case ErrorCode::kUnavailable:
      return "unavailable";
  }
  return "unknown";
}

void check_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "gritstone: internal error: %s (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace gritstone

#include "apps/server/api_error.h"

#include <new>

#include "apps/json_output.h"

namespace gritstone {

ApiError::ApiError(int status, std::string type, const std::string& message, std::string param, std::string code)
    : std::runtime_error(message), status_(status), type_(std::move(type)), param_(std::move(param)), code_(std::move(code)) {}

ApiError ApiError::bad_request(const std::string& message, std::string param, std::string code) {
  return {400, "invalid_request_error", message, std::move(param), std::move(code)};
}

ApiError ApiError::not_found(const std::string& message, std::string param, std::string code) {
  return {404, "not_found_error", message, std::move(param), std::move(code)};
}

ApiError ApiError::conflict(const std::string& message, std::string param, std::string code) {
  return {409, "invalid_request_error", message, std::move(param), std::move(code)};
}

ApiError ApiError::busy(const std::string& message, int retry_after_seconds) {
  ApiError error(429, "rate_limit_error", message, {}, "rate_limit_exceeded");
  error.retry_after_seconds_ = retry_after_seconds;
  return error;
}

ApiError ApiError::unavailable(const std::string& message, int retry_after_seconds) {
  ApiError error(503, "unavailable_error", message, {}, "unavailable");
  error.retry_after_seconds_ = retry_after_seconds;
  return error;
}

std::string ApiError::json() const {
  JsonOutput json;
  json.begin_object().begin_object("error").field("message", what()).field("type", type_).key("param");
  if (param_.empty()) {
    json.null();
  } else {
    json.value(param_);
  }
  json.key("code");
  if (code_.empty()) {
    json.null();
  } else {
    json.value(code_);
  }
  json.end_object().end_object();
  return json.text();
}

ApiError to_api_error(const std::exception& error) {
  if (const auto* api = dynamic_cast<const ApiError*>(&error)) return *api;
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return ApiError::unavailable("out of memory", 5);
  const auto* own = dynamic_cast<const Error*>(&error);
  if (own == nullptr) return {500, "server_error", "internal error; the server's log says more", {}, "internal_error"};
  const std::string message = own->what();
  const std::string code(error_name(own->code()));
  switch (own->code()) {
    case ErrorCode::kInvalidArgument:
      return ApiError::bad_request(message, {}, code);
    case ErrorCode::kNotFound:
      return ApiError::not_found(message, {}, code);
    case ErrorCode::kCancelled:
      return {499, "cancelled_error", "the request was cancelled", {}, code};
    case ErrorCode::kDeadline:
      return {504, "timeout_error", "the request took longer than the server allows", {}, code};
    case ErrorCode::kLocked:
      return ApiError::unavailable("another process is writing to the store", 1);
    case ErrorCode::kMemoryBudget:
      return ApiError::unavailable("the request does not fit into the memory that the model has for states", 5);
    case ErrorCode::kStorage:
      return {507, "server_error", "the server's storage is full or fails; its log says more", {}, code};
    case ErrorCode::kUnavailable:
      return {502, "server_error", "the collection's embedder does not answer; the server's log says more", {}, code};
    case ErrorCode::kDamagedData:
      return {500, "server_error", "stored data is damaged; see gritstone collection verify", {}, code};
    case ErrorCode::kPartial:
    case ErrorCode::kModelRejected:
    case ErrorCode::kDevice:
      break;
  }
  return {500, "server_error", "internal error; the server's log says more", {}, code};
}

}  // namespace gritstone

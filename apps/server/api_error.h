// How a request fails: a status and OpenAI's error object.
#pragma once

#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/error.h"

namespace gritstone {

// Thrown by handlers; the server answers it as {"error":{"message","type","param","code"}} with `status`, or as the last event of a stream
// that has begun. What handlers throw otherwise (Error, std::exception) is translated by to_api_error().
class ApiError : public std::runtime_error {
 public:
  // param: the member of the request that is wrong ("messages[2].role"); code: a word a program can act on; empty: null in JSON.
  ApiError(int status, std::string type, const std::string& message, std::string param = {}, std::string code = {});

  // The usual ones. Messages are for the caller: they name values, never paths of the server.
  static ApiError bad_request(const std::string& message, std::string param = {}, std::string code = {});  // 400
  static ApiError not_found(const std::string& message, std::string param = {}, std::string code = {});    // 404
  static ApiError conflict(const std::string& message, std::string param = {}, std::string code = {});     // 409
  static ApiError busy(const std::string& message, int retry_after_seconds);                               // 429
  static ApiError unavailable(const std::string& message, int retry_after_seconds);                        // 503

  int status() const noexcept { return status_; }
  const std::string& type() const noexcept { return type_; }
  const std::string& param() const noexcept { return param_; }
  const std::string& code() const noexcept { return code_; }
  int retry_after_seconds() const noexcept { return retry_after_seconds_; }  // 0: no Retry-After header

  std::string json() const;  // {"error":{...}}

 private:
  int status_;
  std::string type_;
  std::string param_;
  std::string code_;
  int retry_after_seconds_ = 0;
};

// The status a caller sees for one of our errors, or any other exception. What points at the server itself (storage, damage, bugs) gets a
// message without details; the log has them.
ApiError to_api_error(const std::exception& error);

}  // namespace gritstone

// One line for each request and each event of the server's life, for people or as JSON lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace gritstone {

struct AccessRecord {
  std::string id;
  std::string remote;
  std::string method;
  std::string path;  // without query
  std::string route;
  std::string trace;
  int status = 0;
  double milliseconds = 0;
  double queue_ms = 0;
  std::uint64_t sent_bytes = 0;
  std::size_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
  std::string ended;  // "complete", "disconnect", "deadline", "slow_reader", "shutdown"
  std::string error;  // what an operator needs to know and the caller was not told; may be empty
};

// Thread-safe. Never logs headers, bodies, queries or keys; control characters are escaped, paths cut at 200 bytes.
class AccessLog {
 public:
  enum class Format { kText, kJson, kNone };
  // write: one whole line with its line feed.
  AccessLog(Format format, std::function<void(std::string_view)> write) : format_(format), write_(std::move(write)) {}

  void request(const AccessRecord& record);
  // level: "info", "warning", "error"; errors are written even with kNone.
  void event(std::string_view level, std::string_view message);

 private:
  const Format format_;
  std::function<void(std::string_view)> write_;
  std::mutex mutex_;
};

}  // namespace gritstone

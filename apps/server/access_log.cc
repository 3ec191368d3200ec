#include "apps/server/access_log.h"

#include <chrono>
#include <cstdio>
#include <ctime>

#include "apps/json_output.h"
#include "apps/terminal.h"

namespace gritstone {
namespace {

constexpr std::size_t kMaxPath = 200;

std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  char date[32];
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
  char text[48];
  std::snprintf(text, sizeof text, "%s.%03dZ", date, static_cast<int>(milliseconds));
  return text;
}

// Printable ASCII as it is, anything else as \xNN: a path must not forge a line or send escape sequences to a terminal.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMaxPath)) {
    if (c >= ' ' && c < 127 && c != '\\') {
      out += c;
    } else {
      char code[8];
      std::snprintf(code, sizeof code, "\\x%02x", static_cast<unsigned char>(c));
      out += code;
    }
  }
  if (text.size() > kMaxPath) out += "...";
  return out;
}

}  // namespace

void AccessLog::request(const AccessRecord& r) {
  if (format_ == Format::kNone && r.error.empty()) return;
  std::string line;
  if (format_ == Format::kJson) {
    JsonOutput json;
    json.begin_object().field("time", timestamp()).field("level", r.status >= 500 ? "error" : "info").field("event", "request");
    json.field("id", r.id).field("remote", r.remote).field("method", escaped(r.method)).field("path", escaped(r.path));
    json.field("route", r.route).field("status", r.status).field("ms", r.milliseconds).field("queue_ms", r.queue_ms);
    json.field("sent_bytes", r.sent_bytes).field("prompt_tokens", r.prompt_tokens).field("cached_tokens", r.cached_tokens);
    json.field("completion_tokens", r.completion_tokens).field("ended", r.ended);
    if (!r.trace.empty()) json.field("trace_id", r.trace);
    if (!r.error.empty()) json.field("error", escaped(r.error));
    json.end_object();
    line = json.text() + "\n";
  } else {
    line = timestamp() + " " + escaped(r.method) + " " + escaped(r.path) + format(" %d %.1f ms", r.status, r.milliseconds);
    if (r.completion_tokens + r.prompt_tokens > 0) {
      line += format(" %zu+%zu tokens (%zu cached)", r.prompt_tokens, r.completion_tokens, r.cached_tokens);
    }
    if (r.ended != "complete") line.append(" ").append(r.ended);
    if (!r.error.empty()) line.append(" ").append(escaped(r.error));
    line.append(" ").append(r.id).append("\n");
  }
  const std::lock_guard lock(mutex_);
  write_(line);
}

void AccessLog::event(std::string_view level, std::string_view message) {
  if (format_ == Format::kNone && level == "info") return;
  std::string line;
  if (format_ == Format::kJson) {
    JsonOutput json;
    json.begin_object().field("time", timestamp()).field("level", level).field("event", "server").field("message", escaped(message));
    json.end_object();
    line = json.text() + "\n";
  } else {
    line = "gritstone: " + (level == "info" ? std::string() : std::string(level) + ": ") + printable(message) + "\n";
  }
  const std::lock_guard lock(mutex_);
  write_(line);
}

}  // namespace gritstone

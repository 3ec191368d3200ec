#include "apps/server/trace_context.h"

#include <algorithm>

namespace gritstone {

std::string trace_id(std::string_view traceparent) {
  const auto is_hex = [](std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  };
  // Later versions may append fields; version ff is forbidden.
  if (traceparent.size() < 55 || traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-') return {};
  if (traceparent.size() > 55 && traceparent[55] != '-') return {};
  const std::string_view version = traceparent.substr(0, 2), trace = traceparent.substr(3, 32), span = traceparent.substr(36, 16);
  if (!is_hex(version) || version == "ff" || !is_hex(trace) || !is_hex(span) || !is_hex(traceparent.substr(53, 2))) return {};
  if (trace.find_first_not_of('0') == std::string_view::npos || span.find_first_not_of('0') == std::string_view::npos) return {};
  return std::string(trace);
}

}  // namespace gritstone

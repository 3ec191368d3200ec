// What `eval latency` writes, read back: its JSON document (percentiles) and its records (one JSON line a request).
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "pipelines/report_inputs.h"

namespace gritstone {

// Throws Error(kInvalidArgument) naming `where`. Fills source.about.
ReportLatency read_latency_document(const rapidjson::Value& json, const std::string& label, const std::string& where, ReportSource& source);

// By the first line: a header, or a record.
bool looks_like_latency_records(std::string_view first_line);
// Lines {"index","due","begun","first_token","ended","tokens","ok","error","stages"}: seconds, stages in milliseconds; a header
// {"gritstone_latency_records":1,...} may stand first. An incomplete last line is left out and told in source.warning. Throws
// Error(kInvalidArgument) naming file and line.
ReportLatency read_latency_records(std::string_view text, const std::string& label, const std::string& file, ReportSource& source);

}  // namespace gritstone

#include "pipelines/report_latency_files.h"

#include "base/error.h"

namespace gritstone {
namespace {

[[noreturn]] void fail(const std::string& where, const std::string& what) { throw Error(ErrorCode::kInvalidArgument, where + ": " + what); }

// Runs `read`, which may throw without naming the place.
template <typename Read>
auto at(const std::string& where, Read&& read) {
  try {
    return read();
  } catch (const Error& error) {
    if (std::string_view(error.what()).starts_with(where)) throw;
    fail(where, error.what());
  }
}

double number_or(const rapidjson::Value& json, const char* key, double otherwise) { return json_number(json, key).value_or(otherwise); }
std::size_t count_or_0(const rapidjson::Value& json, const char* key) {
  const std::int64_t value = json_integer(json, key).value_or(0);
  return value < 0 ? 0 : static_cast<std::size_t>(value);
}

Distribution distribution_from(const rapidjson::Value& json, const char* key, const std::string& where) {
  Distribution d;
  if (!json.HasMember(key)) return d;
  const rapidjson::Value& object = json[key];
  if (!object.IsObject()) fail(where, std::string("\"") + key + "\" is no object");
  d.n = count_or_0(object, "n");
  d.mean = number_or(object, "mean", 0);
  d.deviation = number_or(object, "sd", 0);
  d.smallest = number_or(object, "min", 0);
  d.largest = number_or(object, "max", 0);
  for (const auto& [name, share] : {std::pair{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}}) {
    if (!object.HasMember(name)) continue;
    if (!object[name].IsObject()) fail(where, std::string("\"") + key + "\": \"" + name + "\" is no object");
    d.percentiles.push_back(
        {share, number_or(object[name], "value", 0), json_number(object[name], "lower"), json_number(object[name], "upper")});
  }
  return d;
}

// Members that are no lists, as text: what the head of a file says.
void about_from(const rapidjson::Value& json, const std::string& prefix, ReportSource& source) {
  for (const auto& member : json.GetObject()) {
    const std::string name = prefix + std::string(member.name.GetString(), member.name.GetStringLength());
    if (name == "gritstone_latency_records" || member.value.IsArray() || member.value.IsNull()) continue;
    if (member.value.IsObject()) {
      about_from(member.value, name + " ", source);
    } else if (member.value.IsString()) {
      source.about.emplace_back(name, std::string(member.value.GetString(), member.value.GetStringLength()));
    } else {
      source.about.emplace_back(name, json_text(member.value));
    }
  }
}

RequestRecord record_from(const rapidjson::Value& json, const std::string& where) {
  if (!json.IsObject()) fail(where, "no JSON object");
  const auto seconds = [&](const char* key) {
    const std::optional<double> value = json_number(json, key);
    if (!value) fail(where, std::string("no \"") + key + "\"");
    return *value;
  };
  RequestRecord r;
  r.index = count_or_0(json, "index");
  r.due = seconds("due");
  r.begun = seconds("begun");
  r.ended = seconds("ended");
  r.first_token = number_or(json, "first_token", 0);
  r.tokens = count_or_0(json, "tokens");
  const std::optional<bool> ok = json_bool(json, "ok");
  if (!ok) fail(where, "no \"ok\"");
  r.ok = *ok;
  r.error = json_string(json, "error").value_or("");
  if (json.HasMember("stages") && !json["stages"].IsNull()) {
    if (!json["stages"].IsObject()) fail(where, "\"stages\" is no object");
    for (const auto& stage : json["stages"].GetObject()) {
      if (!stage.value.IsNumber()) fail(where, "\"stages\" holds something that is no number");
      r.stages[{stage.name.GetString(), stage.name.GetStringLength()}] = stage.value.GetDouble();
    }
  }
  return r;
}

}  // namespace

ReportLatency read_latency_document(const rapidjson::Value& json, const std::string& label, const std::string& where,
                                    ReportSource& source) {
  return at(where, [&] {
    ReportLatency latency;
    latency.label = label;
    LatencySummary& s = latency.summary;
    s.requests = count_or_0(json, "requests");
    s.completed = count_or_0(json, "completed");
    s.failed = count_or_0(json, "failed");
    s.seconds = number_or(json, "seconds", 0);
    s.requests_per_second = number_or(json, "requests_per_second", 0);
    s.tokens_per_second = number_or(json, "tokens_per_second", 0);
    s.goodput = number_or(json, "goodput", 0);
    s.good_share = number_or(json, "good_share", 0);
    s.wait_ms = distribution_from(json, "wait_ms", where);
    s.ttft_ms = distribution_from(json, "ttft_ms", where);
    s.tpot_ms = distribution_from(json, "tpot_ms", where);
    s.itl_ms = distribution_from(json, "itl_ms", where);
    s.e2e_ms = distribution_from(json, "e2e_ms", where);
    if (json.HasMember("errors") && json["errors"].IsObject()) {
      for (const auto& error : json["errors"].GetObject()) {
        if (error.value.IsUint64()) s.errors[{error.name.GetString(), error.name.GetStringLength()}] = error.value.GetUint64();
      }
    }
    if (json.HasMember("stages") && json["stages"].IsObject()) {
      for (const auto& stage : json["stages"].GetObject()) {
        s.stages[stage.name.GetString()] = distribution_from(json["stages"], stage.name.GetString(), where);
      }
    }
    if (json["load"].IsObject()) about_from(json["load"], "load ", source);
    return latency;
  });
}

bool looks_like_latency_records(std::string_view first_line) {
  if (first_line.find("\"gritstone_latency_records\"") != std::string_view::npos) return true;
  return first_line.find("\"due\"") != std::string_view::npos && first_line.find("\"begun\"") != std::string_view::npos;
}

ReportLatency read_latency_records(std::string_view text, const std::string& label, const std::string& file, ReportSource& source) {
  ReportLatency latency;
  latency.label = label;
  std::vector<RequestRecord> records;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    const std::string where = file + ", line " + std::to_string(++number);
    const std::string_view line = text.substr(begin, end == std::string_view::npos ? end : end - begin);
    if (end == std::string_view::npos) {
      source.warning = "its last line is incomplete and was left out";
      break;
    }
    begin = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const rapidjson::Document json = parse_json(line, where);
    if (json.IsObject() && json.HasMember("gritstone_latency_records")) {
      if (number > 1) fail(where, "a second header");
      about_from(json, "", source);
      continue;
    }
    records.push_back(at(where, [&] { return record_from(json, where); }));
  }
  if (records.empty()) fail(file, "no complete record");
  latency.summary = summarise_latency(records, {});
  for (const RequestRecord& r : records) {
    if (r.ok && r.first_token > 0) latency.ttft_ms.push_back(1e3 * (r.first_token - r.due));
  }
  return latency;
}

}  // namespace gritstone

#include "pipelines/report_inputs.h"

#include <algorithm>
#include <set>

#include "base/checked_file.h"
#include "base/error.h"
#include "base/json.h"
#include "pipelines/qa_run_file.h"
#include "pipelines/report_latency_files.h"

namespace gritstone {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{4} << 30;

[[noreturn]] void fail(const std::string& where, const std::string& what) { throw Error(ErrorCode::kInvalidArgument, where + ": " + what); }

// "minilm", or "minilm-2" where that is taken.
std::string unused(const std::string& wanted, const std::set<std::string>& taken) {
  std::string name = wanted;
  for (std::size_t i = 2; taken.contains(name); ++i) name = wanted + "-" + std::to_string(i);
  return name;
}

void add_run(ReportInputs& inputs, const std::filesystem::path& path) {
  QaRun run = read_qa_run(path);
  ReportSource source{path.string(), "answers", run.header.about, run.cut ? "its last line is incomplete and was left out" : ""};
  if (run.header.version == 2) source.about.emplace_back("collection", run.header.sources[0].collection + ", " + run.header.mode);
  std::set<std::string> retrievals;
  for (const std::string& config : inputs.configs) retrievals.insert(parse_config_name(config).retrieval);
  std::map<std::string, std::string> labels;
  const bool clash = std::ranges::any_of(run.configs, [&](const std::string& c) { return std::ranges::count(inputs.configs, c) > 0; });
  const std::string stem = unused(path.stem().string(), retrievals);
  for (const std::string& config : run.configs) {
    const std::string& between = parse_config_name(config).retrieval.empty() ? "+" : ":";
    labels[config] = clash ? stem + between + config : config;
    inputs.configs.push_back(labels[config]);
  }
  for (QaRow& row : run.rows) {
    row.config = labels[row.config];
    inputs.rows.push_back(std::move(row));
  }
  inputs.sources.push_back(std::move(source));
}

ReportRetrieval retrieval_of(const rapidjson::Value& json, const std::string& label, const std::string& where) {
  ReportRetrieval entry;
  entry.label = label;
  if (!json.HasMember("metrics") || !json["metrics"].IsObject()) fail(where, "no object \"metrics\"");
  if (!json.HasMember("per_query") || !json["per_query"].IsObject()) fail(where, "no object \"per_query\"");
  for (const auto& metric : json["metrics"].GetObject()) {
    if (metric.value.IsNumber()) entry.metrics[metric.name.GetString()] = metric.value.GetDouble();
  }
  for (const auto& query : json["per_query"].GetObject()) {
    if (!query.value.IsObject()) fail(where, std::string("\"per_query\": \"") + query.name.GetString() + "\" is no object");
    for (const auto& metric : query.value.GetObject()) {
      if (metric.value.IsNumber()) entry.figures[metric.name.GetString()][query.name.GetString()] = metric.value.GetDouble();
    }
  }
  entry.queries = json["per_query"].MemberCount();
  return entry;
}

// The label, with the file's name before it where another file has the same.
std::string label_in(const std::vector<ReportRetrieval>& known, const std::string& label, const std::string& stem) {
  const bool taken = std::ranges::any_of(known, [&](const ReportRetrieval& r) { return r.label == label; });
  return taken ? stem + ": " + label : label;
}

void add_document(ReportInputs& inputs, const std::filesystem::path& path, const std::string& text) {
  const std::string where = path.string(), stem = path.stem().string();
  // Figures of a hundred thousand queries: looking for repeated keys would cost more than reading them.
  const rapidjson::Document json = parse_json(text, where, 32, false);
  if (!json.IsObject()) fail(where, "no JSON object");
  if (json.HasMember("per_query")) {
    inputs.retrieval.push_back(retrieval_of(json, label_in(inputs.retrieval, stem, stem), where));
    inputs.sources.push_back({where, "retrieval", {}, ""});
    return;
  }
  if (json.HasMember("configs") && json["configs"].IsArray()) {
    if (json.HasMember("kinds"))
      fail(where, "the summary of `eval qa --json`; a report needs its answers: give the file of `eval qa --run`");
    std::size_t number = 0;
    for (const rapidjson::Value& config : json["configs"].GetArray()) {
      const std::string at = where + ", config " + std::to_string(++number);
      if (!config.IsObject()) fail(at, "no object");
      const std::string name = json_string(config, "config").value_or(stem + " " + std::to_string(number));
      inputs.retrieval.push_back(retrieval_of(config, label_in(inputs.retrieval, name, stem), at));
    }
    if (number == 0) fail(where, "\"configs\" is empty");
    inputs.sources.push_back({where, "retrieval", {}, ""});
    return;
  }
  if (json.HasMember("load") && json.HasMember("ttft_ms")) {
    ReportSource source{where, "latency", {}, ""};
    inputs.latency.push_back(read_latency_document(json, stem, where, source));
    inputs.sources.push_back(std::move(source));
    return;
  }
  fail(where,
       "neither a run file of `eval qa --run`, nor JSON of `eval retrieval` or `eval latency`, nor records of `eval latency --records`");
}

}  // namespace

void ReportInputs::add(const std::filesystem::path& path) {
  const std::string text = read_file(path, kMaxBytes);
  const std::string_view first_line = std::string_view(text).substr(0, text.find('\n'));
  if (first_line.find("\"gritstone_qa_run\"") != std::string_view::npos) return add_run(*this, path);
  if (looks_like_latency_records(first_line)) {
    ReportSource source{path.string(), "latency", {}, ""};
    latency.push_back(read_latency_records(text, path.stem().string(), path.string(), source));
    sources.push_back(std::move(source));
    return;
  }
  add_document(*this, path, text);
}

void ReportInputs::add_questions(const std::vector<QaQuestion>& questions) {
  std::map<std::string_view, const QaQuestion*> by_id;
  for (const QaQuestion& question : questions) by_id[question.id] = &question;
  for (QaRow& row : rows) {
    const auto it = by_id.find(row.id);
    if (it == by_id.end()) continue;
    if (row.question.empty()) row.question = it->second->question;
    if (row.gold.empty()) row.gold = it->second->answers;
  }
}

}  // namespace gritstone

// What evaluations say together: the figures behind the one report, before they become HTML, Markdown, CSV or JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pipelines/report_inputs.h"
#include "pipelines/report_statistics.h"

namespace gritstone {

struct ReportOptions {
  std::string title = "Evaluation of answers";
  std::size_t questions = 10;  // the worst ones that are shown, and as many that flipped
  std::size_t resamples = 10000;
  std::uint64_t seed = 1;
};

// One config of `eval qa`.
struct ReportConfig {
  QaSummary all;
  std::map<std::string, QaSummary> kinds;
  Interval f1, right;                           // over answerable questions
  Distribution ttft, total;                     // milliseconds
  std::vector<double> ttft_ms;                  // of every question with a first token
  std::map<std::string, double> stages_median;  // milliseconds, of the same questions; a stage that did not run counts 0
  std::size_t compared_with = 0;                // place of the config in `differences`; itself: none
  bool on_front = false;                        // no other config starts as early and has as high an F1, one of both better
};

// One metric of one config beside the config it is compared with.
struct ReportDifference {
  std::size_t config = 0, against = 0;
  PairedComparison figures;  // B is `config`; p_holm is corrected over all differences of the report
};

struct ReportQuestion {
  std::string id, kind, question;
  std::vector<std::string> gold;
  std::string why;                    // "F1 0.00", "right under none/k5/docs-first, wrong under chunks/int8/k5/docs-first"
  std::map<std::size_t, QaRow> rows;  // by config
};

struct ReportFailure {
  std::string where;    // config or latency run
  std::string message;  // of every failure alike
  std::size_t count = 0;
  std::string example;  // a question's id; may be empty
};

struct Report {
  std::string title;
  std::vector<ReportSource> sources;
  std::vector<std::string> findings;  // sentences, for people in a hurry; nothing in them goes beyond the intervals
  std::vector<ReportConfig> configs;
  std::vector<std::string> kinds;   // of questions; empty where there is one
  std::optional<std::size_t> best;  // highest F1
  std::optional<std::size_t> fast;  // the policy that may change answers with the earliest first token, beside its reference
  std::vector<ReportDifference> differences;
  std::vector<ReportRetrieval> retrieval;
  std::vector<ReportLatency> latency;
  std::vector<ReportQuestion> worst;    // lowest F1 under `best`
  std::vector<ReportQuestion> flipped;  // right under one of `fast` and its reference, wrong under the other
  std::vector<ReportFailure> failures;
};

// Throws Error(kInvalidArgument) if there is nothing to report.
Report build_report(const ReportInputs& inputs, const ReportOptions& options);

// "chunks/int8 against none, ...": the sentences. Called by build_report() last.
std::vector<std::string> report_findings(const Report& report);

// Metrics as people read them: "ttft_ms" is "TTFT, ms", "contained" is "right".
std::string metric_title(const std::string& metric);

// Stages in the order they run, each with the word for it ("vector_ms", "vector search"); others are left out.
const std::vector<std::pair<std::string, std::string>>& report_stages();

}  // namespace gritstone

// What evaluations left behind, read for a report: run files of `eval qa`, JSON of `eval retrieval` and `eval latency`, records of
// `eval latency`.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "pipelines/eval_qa.h"
#include "pipelines/latency_summary.h"
#include "pipelines/paired_comparison.h"
#include "pipelines/report_statistics.h"

namespace gritstone {

struct ReportSource {
  std::string file;                                        // as it was named
  std::string kind;                                        // "answers", "retrieval", "latency"
  std::vector<std::pair<std::string, std::string>> about;  // what the file says of how it was made
  std::string warning;                                     // what is odd about it; mostly empty
};

struct ReportRetrieval {
  std::string label;
  std::map<std::string, double> metrics;      // means
  std::map<std::string, Interval> intervals;  // of those whose figures are known; build_report() fills it
  QuestionFigures figures;
  std::size_t queries = 0;
};

struct ReportLatency {
  std::string label;
  LatencySummary summary;
  std::vector<double> ttft_ms;  // of every request that has one; empty where only percentiles are known
};

struct ReportInputs {
  std::vector<ReportSource> sources;
  // Of all run files. Where two hold the same config, that of the later file is named after it, as a baseline is:
  // "stem+none/k5/docs-first".
  std::vector<QaRow> rows;
  std::vector<std::string> configs;
  std::vector<ReportRetrieval> retrieval;
  std::vector<ReportLatency> latency;

  // Tells the kinds apart by their content. Throws Error: kNotFound; kInvalidArgument naming file and line.
  void add(const std::filesystem::path& path);
  // Fills question and gold answers of rows that lack them (run files of version 2).
  void add_questions(const std::vector<QaQuestion>& questions);
};

}  // namespace gritstone

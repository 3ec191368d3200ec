// gritstone eval report: what evaluations left behind, as one page.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.h"
#include "apps/terminal.h"
#include "base/checked_file.h"
#include "base/error.h"
#include "base/hash.h"
#include "pipelines/qa_questions.h"
#include "pipelines/report_export.h"
#include "pipelines/report_html.h"

namespace gritstone {
namespace {

struct Options {
  std::vector<std::string> files;
  std::string html, csv, markdown, json, questions;
  ReportOptions report;
};

int run(CliSession& session, const Options& options) {
  if (options.html.empty() && options.csv.empty() && options.markdown.empty() && options.json.empty() && !session.options.json) {
    throw Error(ErrorCode::kInvalidArgument, "nothing to write: name a file with -o, --csv, --markdown or --json-out, or use --json");
  }
  ReportInputs inputs;
  for (const std::string& file : options.files) {
    inputs.add(file);
    if (!inputs.sources.back().warning.empty()) session.warn(file + ": " + inputs.sources.back().warning);
  }
  if (!options.questions.empty()) inputs.add_questions(read_questions(options.questions));
  session.check_stop();
  const Report report = build_report(inputs, options.report);
  const auto write = [&](const std::string& path, const std::string& text) {
    if (path.empty()) return;
    session.check_stop();
    write_file_atomically(path, as_bytes(text));
    session.note(path + ": " + human_bytes(text.size()));
  };
  if (!options.html.empty()) write(options.html, report_html(report));
  if (!options.csv.empty()) write(options.csv, report_csv(report));
  if (!options.markdown.empty()) write(options.markdown, report_markdown(report));
  if (!options.json.empty()) write(options.json, report_json(report) + "\n");
  if (session.options.json) {
    print_out(report_json(report) + "\n");
  } else {
    for (const std::string& sentence : report.findings) print_out(printable(sentence) + "\n");
  }
  return 0;
}

}  // namespace

void add_eval_report_command(CLI::App& eval, CliSession& session, CommandTable& table) {
  CLI::App* command = eval.add_subcommand("report", "One page of quality and latency: tables, charts, the worst questions");
  auto options = std::make_shared<Options>();
  command->add_option("FILES", options->files, "Of eval qa --run, eval retrieval --json, eval latency --json or --records, in any mix")
      ->required();
  command->add_option("-o,--output", options->html, "The page: one HTML file that needs no network");
  command->add_option("--csv", options->csv, "All figures, one a line: table,name,kind,metric,n,value,lower,upper");
  command->add_option("--markdown", options->markdown, "The tables for a pull request");
  command->add_option("--json-out", options->json, "All figures as JSON in this file; --json prints them");
  command->add_option("--title", options->report.title, "Of the page")->capture_default_str();
  command->add_option("--questions", options->questions, "Question set, for run files that do not hold questions and gold answers");
  command->add_option("--worst", options->report.questions, "How many questions to show one by one")->capture_default_str();
  command->add_option("--resamples", options->report.resamples, "Of bootstrap and randomisation test")
      ->capture_default_str()
      ->check(CLI::Range(100, 1000000));
  command->add_option("--seed", options->report.seed, "Of the resamples")->capture_default_str();
  session.add_options(*command, CliSession::kNothing);
  command->footer(
      "Examples:\n"
      "  gritstone eval report run.jsonl -o report.html\n"
      "  gritstone eval report run.jsonl bm25.json fused.json load.jsonl -o report.html --csv figures.csv --markdown summary.md\n"
      "  gritstone eval report run.jsonl --json | python3 -m json.tool");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone

// gritstone eval: quality and speed, measured. Each kind of evaluation has a file of its own.
#include <CLI/CLI.hpp>

#include "apps/commands.h"

namespace gritstone {

void add_eval_commands(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* eval = app.add_subcommand("eval", "Quality on judged data sets");
  eval->require_subcommand(1);
  add_eval_retrieval_command(*eval, session, table);
  add_eval_qa_command(*eval, session, table);
  add_eval_latency_command(*eval, session, table);
  add_eval_compare_command(*eval, session, table);
  add_eval_report_command(*eval, session, table);
}

}  // namespace gritstone

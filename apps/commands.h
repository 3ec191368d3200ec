// The subcommands: each file cmd_*.cc adds one to the command line.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "apps/cli_session.h"

namespace CLI {
class App;
}

namespace gritstone {

// Which function runs for which subcommand; it returns the exit status and throws Error.
class CommandTable {
 public:
  using Run = std::function<int()>;
  void add(CLI::App* command, Run run) { entries_.emplace_back(command, std::move(run)); }
  const std::vector<std::pair<CLI::App*, Run>>& entries() const noexcept { return entries_; }

 private:
  std::vector<std::pair<CLI::App*, Run>> entries_;
};

void add_index_command(CLI::App& app, CliSession& session, CommandTable& table);
void add_search_command(CLI::App& app, CliSession& session, CommandTable& table);
void add_ask_command(CLI::App& app, CliSession& session, CommandTable& table);
void add_collection_commands(CLI::App& app, CliSession& session, CommandTable& table);
void add_cache_commands(CLI::App& app, CliSession& session, CommandTable& table);
void add_eval_commands(CLI::App& app, CliSession& session, CommandTable& table);
void add_eval_retrieval_command(CLI::App& eval, CliSession& session, CommandTable& table);
void add_eval_compare_command(CLI::App& eval, CliSession& session, CommandTable& table);
void add_eval_latency_command(CLI::App& eval, CliSession& session, CommandTable& table);
void add_eval_qa_command(CLI::App& eval, CliSession& session, CommandTable& table);
void add_eval_report_command(CLI::App& eval, CliSession& session, CommandTable& table);
void add_embed_command(CLI::App& app, CliSession& session, CommandTable& table);
void add_generate_command(CLI::App& app, CliSession& session, CommandTable& table);
void add_tokenize_command(CLI::App& app, CliSession& session, CommandTable& table);
void add_perplexity_command(CLI::App& app, CliSession& session, CommandTable& table);
void add_model_commands(CLI::App& app, CliSession& session, CommandTable& table);
void add_bench_command(CLI::App& app, CliSession& session, CommandTable& table);
#ifdef GRITSTONE_SERVER
void add_serve_command(CLI::App& app, CliSession& session, CommandTable& table);
#endif
void add_doctor_command(CLI::App& app, CliSession& session, CommandTable& table);

}  // namespace gritstone

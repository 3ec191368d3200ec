// gritstone: the command line. Parses options, runs one command, turns errors into exit statuses.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <new>

#include "apps/cli_session.h"
#include "apps/commands.h"
#include "apps/interrupt.h"
#ifdef GRITSTONE_SERVER
#include "apps/server/client/network.h"
#endif
#include "apps/settings.h"
#include "apps/terminal.h"
#include "base/error.h"

namespace gritstone {
namespace {

int run(CLI::App& app, const CommandTable& table, CliSession& session, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // CLI11 has statuses of its own; ours are 0 for help and 1 for usage.
    return app.exit(error) == 0 ? 0 : exit_code(ErrorCode::kInvalidArgument);
  }
  for (const auto& [command, body] : table.entries()) {
    if (!command->parsed()) continue;
    apply_settings(app, *command, session.options.config);
    const int status = body();
    flush_out();
    return status;
  }
  print_err(app.help());
  return exit_code(ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace gritstone

int main(int argc, char** argv) {
  using namespace gritstone;
  CliSession session(install_signal_handling());
#ifdef GRITSTONE_SERVER
  session.network = make_network();
#endif
  CLI::App app("Answers questions from your own documents, with one model that both retrieves and writes.", "gritstone");
  app.set_version_flag("--version", "gritstone " GRITSTONE_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Start: gritstone index ~/notes -m MODEL.gguf && gritstone ask \"...\" -m MODEL.gguf\nEvery command has --help with examples.");
  app.get_formatter()->column_width(34);
  CommandTable table;
  add_index_command(app, session, table);
  add_search_command(app, session, table);
  add_ask_command(app, session, table);
#ifdef GRITSTONE_SERVER
  add_serve_command(app, session, table);
#endif
  add_collection_commands(app, session, table);
  add_cache_commands(app, session, table);
  add_eval_commands(app, session, table);
  add_embed_command(app, session, table);
  add_generate_command(app, session, table);
  add_tokenize_command(app, session, table);
  add_perplexity_command(app, session, table);
  add_model_commands(app, session, table);
  add_bench_command(app, session, table);
  add_doctor_command(app, session, table);

  int status = 0;
  const auto report = [&](const std::string& message, ErrorCode code) {
    session.progress().clear();
    print_err("gritstone: " + printable(message) + "\n");
    return exit_code(code);
  };
  try {
    status = run(app, table, session, argc, argv);
  } catch (const Error& error) {
    status = report(error.what(), error.code());
  } catch (const std::bad_alloc&) {
    status = report("out of memory", ErrorCode::kMemoryBudget);
  } catch (const std::filesystem::filesystem_error& error) {
    status = report(error.what(), ErrorCode::kStorage);
  } catch (const std::exception& error) {
    status = report(std::string("unexpected error: ") + error.what(), ErrorCode::kInvalidArgument);
  }
  return status;
}

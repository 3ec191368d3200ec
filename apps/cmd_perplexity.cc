// gritstone perplexity: how well the model predicts a text.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.h"
#include "apps/json_output.h"
#include "apps/terminal.h"
#include "base/checked_file.h"
#include "pipelines/perplexity.h"

namespace gritstone {
namespace {

struct Options {
  std::string file;
  std::size_t window = 512;
};

int run(CliSession& session, const Options& options) {
  const std::string text = read_file(options.file, std::uint64_t{1} << 30);
  PerplexityOptions request;
  request.window = options.window;
  request.cancel = session.stop();
  request.on_progress = [&session](std::size_t done, std::size_t total) { session.progress().update("Scoring", done, total, "windows"); };
  const PerplexityResult result = perplexity(session.engine(), session.tokenizer(), text, request);
  session.progress().clear();
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("perplexity", result.perplexity).field("nll", result.nll).field("standard_error", result.standard_error);
    json.field("tokens", result.tokens).field("windows", result.windows).field("ctx", options.window).end_object().print();
    return 0;
  }
  print_out(format("perplexity %.4f (nll %.5f +- %.5f, %s tokens scored in %zu windows of %zu)\n", result.perplexity, result.nll,
                   result.standard_error, human_count(result.tokens).c_str(), result.windows, options.window));
  return 0;
}

}  // namespace

void add_perplexity_command(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* command = app.add_subcommand("perplexity", "How well the model predicts a text (llama.cpp's convention)");
  auto options = std::make_shared<Options>();
  command->add_option("-f,--file", options->file, "Text file")->required();
  command->add_option("--ctx", options->window, "Tokens in a window; the second half of each is scored")->capture_default_str();
  session.add_options(*command, CliSession::kEngine);
  command->footer(
      "Examples:\n"
      "  gritstone perplexity -f wiki.test.raw -m model.gguf\n"
      "  gritstone perplexity -f book.txt --ctx 1024 --compute f32 --kv-type f32 --json");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone

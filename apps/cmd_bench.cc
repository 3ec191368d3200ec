// gritstone bench: tokens per second on this machine, beside what the machine could do at most.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.h"
#include "apps/json_output.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "pipelines/bench.h"

namespace gritstone {
namespace {

int run(CliSession& session, BenchOptions options) {
  options.cancel = session.stop();
  options.on_progress = [&session](std::size_t done, std::size_t total) { session.progress().update("Measuring", done, total, "runs"); };
  const BenchResult result = run_bench(session.engine(), session.model(), options);
  session.progress().clear();
  const BenchMachine& machine = result.machine;
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().begin_array("rows");
    for (const BenchRow& row : result.rows) {
      json.begin_object().field("test", row.test).field("tokens_per_s", row.tokens_per_s).field("spread", row.spread);
      json.field("gmac_per_s", row.gmac_per_s).field("gb_per_s", row.gb_per_s).field("limit", row.limit).field("fraction", row.fraction);
      json.end_object();
    }
    json.end_array().begin_object("machine").field("isa", machine.isa).field("threads", machine.threads);
    json.field("memory_gb_per_s", machine.memory_gb_per_s).field("f32_gmac_per_s", machine.f32_gmac_per_s);
    json.field("int8_gmac_per_s", machine.int8_gmac_per_s).end_object().field("repeat", options.repeat).end_object().print();
    return 0;
  }
  print_out("test            tokens/s   spread   GMAC/s    GB/s   limit\n");
  for (const BenchRow& row : result.rows) {
    print_out(format("%-14s %9.2f   %5.1f %% %8.1f %7.2f   %.0f %% of %s\n", row.test.c_str(), row.tokens_per_s, row.spread * 100,
                     row.gmac_per_s, row.gb_per_s, row.fraction * 100, row.limit.c_str()));
  }
  print_out(format("%s, %zu threads: reads %.1f GB/s, %.0f GMAC/s in f32, %.0f GMAC/s in int8; medians of %zu runs\n", machine.isa.c_str(),
                   machine.threads, machine.memory_gb_per_s, machine.f32_gmac_per_s, machine.int8_gmac_per_s, options.repeat));
  return 0;
}

}  // namespace

void add_bench_command(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* command = app.add_subcommand("bench", "Tokens per second of the model on this machine");
  auto options = std::make_shared<BenchOptions>();
  options->prefill = {512};
  options->decode = {64};
  options->embed = {256};
  command->add_option("--prefill", options->prefill, "Prompt lengths: 64,512; 0: none")->delimiter(',')->capture_default_str();
  command->add_option("--decode", options->decode, "Tokens to write: 64; 0: none")->delimiter(',')->capture_default_str();
  command->add_option("--embed", options->embed, "Text lengths: 256; 0: none")->delimiter(',')->capture_default_str();
  command->add_option("--depth", options->depths, "Tokens in the context before writing: 0,1024")->delimiter(',')->capture_default_str();
  command->add_option("--repeat", options->repeat, "Runs of each test; the median counts")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  session.add_options(*command, CliSession::kEngine);
  command->footer(
      "Examples:\n"
      "  gritstone bench -m model.gguf\n"
      "  gritstone bench --prefill 64,512 --decode 64 --embed 256 --depth 0,1024 --repeat 5 --json");
  table.add(command, [&session, options] {
    for (auto* lengths : {&options->prefill, &options->decode, &options->embed}) std::erase(*lengths, std::size_t{0});
    return run(session, *options);
  });
}

}  // namespace gritstone

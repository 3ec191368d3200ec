// gritstone model synth: a model with random weights, for speed and memory.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands_model.h"
#include "apps/json_output.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "model/synth.h"

namespace gritstone {
namespace {

struct Options {
  SynthOptions synth;
  std::string type = "q4_k";
  std::string routing = "uniform";
  std::string output;
  std::string tokenizer;
};

int run(CliSession& session, Options options) {
  const std::optional<DType> type = dtype_from_name(options.type);
  if (!type) throw Error(ErrorCode::kInvalidArgument, "\"" + options.type + "\" is no weight type");
  options.synth.type = *type;
  options.synth.routing = options.routing == "zipf" ? SynthRouting::kZipf : SynthRouting::kUniform;
  options.synth.output = options.output;
  options.synth.tokenizer = options.tokenizer;
  const auto progress = [&session](std::uint64_t done, std::uint64_t total) {
    session.progress().update("Writing", done >> 20, total >> 20, "MiB");
  };
  synthesize_model(options.synth, progress, session.stop());
  session.progress().clear();
  const std::uint64_t bytes = std::filesystem::file_size(options.output);
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("path", options.output).field("bytes", bytes).end_object().print();
  } else {
    session.note(options.output + ": " + human_bytes(bytes) + " of random weights, for measuring speed and memory only");
  }
  return 0;
}

}  // namespace

void add_model_synth_command(CLI::App& model, CliSession& session, CommandTable& table) {
  CLI::App* command = model.add_subcommand("synth", "Writes a model with random weights, for measuring speed and memory");
  auto options = std::make_shared<Options>();
  command->add_option("--like", options->synth.like, "Shape: " + synth_model_names())->capture_default_str();
  command->add_option("--type", options->type, "Weight type: q4_k, q8_0, bf16, f16, f32, ...")->capture_default_str();
  command->add_option("--seed", options->synth.seed, "Same options, same bytes")->capture_default_str();
  command->add_option("--routing", options->routing, "Expert loads: uniform or zipf")
      ->check(CLI::IsMember({"uniform", "zipf"}))
      ->capture_default_str();
  command->add_option("--tokenizer", options->tokenizer, "Takes the vocabulary of this model [a synthetic one]");
  command->add_option("-o,--output", options->output, "GGUF file to write")->required();
  session.add_options(*command, CliSession::kNothing);
  command->footer(
      "Examples:\n"
      "  gritstone model synth --like olmoe-1b-7b --type q4_k --seed 1 -o olmoe-random.gguf\n"
      "  gritstone model synth --like tiny --type f16 -o tiny.gguf");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone

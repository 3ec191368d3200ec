// gritstone model quantize: converts a model to another weight type.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands_model.h"
#include "apps/json_output.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "model/quantize_file.h"

namespace gritstone {
namespace {

struct Options {
  std::string input;
  std::string output;
  std::string type = "q4_k";
  std::string output_type;
};

DType parse_type(const std::string& name) {
  const std::optional<DType> type = dtype_from_name(name);
  if (!type) throw Error(ErrorCode::kInvalidArgument, "\"" + name + "\" is no weight type");
  return *type;
}

int run(CliSession& session, const Options& options) {
  QuantizeOptions quantize;
  quantize.type = parse_type(options.type);
  if (!options.output_type.empty()) quantize.output_type = parse_type(options.output_type);
  quantize.threads = session.options.threads;
  if (!options.input.empty()) session.options.model = options.input;
  const ModelFile& source = session.model();
  const auto progress = [&session](std::uint64_t done, std::uint64_t total) {
    session.progress().update("Converting", done >> 20, total >> 20, "Mi weights");
  };
  quantize_model(source, options.output, quantize, progress, session.stop());
  session.progress().clear();
  const std::uint64_t bytes = std::filesystem::file_size(options.output);
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("path", options.output).field("bytes", bytes).field("source_bytes", source.bytes()).end_object().print();
  } else {
    session.note(options.output + ": " + human_bytes(bytes) + " (source " + human_bytes(source.bytes()) + ")");
  }
  return 0;
}

}  // namespace

void add_model_quantize_command(CLI::App& model, CliSession& session, CommandTable& table) {
  CLI::App* command = model.add_subcommand("quantize", "Converts a model to a GGUF of another weight type");
  auto options = std::make_shared<Options>();
  command->add_option("FILE", options->input, "GGUF file or Hugging Face directory; the same as -m");
  command->add_option("-o,--output", options->output, "GGUF file to write")->required();
  command->add_option("--type", options->type, "f32, f16, bf16, q8_0, q6_k, q5_k, q4_k, q3_k, q2_k, q5_1, q5_0, q4_1 or q4_0")
      ->capture_default_str();
  command->add_option("--output-type", options->output_type, "Type of the output matrix [q6_k for types below it]");
  session.add_options(*command, CliSession::kModel | CliSession::kThreads);
  command->footer(
      "Examples:\n"
      "  gritstone model quantize OLMoE-1B-7B-0125 --type q8_0 -o olmoe-q8_0.gguf\n"
      "  gritstone model quantize model-f16.gguf --type q4_k -o model-q4_k.gguf");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone

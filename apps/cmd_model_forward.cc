// gritstone model forward: one forward pass, dumped for comparison with other implementations.
#include <CLI/CLI.hpp>
#include <charconv>
#include <memory>

#include "apps/commands_model.h"
#include "apps/json_output.h"
#include "apps/terminal.h"
#include "base/checked_file.h"
#include "base/error.h"
#include "model/forward_dump.h"

namespace gritstone {
namespace {

struct Options {
  std::string ids;
  std::string ids_file;
  std::string attention = "causal";
  std::string output;
};

// Numbers separated by commas or white space.
std::vector<TokenId> parse_ids(const std::string& text) {
  std::vector<TokenId> ids;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    if (*at == ',' || *at == ' ' || *at == '\n' || *at == '\r' || *at == '\t') {
      ++at;
      continue;
    }
    TokenId id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0) {
      throw Error(ErrorCode::kInvalidArgument, "\"" + text.substr(static_cast<std::size_t>(at - text.data()), 20) + "\" is no token id");
    }
    ids.push_back(id);
    at = next;
  }
  return ids;
}

int run(CliSession& session, const Options& options) {
  if (options.ids.empty() == options.ids_file.empty()) throw Error(ErrorCode::kInvalidArgument, "give either --ids or --ids-file");
  const std::vector<TokenId> ids = parse_ids(options.ids.empty() ? read_file(options.ids_file, std::uint64_t{1} << 26) : options.ids);
  const Attention attention = options.attention == "causal" ? Attention::kCausal : Attention::kBidirectional;
  const std::vector<DumpTensor> tensors = forward_dump(session.engine(), ids, attention, session.stop());
  write_dump(options.output, tensors);
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("path", options.output).field("tokens", ids.size()).begin_array("tensors");
    for (const DumpTensor& tensor : tensors) json.value(tensor.name);
    json.end_array().end_object().print();
  } else {
    session.note(format("%zu tensors of %zu tokens in ", tensors.size(), ids.size()) + options.output);
  }
  return 0;
}

}  // namespace

void add_model_forward_command(CLI::App& model, CliSession& session, CommandTable& table) {
  CLI::App* command = model.add_subcommand("forward", "Dumps hidden states, router probabilities and logits of given token ids");
  auto options = std::make_shared<Options>();
  command->add_option("--ids", options->ids, "Token ids: 5,7,9");
  command->add_option("--ids-file", options->ids_file, "File of token ids");
  command->add_option("--attention", options->attention, "causal or bidirectional")
      ->check(CLI::IsMember({"causal", "bidirectional"}))
      ->capture_default_str();
  command->add_option("-o,--output", options->output, "safetensors file to write")->required();
  session.add_options(*command, CliSession::kEngine);
  command->footer(
      "Tensors, f32 [tokens, width]: hidden.0 (embeddings) ... hidden.L, hidden.norm, router.0 ... router.L-1, logits.\n"
      "Here --compute defaults to f32, and with it --kv-type to f32.\n"
      "Examples:\n"
      "  gritstone model forward --ids 5,7,9 -o out.safetensors -m model.gguf");
  table.add(command, [&session, options, command] {
    // This is the tool of parity, so it computes exactly unless told otherwise.
    if (command->count("--compute") == 0) session.options.compute = "f32";
    if (command->count("--kv-type") == 0 && session.options.compute == "f32") session.options.kv_type = "f32";
    return run(session, *options);
  });
}

}  // namespace gritstone

// gritstone model show: what a model file holds.
#include <CLI/CLI.hpp>
#include <map>
#include <memory>

#include "apps/commands_model.h"
#include "apps/json_output.h"
#include "apps/terminal.h"
#include "base/error.h"

namespace gritstone {
namespace {

struct Options {
  std::string path;
  bool tensors = false;
  bool hash = false;
};

std::uint64_t elements(const TensorRef& tensor) {
  std::uint64_t count = 1;
  for (const std::size_t extent : tensor.shape) count *= extent;
  return count;
}

std::string shape_text(const TensorRef& tensor) {
  std::string text;
  for (const std::size_t extent : tensor.shape) text += (text.empty() ? "" : " x ") + std::to_string(extent);
  return "[" + text + "]";
}

struct Summary {
  std::uint64_t parameters = 0;
  std::uint64_t active = 0;  // that one token's pass reads
  std::map<std::string, std::uint64_t> bytes_by_type;
};

Summary summarise(const ModelFile& file) {
  const ModelConfig& config = file.config();
  Summary summary;
  for (const TensorRef& tensor : file.tensors()) {
    const std::uint64_t count = elements(tensor);
    summary.parameters += count;
    summary.bytes_by_type[std::string(traits(tensor.type).name)] += tensor.bytes;
    const bool expert = tensor.shape.size() == 3 && config.experts > 0;
    summary.active += expert ? count / config.experts * config.experts_used : count;
  }
  return summary;
}

void print_json(const ModelFile& file, const Tokenizer& tokenizer, const Summary& summary, const Options& options) {
  const ModelConfig& c = file.config();
  JsonOutput json;
  json.begin_object().field("path", file.path().string()).field("bytes", file.bytes());
  if (options.hash) json.field("sha256", file.hash());
  json.begin_object("config")
      .field("architecture", c.architecture == Architecture::kOlmoe ? "olmoe" : "llama")
      .field("name", c.name)
      .field("layers", c.layers)
      .field("hidden", c.hidden)
      .field("heads", c.heads)
      .field("kv_heads", c.kv_heads)
      .field("head_dim", c.head_dim)
      .field("ffn", c.ffn)
      .field("experts", c.experts)
      .field("experts_used", c.experts_used)
      .field("vocab", c.vocab)
      .field("context", c.context)
      .field("rope_theta", c.rope_theta)
      .field("rms_norm_eps", c.rms_norm_eps)
      .field("qk_norm", c.qk_norm)
      .field("norm_topk_prob", c.norm_topk_prob)
      .field("tied_embeddings", c.tied_embeddings)
      .field("clip_qkv", c.clip_qkv)
      .field("grit_tuned", c.grit_tuned)
      .end_object();
  json.begin_object("tokenizer")
      .field("vocab", tokenizer.vocab_size())
      .field("bos", tokenizer.bos())
      .field("eos", tokenizer.eos())
      .field("pad", tokenizer.pad())
      .field("adds_bos", tokenizer.adds_bos())
      .array("stop_ids", tokenizer.stop_ids())
      .end_object();
  json.field("parameters", summary.parameters).field("active_parameters", summary.active).begin_object("types");
  for (const auto& [type, bytes] : summary.bytes_by_type) json.field(type, bytes);
  json.end_object().field("tensor_count", file.tensors().size());
  if (options.tensors) {
    json.begin_array("tensors");
    for (const TensorRef& tensor : file.tensors()) {
      json.begin_object().field("name", tensor.name).field("type", traits(tensor.type).name).array("shape", tensor.shape);
      json.field("bytes", tensor.bytes).end_object();
    }
    json.end_array();
  }
  json.end_object().print();
}

void print_text(const ModelFile& file, const Tokenizer& tokenizer, const Summary& summary, const Options& options) {
  const ModelConfig& c = file.config();
  print_out(printable(c.name.empty() ? file.path().string() : c.name) + "\n");
  print_out("  file          " + file.path().string() + ", " + human_bytes(file.bytes()) + "\n");
  if (options.hash) print_out("  sha256        " + file.hash() + "\n");
  print_out(format("  architecture  %s: %zu layers, hidden %zu, %zu heads (%zu KV) of %zu\n",
                   c.architecture == Architecture::kOlmoe ? "olmoe" : "llama", c.layers, c.hidden, c.heads, c.kv_heads, c.head_dim));
  if (c.experts > 0) {
    print_out(format("  experts       %zu of width %zu, %zu active%s\n", c.experts, c.ffn, c.experts_used,
                     c.norm_topk_prob ? ", weights renormalised" : ""));
  } else {
    print_out(format("  feed-forward  dense, width %zu\n", c.ffn));
  }
  print_out("  parameters    " + human_count(summary.parameters) + ", active " + human_count(summary.active) + "\n");
  print_out(format("  context       %zu tokens, rope_theta %g\n", c.context, static_cast<double>(c.rope_theta)));
  print_out(format("  tokenizer     %zu tokens, bos %d, eos %d, pad %d, %s BOS\n", tokenizer.vocab_size(), tokenizer.bos(), tokenizer.eos(),
                   tokenizer.pad(), tokenizer.adds_bos() ? "adds" : "adds no"));
  print_out(std::string("  embedding     ") + (c.grit_tuned ? "GRIT-tuned\n" : "not tuned for embedding\n"));
  for (const auto& [type, bytes] : summary.bytes_by_type) print_out(format("  %-13s ", type.c_str()) + human_bytes(bytes) + "\n");
  if (!options.tensors) return;
  for (const TensorRef& tensor : file.tensors()) {
    print_out(format("  %-40s %-6s ", printable(tensor.name).c_str(), std::string(traits(tensor.type).name).c_str()) + shape_text(tensor) +
              "\n");
  }
}

int run(CliSession& session, const Options& options) {
  if (!options.path.empty()) session.options.model = options.path;
  const ModelFile& file = session.model();
  const Tokenizer& tokenizer = session.tokenizer();
  const Summary summary = summarise(file);
  if (session.options.json) {
    print_json(file, tokenizer, summary, options);
  } else {
    print_text(file, tokenizer, summary, options);
  }
  return 0;
}

}  // namespace

void add_model_show_command(CLI::App& model, CliSession& session, CommandTable& table) {
  CLI::App* command = model.add_subcommand("show", "What a model file holds");
  auto options = std::make_shared<Options>();
  command->add_option("FILE", options->path, "Model; the same as -m");
  command->add_flag("--tensors", options->tensors, "Lists the tensors");
  command->add_flag("--hash", options->hash, "SHA-256 (reads the whole file the first time)");
  session.add_options(*command, CliSession::kModel);
  command->footer("Examples:\n  gritstone model show model.gguf\n  gritstone model show model.gguf --tensors --json");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone

// gritstone generate: text from a prompt, without documents.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.h"
#include "apps/json_output.h"
#include "apps/sampling_options.h"
#include "apps/terminal.h"
#include "base/checked_file.h"
#include "base/error.h"
#include "generator/generate.h"
#include "generator/prompt_format.h"

namespace gritstone {
namespace {

struct GenerateOptions {
  std::string prompt;
  std::string file;
  std::string system;
  std::size_t tokens = 128;
  std::vector<std::string> stops;
  SamplerOptions sampling;
  bool raw = false;
  bool special = false;
  bool ignore_eos = false;
};

GenerateRequest make_request(CliSession& session, const GenerateOptions& options, const std::string& text) {
  const Tokenizer& tokenizer = session.tokenizer();
  GenerateRequest request;
  request.max_new_tokens = options.tokens;
  request.sampling = options.sampling;
  request.stop_ids = tokenizer.stop_ids();
  request.stop_strings = options.stops;
  request.ignore_stops = options.ignore_eos;
  request.cancel = session.stop();
  if (options.raw) {
    if (tokenizer.adds_bos() && tokenizer.bos() >= 0) request.prompt.push_back(tokenizer.bos());
    const std::vector<TokenId> ids = tokenizer.encode(text, options.special ? SpecialTokens::kParse : SpecialTokens::kPlain);
    request.prompt.insert(request.prompt.end(), ids.begin(), ids.end());
    return request;
  }
  const PromptFormat format(tokenizer, choose_prompt_style(session.model().config(), tokenizer));
  session.detail("Prompt format: " + std::string(prompt_style_name(format.style())));
  std::vector<ChatTurn> turns;
  if (!options.system.empty()) turns.push_back({ChatTurn::Role::kSystem, options.system});
  turns.push_back({ChatTurn::Role::kUser, text});
  request.prompt = format.chat(turns).tokens;
  for (const std::string& stop : format.stop_strings()) request.stop_strings.push_back(stop);
  return request;
}

void print_json(const GenerateResult& result) {
  JsonOutput json;
  json.begin_object().field("text", result.text).array("ids", result.ids);
  json.field("finish_reason", finish_reason_name(result.finish_reason));
  json.begin_object("usage")
      .field("prompt_tokens", result.usage.prompt_tokens)
      .field("completion_tokens", result.usage.completion_tokens)
      .field("cached_tokens", result.usage.cached_tokens)
      .field("total_tokens", result.usage.prompt_tokens + result.usage.completion_tokens)
      .end_object();
  json.begin_object("timings")
      .field("queue_ms", result.timings.queue_ms)
      .field("prefill_ms", result.timings.prefill_ms)
      .field("ttft_ms", result.timings.ttft_ms)
      .field("decode_ms", result.timings.decode_ms)
      .field("total_ms", result.timings.total_ms)
      .key("tpot_ms");
  if (result.timings.tpot_ms) {
    json.value(*result.timings.tpot_ms);
  } else {
    json.null();
  }
  json.end_object().end_object().print();
}

int run(CliSession& session, const GenerateOptions& options) {
  if (options.prompt.empty() == options.file.empty()) throw Error(ErrorCode::kInvalidArgument, "give either -p PROMPT or -f FILE");
  const std::string text = options.file.empty() ? options.prompt : read_file(options.file, std::uint64_t{1} << 26);
  validate(options.sampling);
  GenerateRequest request = make_request(session, options, text);
  if (!session.options.json) {
    request.on_text = [](std::string_view piece) {
      print_out(stdout_is_terminal() ? printable(piece) : std::string(piece));
      flush_out();
    };
  }
  Engine& engine = session.engine();
  const GenerateResult result = generate(engine, session.tokenizer(), std::move(request));
  if (session.options.json) {
    print_json(result);
    return 0;
  }
  print_out("\n");
  const double decode_rate = result.timings.tpot_ms.value_or(0) > 0 ? 1000 / *result.timings.tpot_ms : 0;
  session.detail(format("%zu + %zu tokens, first after %.0f ms, then %.1f tokens/s, ended by %s", result.usage.prompt_tokens,
                        result.usage.completion_tokens, result.timings.ttft_ms, decode_rate,
                        std::string(finish_reason_name(result.finish_reason)).c_str()));
  return 0;
}

}  // namespace

void add_generate_command(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* command = app.add_subcommand("generate", "Text from a prompt, without documents");
  auto options = std::make_shared<GenerateOptions>();
  command->add_option("-p,--prompt", options->prompt, "What to write about or to go on from");
  command->add_option("-f,--file", options->file, "Reads the prompt from a file");
  command->add_option("-n,--tokens", options->tokens, "At most so many tokens")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--system", options->system, "System message of the chat");
  command->add_option("--stop", options->stops, "Ends before this text (may be repeated)")->take_all();
  command->add_flag("--raw", options->raw, "The prompt as it is, without the model's chat format");
  command->add_flag("--special", options->special, "With --raw: texts like <|endoftext|> become their special token");
  command->add_flag("--ignore-eos", options->ignore_eos, "Goes on after the end token");
  add_sampling_options(*command, options->sampling);
  session.add_options(*command, CliSession::kEngine);
  command->footer(
      "Examples:\n"
      "  gritstone generate -p \"Why is the sky blue?\" -n 100 -m model.gguf\n"
      "  gritstone generate --raw -p \"The capital of France is\" -n 8\n"
      "  gritstone generate -p \"Write a haiku\" --temp 0.8 --top-p 0.95 --seed 7 --json");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone

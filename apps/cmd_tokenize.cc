// gritstone tokenize: text to token ids and back.
#include <CLI/CLI.hpp>
#include <charconv>
#include <memory>

#include "apps/commands.h"
#include "apps/json_output.h"
#include "apps/terminal.h"
#include "base/checked_file.h"
#include "base/error.h"

namespace gritstone {
namespace {

constexpr std::uint64_t kMaxTextBytes = std::uint64_t{1} << 30;

struct TokenizeOptions {
  std::vector<std::string> texts;
  std::string file;
  bool special = false;
  bool decode = false;
};

std::vector<TokenId> parse_ids(const std::vector<std::string>& texts) {
  std::vector<TokenId> ids;
  for (const std::string& text : texts) {
    TokenId id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc() || end != text.data() + text.size() || id < 0) {
      throw Error(ErrorCode::kInvalidArgument, "\"" + text + "\" is no token id");
    }
    ids.push_back(id);
  }
  return ids;
}

int decode(CliSession& session, const TokenizeOptions& options) {
  const std::vector<TokenId> ids = parse_ids(options.texts);
  const Tokenizer& tokenizer = session.tokenizer();
  for (const TokenId id : ids) {
    if (static_cast<std::size_t>(id) >= tokenizer.vocab_size()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "token id " + std::to_string(id) + " is outside the vocabulary of " + std::to_string(tokenizer.vocab_size()));
    }
  }
  const std::string text = tokenizer.decode(ids);
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("text", text).end_object().print();
  } else {
    print_out(text + "\n");
  }
  return 0;
}

int encode(CliSession& session, const TokenizeOptions& options) {
  if (options.file.empty() == options.texts.empty()) throw Error(ErrorCode::kInvalidArgument, "give either a text or -f FILE");
  if (options.texts.size() > 1) throw Error(ErrorCode::kInvalidArgument, "give the text as one argument (quote it)");
  const std::string text = options.file.empty() ? options.texts.front() : read_file(options.file, kMaxTextBytes);
  const Tokenizer& tokenizer = session.tokenizer();
  const std::vector<TokenId> ids = tokenizer.encode(text, options.special ? SpecialTokens::kParse : SpecialTokens::kPlain);
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().array("ids", ids).end_object().print();
    return 0;
  }
  std::string line;
  for (const TokenId id : ids) line += (line.empty() ? "" : " ") + std::to_string(id);
  print_out(line + "\n");
  session.detail(human_count(ids.size()) + " tokens, " + human_count(text.size()) + " bytes");
  return 0;
}

}  // namespace

void add_tokenize_command(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* command = app.add_subcommand("tokenize", "Text to token ids, or back with --decode");
  auto options = std::make_shared<TokenizeOptions>();
  command->add_option("TEXT", options->texts, "The text, or with --decode the ids");
  command->add_option("-f,--file", options->file, "Reads the text from a file");
  command->add_flag("--special", options->special, "Texts like <|endoftext|> become their special token");
  command->add_flag("--decode", options->decode, "Prints the text of token ids");
  session.add_options(*command, CliSession::kModel);
  command->footer(
      "Examples:\n"
      "  gritstone tokenize \"Hello world\" -m model.gguf\n"
      "  gritstone tokenize -f page.txt --json\n"
      "  gritstone tokenize --decode 12092 1533\n"
      "  gritstone tokenize -- \"-text that starts with a dash\"");
  table.add(command, [&session, options] { return options->decode ? decode(session, *options) : encode(session, *options); });
}

}  // namespace gritstone

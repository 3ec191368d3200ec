// gritstone embed: vectors of texts, as search computes them.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.h"
#include "apps/embed_overrides.h"
#include "apps/json_output.h"
#include "apps/terminal.h"
#include "base/checked_file.h"
#include "base/error.h"
#include "pipelines/embedder_setup.h"
#include "retriever/grit_embedder.h"

namespace gritstone {
namespace {

struct Options {
  std::vector<std::string> texts;
  std::string file;
  std::string role = "document";
  std::string instruction;
  EmbedFlags embed;
  bool raw = false;
};

std::vector<std::string> read_lines(const std::string& file) {
  const std::string text = read_file(file, std::uint64_t{1} << 30);
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    const bool carriage_return = end > begin && text[end - 1] == '\r';
    lines.push_back(text.substr(begin, end - begin - (carriage_return ? 1 : 0)));
    begin = end + 1;
  }
  return lines;
}

EmbedOptions embed_options(CliSession& session, const Options& options) {
  EmbedOverrides overrides = options.embed.overrides();
  if (options.raw) overrides.format = EmbedFormat::kRaw;
  return resolve_embed_options(session.model().config(), overrides);
}

void print_rows(const std::vector<float>& rows, std::size_t dim) {
  for (std::size_t begin = 0; begin < rows.size(); begin += dim) {
    std::string line;
    for (std::size_t i = 0; i < dim; ++i) line += format(i == 0 ? "%.9g" : " %.9g", static_cast<double>(rows[begin + i]));
    print_out(line + "\n");
  }
}

int run(CliSession& session, const Options& options) {
  if (options.file.empty() == options.texts.empty()) throw Error(ErrorCode::kInvalidArgument, "give either texts or -f FILE");
  const std::vector<std::string> texts = options.file.empty() ? options.texts : read_lines(options.file);
  const EmbedOptions embed = embed_options(session, options);
  const GritEmbedder embedder(session.engine(), session.tokenizer(), embed);
  session.detail("Pooling " + std::string(pooling_name(embed.pooling)) + ", attention " + std::string(attention_name(embed.attention)) +
                 ", at most " + std::to_string(embed.max_tokens) + " tokens a text");
  const std::size_t dim = embedder.dim();
  std::vector<float> rows(texts.size() * dim);
  std::vector<std::size_t> tokens;
  std::size_t truncated = 0;
  // In pieces, so that the progress line moves and Ctrl-C is heard.
  constexpr std::size_t kPiece = 128;
  for (std::size_t begin = 0; begin < texts.size(); begin += kPiece) {
    session.check_stop();
    const std::size_t count = std::min(kPiece, texts.size() - begin);
    EmbedRequest request;
    request.texts = std::span(texts).subspan(begin, count);
    request.role = options.role == "query" ? TextRole::kQuery : TextRole::kDocument;
    request.instruction = options.instruction;
    request.cancel = session.stop();
    const EmbedResult result = embedder.embed(request, MatrixView<float>(rows.data() + begin * dim, count, dim));
    tokens.insert(tokens.end(), result.tokens.begin(), result.tokens.end());
    truncated += result.truncated();
    session.progress().update("Embedding", begin + count, texts.size(), "texts");
  }
  session.progress().clear();
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("dim", dim).begin_array("embeddings");
    for (std::size_t i = 0; i < texts.size(); ++i) {
      json.begin_array();
      for (std::size_t j = 0; j < dim; ++j) json.value(rows[i * dim + j]);
      json.end_array();
    }
    json.end_array().array("tokens", tokens).field("truncated", truncated).end_object().print();
    return 0;
  }
  print_rows(rows, dim);
  if (truncated > 0) session.warn(std::to_string(truncated) + " texts were cut at " + std::to_string(embedder.max_tokens()) + " tokens");
  return 0;
}

}  // namespace

void add_embed_command(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* command = app.add_subcommand("embed", "Vectors of texts");
  auto options = std::make_shared<Options>();
  command->add_option("TEXT", options->texts, "Texts");
  command->add_option("-f,--file", options->file, "File with one text a line");
  command->add_option("--role", options->role, "document or query")->check(CLI::IsMember({"document", "query"}))->capture_default_str();
  command->add_option("--instruction", options->instruction, "What a query looks for (GRIT)");
  command->add_flag("--raw", options->raw, "The text as it is, without the GRIT format");
  add_embed_flags(*command, options->embed);
  session.add_options(*command, CliSession::kEngine);
  command->footer(
      "Examples:\n"
      "  gritstone embed \"The cat sat on the mat.\" \"A dog barked.\" -m model.gguf --json\n"
      "  gritstone embed --role query --instruction \"Find the answer\" \"Who sat on the mat?\"\n"
      "  gritstone embed -f lines.txt --pooling weighted-mean --embed-layer 8 --json");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone

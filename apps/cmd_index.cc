// gritstone index: files and folders into a collection, or a collection brought up to date.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.h"
#include "apps/embed_overrides.h"
#include "apps/ingest_output.h"
#include "apps/paths.h"
#include "apps/reuse_options.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "pipelines/byte_counter.h"
#include "pipelines/ingest.h"
#include "pipelines/warm_spans.h"

namespace gritstone {
namespace {

struct Options {
  std::vector<std::string> paths;
  std::size_t chunk_tokens = ChunkerOptions{}.max_tokens;
  std::string dense = "now";
  std::string language = "english";
  std::uint64_t max_file_mb = 64;
  std::vector<std::string> attributes;
  EmbedFlags embed;
  std::string kv;  // empty: as the collection has it
  ReuseFlags reuse;
};

std::map<std::string, std::string> parse_attributes(const std::vector<std::string>& texts) {
  std::map<std::string, std::string> attributes;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) throw Error(ErrorCode::kInvalidArgument, "attribute \"" + text + "\" is not KEY=VALUE");
    attributes[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return attributes;
}

// Spans that no embedding pass left behind: of passages embedded before, or by an embedder that is not causal.
void warm_rest(CliSession& session, const Options& options, const ModelParts& parts) {
  WarmOptions warm;
  warm.type = options.reuse.span_kv_type();
  warm.disk_bytes = options.reuse.disk_mb << 20;
  warm.stop = session.stop();
  warm.on_progress = [&session](std::size_t done, std::size_t total) { session.progress().update("spans", done, total, "passages"); };
  const WarmResult result = warm_spans(session.store(Store::Mode::kReadWrite), session.options.collection, parts, warm);
  session.progress().clear();
  session.detail(format("States of passages: %zu computed, %zu known, %zu left out", result.computed, result.known, result.left_out));
  if (result.left_out > 0) session.note("The disk budget of kept states is full; --cache-disk allows more");
}

int run(CliSession& session, const Options& options) {
  IngestOptions ingest_options;
  for (const std::string& path : options.paths) ingest_options.paths.push_back(absolute_path(path));
  ingest_options.collection = session.options.collection;
  ingest_options.language = options.language;
  ingest_options.chunker.max_tokens = options.chunk_tokens;
  ingest_options.limits.max_file_bytes = options.max_file_mb << 20;
  ingest_options.dense_now = options.dense == "now";
  ingest_options.embed = options.embed.overrides(session.options.embedder.url);
  ingest_options.attributes = parse_attributes(options.attributes);
  const bool eager = options.kv == "eager" && session.has_model() && ingest_options.dense_now;
  if (eager) ingest_options.eager_spans = {options.reuse.span_kv_type(), options.reuse.disk_mb << 20};
  report_ingest(session, ingest_options);

  const ByteCounter bytes;
  const ModelParts parts = session.optional_model_parts();
  Store& store = session.store(Store::Mode::kReadWrite);
  const bool by_url = embeds_by_url(store.find_collection(session.options.collection).value_or(CollectionInfo{}), ingest_options.embed);
  if (!session.has_model() && !by_url) {
    session.warn("no model named, so there will be no vectors and passages are measured in bytes; name one with -m FILE");
  }
  const TokenCounter& counter = session.has_model() ? static_cast<const TokenCounter&>(session.tokenizer()) : bytes;
  const auto apply_kv = [&] {
    const auto collection = store.find_collection(session.options.collection);
    if (options.kv.empty() || !collection || store.keeps_spans(collection->id) == (options.kv != "off")) return;
    store.begin_write()->set_keeps_spans(session.options.collection, options.kv != "off");
  };
  apply_kv();  // of a collection there is: eager needs it on
  const IngestResult result = ingest(store, counter, &parts, ingest_options);
  apply_kv();
  if (eager) warm_rest(session, options, parts);
  print_ingest(session, result);
  return result.skipped.empty() ? 0 : exit_code(ErrorCode::kPartial);
}

}  // namespace

void add_index_command(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* command = app.add_subcommand("index", "Adds files and folders to a collection, or brings it up to date");
  auto options = std::make_shared<Options>();
  command->add_option("PATH", options->paths, "Files and folders (text, Markdown, HTML)")->required();
  command->add_option("--chunk-tokens", options->chunk_tokens, "Longest passage")->capture_default_str();
  command->add_option("--dense", options->dense, "Vectors now, or later (words only until then)")
      ->check(CLI::IsMember({"now", "later"}))
      ->capture_default_str();
  command
      ->add_option(
          "--kv", options->kv,
          "Passages' states kept for answering: eager (now), lazy (with their first use) or off (never on disk) [lazy, or as before]")
      ->check(CLI::IsMember({"eager", "lazy", "off"}));
  add_span_flags(*command, options->reuse);
  command->add_option("--language", options->language, "Of a new collection, for word stems; none: no stemming")->capture_default_str();
  command->add_option("--max-file-mb", options->max_file_mb, "Larger files are skipped")->capture_default_str()->check(CLI::Range(1, 4096));
  command->add_option("--attribute", options->attributes, "KEY=VALUE for --filter, of every document found")->take_all();
  add_embed_flags(*command, options->embed);
  add_embedder_flags(*command, options->embed);
  session.add_options(*command, CliSession::kEngine | CliSession::kCollection);
  command->footer(
      "Run it again to bring a collection up to date: unchanged files are skipped, edited ones replaced, deleted ones removed.\n"
      "Exit status: 0 if everything was indexed, 2 if files were skipped or it was interrupted (the next run goes on there).\n"
      "Examples:\n"
      "  gritstone index ~/notes -m model.gguf\n"
      "  gritstone index manuals reports/2024.html -c work --attribute team=service\n"
      "  gritstone index ~/library --dense later\n"
      "  gritstone index ~/notes -c mini --embedder-url http://127.0.0.1:8090/v1 --embedder-model all-MiniLM-L6-v2");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone

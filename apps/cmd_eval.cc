// gritstone eval: ranking quality on judged data sets.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.h"
#include "apps/embed_overrides.h"
#include "apps/json_output.h"
#include "apps/paths.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "pipelines/eval_retrieval.h"

namespace gritstone {
namespace {

struct Options {
  std::string data;
  std::string split;
  std::string mode = "fused";
  std::size_t k = 100;
  std::string fusion = "convex";
  double dense_weight = -1;
  std::string run_out;
  std::string from_run;
  EmbedFlags embed;
};

// A collection name from the data folder's: "eval-scifact".
std::string collection_for(const std::string& data) {
  std::string name = "eval-";
  for (const char c : std::filesystem::path(absolute_path(data)).filename().string()) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    name += plain ? c : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : '-';
  }
  return name.substr(0, 64);
}

void metrics_fields(JsonOutput& json, const RetrievalMetrics& m) {
  json.field("ndcg@10", m.ndcg_at_10).field("recall@100", m.recall_at_100).field("map", m.map).field("rr", m.rr).field("p@5", m.p_at_5);
}

void print_json(const EvalRetrievalResult& result) {
  JsonOutput json;
  json.begin_object().begin_object("metrics");
  metrics_fields(json, result.score.mean);
  json.end_object().begin_object("per_query");
  for (const auto& [query, metrics] : result.score.per_query) {
    json.begin_object(query);
    metrics_fields(json, metrics);
    json.end_object();
  }
  json.end_object().field("queries", result.queries).field("documents", result.documents).field("chunks", result.chunks);
  json.begin_object("seconds").field("index", result.index_seconds).field("embed", result.embed_seconds);
  json.field("search", result.search_seconds).end_object().end_object().print();
}

bool embeds_by_url_here(CliSession& session, const EvalRetrievalOptions& eval) {
  const auto collection = session.store(Store::Mode::kReadWrite).find_collection(eval.collection);
  return embeds_by_url(collection.value_or(CollectionInfo{}), eval.embed);
}

int run(CliSession& session, const Options& options, bool collection_given) {
  EvalRetrievalOptions eval;
  eval.data = options.data;
  eval.split = options.split;
  eval.mode = parse_search_mode(options.mode);
  eval.k = options.k;
  eval.fusion = parse_fusion(options.fusion);
  if (options.dense_weight >= 0) eval.dense_weight = options.dense_weight;
  eval.embed = options.embed.overrides(session.options.embedder.url);
  eval.collection = collection_given ? session.options.collection : collection_for(options.data);
  if (!options.run_out.empty()) eval.run_out = options.run_out;
  eval.on_progress = [&session](std::string_view stage, std::size_t done, std::size_t total) {
    session.progress().update(stage, done, total, stage == "embed" ? "passages" : stage == "search" ? "queries" : "documents");
  };
  eval.stop = session.stop();

  EvalRetrievalResult result;
  if (!options.from_run.empty()) {
    result = eval_run(eval, options.from_run);
  } else {
    ModelParts parts;
    const bool needs_model = eval.mode != SearchMode::kBm25;
    if (needs_model || session.has_model())
      parts = embeds_by_url_here(session, eval) ? session.optional_model_parts() : session.model_parts();
    result = eval_retrieval(session.store(Store::Mode::kReadWrite), needs_model ? &parts : nullptr, eval);
  }
  session.progress().clear();
  if (session.options.json) {
    print_json(result);
    return 0;
  }
  const RetrievalMetrics& m = result.score.mean;
  print_out(format("nDCG@10 %.4f   Recall@100 %.4f   MAP %.4f   RR %.4f   P@5 %.4f   (%zu queries, %s)\n", m.ndcg_at_10, m.recall_at_100,
                   m.map, m.rr, m.p_at_5, result.queries, options.from_run.empty() ? options.mode.c_str() : "run"));
  if (options.from_run.empty()) {
    session.note(format("%zu documents, %zu passages; indexing %.1f s, embedding %.1f s, searching %.1f s", result.documents, result.chunks,
                        result.index_seconds, result.embed_seconds, result.search_seconds));
  }
  return 0;
}

}  // namespace

void add_eval_commands(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* eval = app.add_subcommand("eval", "Quality on judged data sets");
  eval->require_subcommand(1);
  CLI::App* command = eval->add_subcommand("retrieval", "Ranking quality on a BEIR folder, or of a TREC run");
  auto options = std::make_shared<Options>();
  command->add_option("--data", options->data, "Folder with corpus.jsonl, queries.jsonl and qrels/*.tsv")->required();
  command->add_option("--split", options->split, "qrels/SPLIT.tsv [test]");
  command->add_option("--mode", options->mode, "fused, dense or bm25")->capture_default_str();
  command->add_option("-k", options->k, "Documents per query")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--fusion", options->fusion, "convex or rrf")->capture_default_str();
  command->add_option("--dense-weight", options->dense_weight, "Weight of meaning in convex fusion [the collection's]")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--run", options->run_out, "Writes what was found as a TREC run");
  command->add_option("--from-run", options->from_run, "Scores this TREC run instead of searching");
  add_embed_flags(*command, options->embed);
  add_embedder_flags(*command, options->embed);
  session.add_options(*command, CliSession::kEngine | CliSession::kCollection);
  command->footer(
      "The corpus is kept as collection eval-<folder>, so that a second run only searches.\n"
      "Examples:\n"
      "  gritstone eval retrieval --data scifact --mode bm25\n"
      "  gritstone eval retrieval --data scifact -m model.gguf --run fused.trec --json\n"
      "  gritstone eval retrieval --data scifact --from-run fused.trec");
  table.add(command, [&session, options, command] { return run(session, *options, command->count("--collection") > 0); });
  add_eval_qa_command(*eval, session, table);
  add_eval_latency_command(*eval, session, table);
  add_eval_compare_command(*eval, session, table);
}

}  // namespace gritstone

// gritstone search: the passages that match a query, with the scores and ranks behind their order.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.h"
#include "apps/json_output.h"
#include "apps/paths.h"
#include "apps/reuse_options.h"
#include "apps/search_options.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "pipelines/embedder_setup.h"
#include "pipelines/span_reranker.h"
#include "retriever/search.h"

namespace gritstone {
namespace {

struct Options {
  std::string query;
  SearchFlags flags;
  std::string instruction;
  ReuseFlags reuse;  // of reranking
};

// null without a model or for a collection without vectors: search then ranks by words alone. Vectors by URL need no model.
std::unique_ptr<Embedder> embedder_for(CliSession& session, const CollectionInfo& info, SearchMode mode) {
  if (mode == SearchMode::kBm25) return nullptr;
  if (embeds_by_url(info)) return open_collection_embedder(session.optional_model_parts(), info);
  if (!session.has_model() && mode == SearchMode::kFused) {
    session.warn("no model named, so passages are ranked by words alone (-m FILE, or --mode bm25 to say so)");
    return nullptr;
  }
  return open_collection_embedder(session.model_parts(), info);
}

void optional_score(JsonOutput& json, std::string_view name, const std::optional<float>& score) {
  json.key(name);
  if (score) {
    json.value(*score);
  } else {
    json.null();
  }
}

void print_json(const SearchResult& result) {
  JsonOutput json;
  json.begin_object().begin_array("hits");
  for (const SearchHit& hit : result.hits) {
    json.begin_object()
        .field("rank", hit.rank)
        .field("score", hit.score)
        .field("document", hit.chunk.document)
        .field("path", hit.chunk.path);
    json.field("title", hit.chunk.title).field("heading", hit.chunk.heading_path).field("start", hit.chunk.span.start);
    json.field("end", hit.chunk.span.end).field("text", hit.chunk.text).begin_object("scores");
    optional_score(json, "bm25", hit.bm25);
    optional_score(json, "dense", hit.dense);
    if (hit.likelihood) json.field("likelihood", *hit.likelihood);
    json.end_object().begin_object("ranks").field("bm25", hit.bm25_rank).field("dense", hit.dense_rank).end_object().end_object();
  }
  json.end_array().field("candidates", result.candidates).field("collapsed", result.collapsed);
  json.field("damaged_chunks", result.damaged_chunks).field("vectors_incomplete", result.vectors_incomplete);
  json.begin_object("timings")
      .field("embed_ms", result.timings.embed_ms)
      .field("bm25_ms", result.timings.bm25_ms)
      .field("vector_ms", result.timings.vector_ms)
      .field("fuse_ms", result.timings.fuse_ms)
      .field("rerank_ms", result.timings.rerank_ms)
      .field("total_ms", result.timings.total_ms)
      .end_object()
      .end_object()
      .print();
}

std::string score_text(const char* name, const std::optional<float>& score, std::size_t rank) {
  if (!score) return std::string(name) + " -";
  return format("%s %.3f", name, static_cast<double>(*score)) + (rank > 0 ? " (rank " + std::to_string(rank) + ")" : "");
}

void print_text(const SearchResult& result) {
  for (const SearchHit& hit : result.hits) {
    const ChunkRecord& chunk = hit.chunk;
    print_out(format("%2zu. ", hit.rank) + display_path(chunk.path) + format(" [%zu-%zu]", chunk.span.start, chunk.span.end) +
              (chunk.heading_path.empty() ? "" : "  " + printable(chunk.heading_path)) + "\n");
    print_out(format("    score %.3f, ", hit.score) + score_text("bm25", hit.bm25, hit.bm25_rank) + ", " +
              score_text("dense", hit.dense, hit.dense_rank) + (hit.likelihood ? format(", likelihood %.3f", *hit.likelihood) : "") + "\n");
    std::string text = printable(chunk.text);
    for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 5) text.replace(at, 1, "\n    ");
    print_out("    " + text + "\n\n");
  }
}

int run(CliSession& session, const Options& options) {
  const bool reranks = options.flags.rerank > 0;
  // Reranking keeps the passages' states, as answering does.
  const Store::Mode mode = reranks ? options.reuse.store_mode(session) : Store::Mode::kRead;
  Store& store = session.store(mode);
  const std::shared_ptr<const Snapshot> snapshot = store.snapshot(session.options.collection);
  SearchOptions search_options = options.flags.search_options(session, snapshot->info());
  search_options.instruction = options.instruction;
  const std::unique_ptr<Embedder> embedder = embedder_for(session, snapshot->info(), search_options.mode);
  std::optional<SpanCache> cache;
  std::optional<SpanReranker> reranker;
  if (reranks) {
    const ModelParts parts = session.model_parts();
    cache.emplace(store, options.reuse.cache_options(mode, parts));
    search_options.reranker = &reranker.emplace(parts, &*cache, snapshot->info(), options.reuse.span_kv_type());
  }
  const SearchResult result = search(*snapshot, embedder.get(), options.query, search_options);
  if (session.options.json) {
    print_json(result);
  } else {
    print_text(result);
    if (result.hits.empty()) session.note("Nothing found in collection " + session.options.collection);
    const SearchTimings& t = result.timings;
    session.detail(format("embed %.1f ms, bm25 %.1f ms, vectors %.1f ms, fusion and texts %.1f ms, reranking %.1f ms", t.embed_ms,
                          t.bm25_ms, t.vector_ms, t.fuse_ms, t.rerank_ms));
  }
  if (cache) keep_spans(session, *cache);
  if (result.vectors_incomplete) session.note("Some passages have no vector yet: run index to complete them");
  if (result.damaged_chunks > 0) {
    session.warn(std::to_string(result.damaged_chunks) + " passages are damaged and were left out; see gritstone collection verify");
    return exit_code(ErrorCode::kDamagedData);
  }
  return 0;
}

}  // namespace

void add_search_command(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* command = app.add_subcommand("search", "The passages that match a query");
  auto options = std::make_shared<Options>();
  command->add_option("QUERY", options->query, "What to look for; any text is a valid query")->required();
  add_search_flags(*command, options->flags, "So many passages");
  command->add_option("--instruction", options->instruction, "What the query looks for (GRIT)");
  add_span_flags(*command, options->reuse);
  session.add_options(*command, CliSession::kEngine | CliSession::kCollection);
  command->footer(
      "Examples:\n"
      "  gritstone search \"ferry in winter\" -c notes -k 3 -m model.gguf\n"
      "  gritstone search \"who runs the ferry\" -c notes --rerank 20 -m model.gguf\n"
      "  gritstone search \"archive decision\" -c work --mode bm25 --json\n"
      "  gritstone search \"pump pressure\" --filter \"path:manuals/* type:md\"");
  table.add(command, [&session, options] { return run(session, *options); });
}

}  // namespace gritstone

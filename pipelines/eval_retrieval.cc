#include "pipelines/eval_retrieval.h"

#include <chrono>
#include <set>

#include "base/error.h"
#include "base/utf8.h"
#include "pipelines/beir.h"
#include "pipelines/byte_counter.h"
#include "pipelines/embed_stage.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Title as heading, text as one paragraph: chunked like any other document.
Document to_document(const BeirDocument& beir) {
  Document document;
  document.type = DocumentType::kText;
  document.title = sanitize_utf8(beir.title);
  const std::string text = sanitize_utf8(beir.text);
  const auto add = [&](BlockKind kind, int level, const std::string& content) {
    if (content.find_first_not_of(" \t\r\n") == std::string::npos) return;
    Block block;
    block.kind = kind;
    block.level = level;
    block.text = content;
    block.runs = {{0, document.decoded.text.size(), content.size()}};
    document.decoded.text += content;
    document.decoded.text += "\n\n";
    document.blocks.push_back(std::move(block));
  };
  add(BlockKind::kHeading, 1, document.title);
  add(BlockKind::kParagraph, 0, text);
  document.decoded.anchors = {{0, 0}};
  return document;
}

class Evaluation {
 public:
  Evaluation(Store& store, const ModelParts* model, const EvalRetrievalOptions& options) : store_(store), model_(model), options_(options) {
    if (options.mode != SearchMode::kBm25 && model == nullptr) {
      throw Error(ErrorCode::kInvalidArgument, std::string(search_mode_name(options.mode)) + " search needs a model; --mode bm25 does not");
    }
    if (options.k == 0) throw Error(ErrorCode::kInvalidArgument, "k is 0, expected at least 1");
  }

  EvalRetrievalResult run() {
    const Judgements judgements = read_beir_judgements(options_.data, options_.split);
    const std::map<std::string, std::string> queries = read_beir_queries(options_.data);
    index();
    const TrecRun found = search_all(judgements, queries);
    result_.score = score_run(judgements, found);
    result_.queries = result_.score.per_query.size();
    if (options_.run_out) write_trec_run(*options_.run_out, found, "gritstone-" + std::string(search_mode_name(options_.mode)));
    return std::move(result_);
  }

 private:
  void report(std::string_view stage, std::size_t done, std::size_t total) const {
    if (options_.on_progress) options_.on_progress(stage, done, total);
  }

  void index() {
    const Clock::time_point start = Clock::now();
    const auto job = store_.begin_write();
    EmbedderManifest manifest;
    std::map<std::string, Sha256Digest> known;
    const bool wants_vectors = options_.mode != SearchMode::kBm25;
    const auto existing = store_.find_collection(options_.collection);
    if (existing) {
      if (wants_vectors) {
        manifest = resolve_manifest(*model_, *existing, options_.embed);
        if (!manifest_from_json(existing->manifest)) job->set_manifest(options_.collection, manifest_to_json(manifest));
      }
      for (const DocumentRecord& document : store_.snapshot(options_.collection)->documents()) known[document.path] = document.sha256;
    } else {
      CollectionOptions create;
      create.name = options_.collection;
      create.language = options_.language;
      if (wants_vectors) {
        manifest = describe_embedder(*model_, options_.embed);
        create.manifest = manifest_to_json(manifest);
      }
      job->create_collection(create);
    }
    put_documents(*job, known);
    job->commit();
    result_.index_seconds = seconds_since(start);
    const CollectionInfo info = *store_.find_collection(options_.collection);
    result_.documents = info.documents;
    result_.chunks = info.chunks;
    if (!wants_vectors) return;
    const Clock::time_point embed_start = Clock::now();
    EmbedStageOptions stage;
    stage.stop = options_.stop;
    stage.on_progress = [this](std::size_t done, std::size_t total, std::size_t) { report("embed", done, total); };
    JobTarget target(*job, options_.collection);
    if (embed_pending(target, info, *model_, manifest, stage).chunks > 0) job->publish_vectors(options_.collection);
    result_.embed_seconds = seconds_since(embed_start);
  }

  void put_documents(WriteJob& job, const std::map<std::string, Sha256Digest>& known) {
    const ByteCounter bytes;
    const TokenCounter& counter =
        model_ != nullptr && model_->tokenizer != nullptr ? static_cast<const TokenCounter&>(*model_->tokenizer) : bytes;
    std::set<std::string> seen;
    for_each_beir_document(options_.data, [&](const BeirDocument& beir) {
      if (options_.stop.stop_requested()) throw Error(ErrorCode::kCancelled, "the evaluation was stopped");
      report("index", seen.size(), 0);
      DocumentMeta meta;
      meta.path = beir.id;
      meta.title = sanitize_utf8(beir.title);
      meta.type = document_type_name(DocumentType::kText);
      const std::string content = beir.title + "\n" + beir.text;
      meta.sha256 = sha256(as_bytes(content));
      meta.size = content.size();
      seen.insert(beir.id);
      const auto it = known.find(beir.id);
      if (it != known.end() && it->second == meta.sha256) return;
      const std::vector<Chunk> chunks = chunk_document(to_document(beir), counter, options_.chunker);
      if (!chunks.empty()) job.put_document(options_.collection, meta, chunks);
    });
    for (const auto& [path, digest] : known) {
      if (!seen.contains(path)) job.remove_document(options_.collection, path);
    }
  }

  TrecRun search_all(const Judgements& judgements, const std::map<std::string, std::string>& queries) {
    const Clock::time_point start = Clock::now();
    const auto snapshot = store_.snapshot(options_.collection);
    const auto embedder =
        options_.mode == SearchMode::kBm25 ? nullptr : open_collection_embedder(*model_, snapshot->info(), options_.embed);
    SearchOptions search_options;
    search_options.mode = options_.mode;
    search_options.k = options_.k + 1;  // one may be the query itself
    search_options.fusion = options_.fusion;
    search_options.dense_weight = options_.dense_weight.value_or(default_dense_weight(snapshot->info()));
    search_options.max_per_document = 1;
    search_options.collapse_duplicates = false;
    search_options.cancel = options_.stop;
    TrecRun run;
    std::size_t done = 0;
    for (const auto& [query, judged] : judgements) {
      report("search", done++, judgements.size());
      const auto text = queries.find(query);
      if (text == queries.end()) continue;
      std::vector<RunEntry>& entries = run[query];
      for (const SearchHit& hit : search(*snapshot, embedder.get(), text->second, search_options).hits) {
        if (hit.chunk.path != query && entries.size() < options_.k) entries.push_back({hit.chunk.path, hit.score});
      }
    }
    result_.search_seconds = seconds_since(start);
    return run;
  }

  Store& store_;
  const ModelParts* model_;
  const EvalRetrievalOptions& options_;
  EvalRetrievalResult result_;
};

}  // namespace

EvalRetrievalResult eval_retrieval(Store& store, const ModelParts* model, const EvalRetrievalOptions& options) {
  return Evaluation(store, model, options).run();
}

EvalRetrievalResult eval_run(const EvalRetrievalOptions& options, const std::filesystem::path& run) {
  EvalRetrievalResult result;
  result.score = score_run(read_beir_judgements(options.data, options.split), read_trec_run(run));
  result.queries = result.score.per_query.size();
  return result;
}

}  // namespace gritstone

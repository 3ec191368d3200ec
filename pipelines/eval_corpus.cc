#include "pipelines/eval_corpus.h"

#include <chrono>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "index/chunker.h"
#include "pipelines/byte_counter.h"
#include "pipelines/embed_stage.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Title as heading, text as one paragraph: chunked like any other document.
Document to_document(const CorpusDocument& source) {
  Document document;
  document.type = DocumentType::kText;
  document.title = sanitize_utf8(source.title);
  const std::string text = sanitize_utf8(source.text);
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

class CorpusIndexer {
 public:
  CorpusIndexer(Store& store, const ModelParts* model, const RetrievalData& data, const EvalCorpusOptions& options)
      : store_(store), model_(model), data_(data), options_(options) {}

  EvalCorpusResult run() {
    const Clock::time_point start = Clock::now();
    const auto job = store_.begin_write();
    EmbedderManifest manifest;
    std::map<std::string, Sha256Digest> known;
    const auto existing = store_.find_collection(options_.collection);
    if (existing) {
      if (options_.vectors) {
        manifest = resolve_manifest(*model_, *existing, options_.embed);
        if (!manifest_from_json(existing->manifest)) job->set_manifest(options_.collection, manifest_to_json(manifest));
      }
      for (const DocumentRecord& document : store_.snapshot(options_.collection)->documents()) {
        // A data set's ids are no paths: this is somebody's collection, and its documents would go.
        if (document.path.starts_with('/')) {
          throw Error(ErrorCode::kInvalidArgument, "collection \"" + options_.collection + "\" holds files (" + document.path +
                                                       ") that the data set's documents would replace; name another one with -c");
        }
        known[document.path] = document.sha256;
      }
    } else {
      CollectionOptions create;
      create.name = options_.collection;
      create.language = options_.language;
      if (options_.vectors) {
        manifest = describe_embedder(*model_, options_.embed);
        create.manifest = manifest_to_json(manifest);
      }
      job->create_collection(create);
    }
    put_documents(*job, known);
    job->commit();
    result_.index_seconds = seconds_since(start);
    if (!options_.vectors) return std::move(result_);
    const CollectionInfo info = *store_.find_collection(options_.collection);
    const Clock::time_point embed_start = Clock::now();
    EmbedStageOptions stage;
    stage.stop = options_.stop;
    stage.on_progress = [this](std::size_t done, std::size_t total, std::size_t) { report("embed", done, total); };
    JobTarget target(*job, options_.collection);
    if (embed_pending(target, info, *model_, manifest, stage).chunks > 0) job->publish_vectors(options_.collection);
    result_.embed_seconds = seconds_since(embed_start);
    return std::move(result_);
  }

 private:
  void report(std::string_view stage, std::size_t done, std::size_t total) const {
    if (options_.on_progress) options_.on_progress(stage, done, total);
  }

  void put_documents(WriteJob& job, const std::map<std::string, Sha256Digest>& known) {
    const ByteCounter bytes;
    const TokenCounter& counter =
        model_ != nullptr && model_->tokenizer != nullptr ? static_cast<const TokenCounter&>(*model_->tokenizer) : bytes;
    std::set<std::string> seen;
    data_.for_each_document([&](const CorpusDocument& source) {
      if (options_.stop.stop_requested()) throw Error(ErrorCode::kCancelled, "the evaluation was stopped");
      report("index", seen.size(), 0);
      DocumentMeta meta;
      meta.path = source.id;
      meta.title = sanitize_utf8(source.title);
      meta.type = document_type_name(DocumentType::kText);
      const std::string content = source.title + "\n" + source.text;
      meta.sha256 = sha256(as_bytes(content));
      meta.size = content.size();
      seen.insert(source.id);
      const auto it = known.find(source.id);
      if (it != known.end() && it->second == meta.sha256) return;
      const std::vector<Chunk> chunks = chunk_document(to_document(source), counter, options_.chunker);
      if (!chunks.empty()) job.put_document(options_.collection, meta, chunks);
    });
    for (const auto& [path, digest] : known) {
      if (!seen.contains(path)) job.remove_document(options_.collection, path);
    }
  }

  Store& store_;
  const ModelParts* model_;
  const RetrievalData& data_;
  const EvalCorpusOptions& options_;
  EvalCorpusResult result_;
};

}  // namespace

EvalCorpusResult index_corpus(Store& store, const ModelParts* model, const RetrievalData& data, const EvalCorpusOptions& options) {
  GS_CHECK(model != nullptr || !options.vectors);
  return CorpusIndexer(store, model, data, options).run();
}

}  // namespace gritstone

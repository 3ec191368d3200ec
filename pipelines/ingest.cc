#include "pipelines/ingest.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/utf8.h"
#include "index/document_reader.h"
#include "pipelines/byte_counter.h"
#include "pipelines/embed_stage.h"
#include "pipelines/ingest_estimate.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

// A commit syncs the disk (a few ms) and makes documents searchable: small enough to lose little, large enough not to be felt.
constexpr std::size_t kDocumentsPerCommit = 128;
constexpr std::uint64_t kBytesPerCommit = 16 << 20;

// A server beside us writes for milliseconds at a time; whoever holds the lock longer than this is another `index`.
constexpr std::chrono::milliseconds kPatience{700};

class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds), start_(Clock::now()) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() { seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  double& seconds_;
  Clock::time_point start_;
};

// As the walker names files, so that "docs/" and "./docs" cover "docs/a.md"; "" covers every relative path.
std::string normal_root(const std::string& root) {
  std::string normal = std::filesystem::path(root).lexically_normal().generic_string();
  while (normal.size() > 1 && normal.back() == '/') normal.pop_back();
  return normal == "." ? std::string() : normal;
}

bool covers(const std::string& root, const std::string& path) {
  if (root.empty()) return !path.starts_with('/') && !path.starts_with("../");
  if (root == "/") return path.starts_with('/');
  return path == root || (path.starts_with(root) && path[root.size()] == '/');
}

class Ingest {
 public:
  Ingest(Store& store, const TokenCounter& counter, const ModelParts* model, const IngestOptions& options)
      : store_(store), counter_(counter), model_(model), options_(options) {}

  IngestResult run() {
    {
      const Stopwatch total(result_.seconds.total);
      if (options_.paths.empty()) throw Error(ErrorCode::kInvalidArgument, "no path to index");
      report(IngestStage::kWalk, 0, 0);
      WalkResult walk;
      {
        const Stopwatch timed(result_.seconds.walk);
        walk = walk_files(options_.paths, options_.limits);
      }
      result_.skipped = std::move(walk.skipped);
      job_ = store_.begin_write(kPatience);
      open_collection();
      if (options_.on_estimate) {
        const bool embeds = embeds_ && options_.dense_now;
        options_.on_estimate(estimate_ingest(walk.files, known_, info(), embeds ? model_ : nullptr, embeds ? &manifest_ : nullptr));
      }
      for (std::size_t i = 0; i < walk.files.size(); ++i) {
        report(IngestStage::kRead, i, walk.files.size());
        check_stop();
        read(walk.files[i]);
      }
      report(IngestStage::kRead, walk.files.size(), walk.files.size());
      remove_missing();
      commit();
      if (embeds_ && options_.dense_now) embed();
      finish();
    }
    return std::move(result_);
  }

  // With the collection's documents as they are.
  IngestResult run_reembed() {
    {
      const Stopwatch total(result_.seconds.total);
      job_ = store_.begin_write(kPatience);
      if (!store_.find_collection(options_.collection)) store_.snapshot(options_.collection);  // throws, naming those there are
      embeds_ = true;
      manifest_ = describe_embedder(*model_, options_.embed);
      // Asked before the vectors that are there go.
      if (manifest_.remote) manifest_.dim = make_embedder(*model_, manifest_, options_.stop)->dim();
      job_->drop_embeddings(options_.collection);
      job_->set_manifest(options_.collection, manifest_to_json(manifest_));
      commit();
      embed();
      finish();
    }
    return std::move(result_);
  }

 private:
  CollectionInfo info() const {
    auto info = store_.find_collection(options_.collection);
    return info ? *info : CollectionInfo{};
  }

  void report(IngestStage stage, std::size_t done, std::size_t total, std::size_t tokens = 0) const {
    if (options_.on_progress) options_.on_progress({stage, done, total, tokens});
  }

  void check_stop() {
    if (!options_.stop.stop_requested()) return;
    commit();
    throw Error(ErrorCode::kCancelled, "indexing was stopped after " + std::to_string(result_.added + result_.updated + result_.unchanged) +
                                           " files; run the same command again to go on");
  }

  void commit() {
    const Stopwatch timed(result_.seconds.store);
    job_->commit();
    uncommitted_ = 0;
    uncommitted_bytes_ = 0;
  }

  void open_collection() {
    const auto existing = store_.find_collection(options_.collection);
    embeds_ = model_ != nullptr && (model_->config != nullptr || embeds_by_url(existing.value_or(CollectionInfo{}), options_.embed));
    if (!existing) {
      CollectionOptions create;
      create.name = options_.collection;
      create.language = options_.language;
      if (embeds_) {
        manifest_ = describe_embedder(*model_, options_.embed);
        create.manifest = manifest_to_json(manifest_);
      }
      job_->create_collection(create);
      return;
    }
    if (embeds_) {
      manifest_ = resolve_manifest(*model_, *existing, options_.embed);
      const std::optional<EmbedderManifest> stored = manifest_from_json(existing->manifest);
      // A service that moved is remembered where it is now.
      if (!stored || stored->remote != manifest_.remote) job_->set_manifest(options_.collection, manifest_to_json(manifest_));
    }
    for (DocumentRecord& document : store_.snapshot(options_.collection)->documents()) {
      std::string path = document.path;
      known_.emplace(std::move(path), std::move(document));
    }
  }

  void read(const FoundFile& found) {
    SourceFile file;
    DocumentMeta meta;
    meta.path = found.path;
    ReadResult content;
    {
      const Stopwatch timed(result_.seconds.read);
      try {
        file = read_source_file(found.path, found.named, options_.limits.max_file_bytes);
      } catch (const Error& error) {
        if (error.code() == ErrorCode::kCancelled) throw;
        result_.skipped.push_back({found.path, error.what()});
        return;
      }
      meta.sha256 = sha256(as_bytes(file.bytes));
      meta.size = file.size;
      meta.mtime_ns = file.mtime_ns;
    }
    const auto known = known_.find(found.path);
    if (known != known_.end() && known->second.sha256 == meta.sha256) {
      keep(known->second, meta);
      return;
    }
    const DocumentType type = document_type_of(found.path).value_or(DocumentType::kText);
    {
      const Stopwatch timed(result_.seconds.read);
      content = read_document(file.bytes, type);
    }
    if (!content.document) {
      result_.skipped.push_back({found.path, content.skip_reason});
      return;
    }
    meta.type = document_type_name(type);
    meta.title = content.document->title;
    meta.attributes = options_.attributes;
    std::vector<Chunk> chunks;
    {
      const Stopwatch timed(result_.seconds.chunk);
      chunks = chunk_document(*content.document, counter_, options_.chunker);
    }
    if (chunks.empty()) {
      result_.skipped.push_back({found.path, "no text"});
      return;
    }
    put(meta, chunks);
  }

  void keep(const DocumentRecord& known, DocumentMeta meta) {
    seen_.insert(meta.path);
    ++result_.unchanged;
    meta.type = known.type;
    meta.title = known.title;
    meta.attributes = known.attributes;
    // Attributes given again replace the old ones; a run without any leaves them.
    for (const auto& [key, value] : options_.attributes) meta.attributes[key] = value;
    if (meta.mtime_ns == known.mtime_ns && meta.attributes == known.attributes) return;
    const Stopwatch timed(result_.seconds.store);
    job_->update_document_meta(options_.collection, meta);
  }

  void put(const DocumentMeta& meta, const std::vector<Chunk>& chunks) {
    seen_.insert(meta.path);
    {
      const Stopwatch timed(result_.seconds.store);
      const PutResult put = job_->put_document(options_.collection, meta, chunks);
      ++(put.replaced ? result_.updated : result_.added);
      result_.chunks += put.chunks;
      result_.reused_embeddings += put.reused_embeddings;
    }
    ++uncommitted_;
    uncommitted_bytes_ += meta.size;
    if (uncommitted_ >= kDocumentsPerCommit || uncommitted_bytes_ >= kBytesPerCommit) commit();
  }

  void remove_missing() {
    std::vector<std::string> roots;
    for (const std::string& path : options_.paths) roots.push_back(normal_root(path));
    const Stopwatch timed(result_.seconds.store);
    for (const auto& [path, document] : known_) {
      if (seen_.contains(path)) continue;
      if (std::none_of(roots.begin(), roots.end(), [&](const std::string& root) { return covers(root, path); })) continue;
      if (job_->remove_document(options_.collection, path)) ++result_.removed;
    }
  }

  void embed() {
    const Stopwatch timed(result_.seconds.embed);
    EmbedStageOptions stage;
    stage.stop = options_.stop;
    std::optional<SpanNaming> naming;
    if (options_.eager_spans && !manifest_.remote) {
      naming.emplace(*model_, store_.id(), info(), options_.eager_spans->type);
      stage.spans = SpanKeeping{&*naming, options_.eager_spans->disk_bytes};
    }
    stage.on_progress = [this](std::size_t done, std::size_t total, std::size_t tokens) {
      report(IngestStage::kEmbed, done, total, tokens);
    };
    JobTarget target(*job_, options_.collection);
    const EmbedStageResult done = embed_pending(target, info(), *model_, manifest_, stage);
    result_.embedded = done.chunks;
    result_.spans = done.spans;
    result_.embedded_tokens = done.tokens;
    result_.truncated = done.truncated;
  }

  void finish() {
    if (info().embedded_chunks > 0) {
      const Stopwatch timed(result_.seconds.publish);
      report(IngestStage::kPublish, 0, 1);
      job_->publish_vectors(options_.collection);
    }
    result_.collection = info();
    result_.pending = result_.collection.chunks - result_.collection.embedded_chunks;
    result_.tuned_embedder = !embeds_ || manifest_.tuned();
    std::sort(result_.skipped.begin(), result_.skipped.end(),
              [](const SkippedFile& a, const SkippedFile& b) { return a.path != b.path ? a.path < b.path : a.reason < b.reason; });
  }

  Store& store_;
  const TokenCounter& counter_;
  const ModelParts* model_;
  const IngestOptions& options_;
  std::unique_ptr<WriteJob> job_;
  bool embeds_ = false;  // there is something to make vectors with
  EmbedderManifest manifest_;
  std::map<std::string, DocumentRecord> known_;
  std::set<std::string> seen_;  // files that are in the collection after this run
  std::size_t uncommitted_ = 0;
  std::uint64_t uncommitted_bytes_ = 0;
  IngestResult result_;
};

}  // namespace

std::string_view ingest_stage_name(IngestStage stage) noexcept {
  switch (stage) {
    case IngestStage::kWalk:
      return "walk";
    case IngestStage::kRead:
      return "read";
    case IngestStage::kEmbed:
      return "embed";
    case IngestStage::kPublish:
      return "publish";
  }
  return "";
}

IngestResult ingest(Store& store, const TokenCounter& counter, const ModelParts* model, const IngestOptions& options) {
  return Ingest(store, counter, model, options).run();
}

IngestResult reembed(Store& store, const ModelParts& model, const IngestOptions& options) {
  const ByteCounter unused;  // nothing is cut
  return Ingest(store, unused, &model, options).run_reembed();
}

}  // namespace gritstone

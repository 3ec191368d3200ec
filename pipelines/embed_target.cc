#include "pipelines/embed_target.h"

#include <utility>

#include "base/error.h"

namespace gritstone {
namespace {

// The command line holds the lock for as long as it indexes.
constexpr std::chrono::hours kPatience{24};

std::vector<ChunkId> ids_of(std::span<const PendingChunk> chunks) {
  std::vector<ChunkId> ids;
  for (const PendingChunk& chunk : chunks) ids.push_back(chunk.id);
  return ids;
}

}  // namespace

std::vector<PendingChunk> JobTarget::pending(std::size_t limit, ChunkId after) {
  return job_.pending_embeddings(collection_, limit, after);
}

void JobTarget::start_over() { job_.drop_embeddings(collection_); }

void JobTarget::freeze(const std::string& manifest, std::span<const PendingChunk> chunks, MatrixView<const float> rows) {
  job_.set_manifest(collection_, manifest);
  put(chunks, rows);
  job_.commit();
}

void JobTarget::put(std::span<const PendingChunk> chunks, MatrixView<const float> rows) {
  job_.put_embeddings(collection_, ids_of(chunks), rows);
}

void JobTarget::commit() { job_.commit(); }

std::uint64_t JobTarget::span_bytes() { return job_.span_stats().bytes; }

std::size_t JobTarget::put_spans(std::span<const SpanPut> spans, std::uint64_t budget) {
  return job_.put_spans(collection_, spans, budget);
}

BriefTarget::BriefTarget(Store& store, const CollectionInfo& collection, std::function<void(WriteJob&)> on_commit, std::stop_token stop)
    : store_(store), collection_(collection), on_commit_(std::move(on_commit)), stop_(std::move(stop)) {}

void BriefTarget::require_same(const CollectionInfo& now) const {
  if (now.id != collection_.id || now.manifest != collection_.manifest) {
    throw Error(ErrorCode::kCancelled, "collection " + collection_.name + " was changed by another writer");
  }
}

std::unique_ptr<WriteJob> BriefTarget::begin() {
  auto job = store_.begin_write(std::chrono::duration_cast<std::chrono::milliseconds>(kPatience), stop_);
  const auto now = store_.find_collection(collection_.name);
  if (!now) throw Error(ErrorCode::kCancelled, "collection " + collection_.name + " was removed");
  require_same(*now);
  return job;
}

std::vector<PendingChunk> BriefTarget::pending(std::size_t limit, ChunkId after) {
  if (!store_.find_collection(collection_.name)) throw Error(ErrorCode::kCancelled, "collection " + collection_.name + " was removed");
  const auto snapshot = store_.snapshot(collection_.name);
  require_same(snapshot->info());
  return snapshot->pending_embeddings(limit, after, all_);
}

void BriefTarget::store_rows(WriteJob& job) {
  for (const auto& [chunk, row] : waiting_) {
    try {
      job.put_embeddings(collection_.name, std::span(&chunk, 1), MatrixView<const float>(row.data(), 1, row.size()));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;  // deleted meanwhile
    }
  }
}

void BriefTarget::freeze(const std::string& manifest, std::span<const PendingChunk> chunks, MatrixView<const float> rows) {
  put(chunks, rows);
  const auto job = begin();
  if (all_) job->drop_embeddings(collection_.name);
  job->set_manifest(collection_.name, manifest);
  store_rows(*job);
  on_commit_(*job);
  job->commit();
  collection_.manifest = manifest;
  all_ = false;
  waiting_.clear();
}

void BriefTarget::put(std::span<const PendingChunk> chunks, MatrixView<const float> rows) {
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const auto row = rows.row(i);
    waiting_[chunks[i].id].assign(row.begin(), row.end());
  }
}

void BriefTarget::commit() {
  if (waiting_.empty()) return;
  const auto job = begin();
  store_rows(*job);
  on_commit_(*job);
  job->commit();
  waiting_.clear();
}

std::size_t BriefTarget::put_spans(std::span<const SpanPut> spans, std::uint64_t budget) {
  return begin()->put_spans(collection_.name, spans, budget);
}

}  // namespace gritstone

// Where the embedding stage finds chunks without vectors, and where the vectors go.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "index/store.h"

namespace gritstone {

// One collection. Used from one thread. Throws what WriteJob throws.
class EmbedTarget {
 public:
  virtual ~EmbedTarget() = default;

  // Chunks without vector, or after start_over() all, in ascending ids > after.
  virtual std::vector<PendingChunk> pending(std::size_t limit, ChunkId after) = 0;
  // The vectors there are belong to statistics that are given up; freeze() replaces them.
  virtual void start_over() = 0;
  // Stores the manifest with its statistics and the vectors they were taken from, in one commit.
  virtual void freeze(const std::string& manifest, std::span<const PendingChunk> chunks, MatrixView<const float> rows) = 0;
  // Visible with the next commit().
  virtual void put(std::span<const PendingChunk> chunks, MatrixView<const float> rows) = 0;
  virtual void commit() = 0;
  // Spans kept on disk in all collections, and more of them (WriteJob::put_spans).
  virtual std::uint64_t span_bytes() = 0;
  virtual std::size_t put_spans(std::span<const SpanPut> spans, std::uint64_t budget) = 0;
};

// Within a job that holds the write lock throughout. Borrows the job.
class JobTarget : public EmbedTarget {
 public:
  JobTarget(WriteJob& job, std::string collection) : job_(job), collection_(std::move(collection)) {}

  std::vector<PendingChunk> pending(std::size_t limit, ChunkId after) override;
  void start_over() override;
  void freeze(const std::string& manifest, std::span<const PendingChunk> chunks, MatrixView<const float> rows) override;
  void put(std::span<const PendingChunk> chunks, MatrixView<const float> rows) override;
  void commit() override;
  std::uint64_t span_bytes() override;
  std::size_t put_spans(std::span<const SpanPut> spans, std::uint64_t budget) override;

 private:
  WriteJob& job_;
  const std::string collection_;
};

// Beside other writers: holds the lock only while it stores what is ready, so that uploads and deletions wait for milliseconds, not for the
// model. Chunks that went meanwhile are left out. If the collection was removed, or its manifest changed under us, commit() and freeze()
// throw Error(kCancelled): what was computed no longer fits, and the caller begins anew. Borrows the store.
class BriefTarget : public EmbedTarget {
 public:
  // on_commit: called in every job before it commits.
  BriefTarget(Store& store, const CollectionInfo& collection, std::function<void(WriteJob&)> on_commit, std::stop_token stop);

  std::vector<PendingChunk> pending(std::size_t limit, ChunkId after) override;
  void start_over() override { all_ = true; }
  void freeze(const std::string& manifest, std::span<const PendingChunk> chunks, MatrixView<const float> rows) override;
  void put(std::span<const PendingChunk> chunks, MatrixView<const float> rows) override;
  void commit() override;
  std::uint64_t span_bytes() override { return store_.span_stats().bytes; }
  std::size_t put_spans(std::span<const SpanPut> spans, std::uint64_t budget) override;

 private:
  // With the collection checked. Waits for other writers until stopped.
  std::unique_ptr<WriteJob> begin();
  void store_rows(WriteJob& job);
  void require_same(const CollectionInfo& now) const;

  Store& store_;
  CollectionInfo collection_;
  const std::function<void(WriteJob&)> on_commit_;
  const std::stop_token stop_;
  bool all_ = false;                               // start_over() was called, and the old vectors are still there
  std::map<ChunkId, std::vector<float>> waiting_;  // for commit()
};

}  // namespace gritstone

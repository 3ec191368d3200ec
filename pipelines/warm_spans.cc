#include "pipelines/warm_spans.h"

#include <chrono>
#include <future>
#include <utility>

#include "base/error.h"
#include "index/span_file.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

// Spans of OLMoE-1B-7B take 17 MB each in int8: enough to fill the engine's batch, few enough to hold.
constexpr std::size_t kBatch = 8;

}  // namespace

WarmResult warm_spans(Store& store, std::string_view collection, const ModelParts& model, const WarmOptions& options) {
  const auto snapshot = store.snapshot(collection);
  if (!store.keeps_spans(snapshot->info().id)) {
    throw Error(ErrorCode::kInvalidArgument,
                "collection \"" + std::string(collection) + "\" keeps no states on disk; gritstone index PATH --kv lazy allows it again");
  }
  const SpanNaming naming(model, store.id(), snapshot->info(), options.type);
  Engine& engine = model.engine();
  const std::vector<ChunkId> ids = snapshot->matching_chunks({});
  const auto job = store.begin_write();
  WarmResult result;
  result.chunks = ids.size();
  std::uint64_t used = store.span_stats().bytes;
  std::vector<SpanPut> batch;
  std::vector<std::future<JobOutput>> outputs;
  Clock::time_point start = Clock::now();

  const auto finish_batch = [&] {
    std::size_t tokens = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      batch[i].span = outputs[i].get().kv.at(0);
      tokens += batch[i].ids.size();
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    for (SpanPut& put : batch) put.cost_seconds = seconds * static_cast<double>(put.ids.size()) / static_cast<double>(tokens);
    if (!batch.empty()) result.computed += job->put_spans(collection, batch, options.disk_bytes);
    batch.clear();
    outputs.clear();
    start = Clock::now();
  };

  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (options.on_progress) options.on_progress(i, ids.size());
    if (options.stop.stop_requested()) {
      finish_batch();
      throw Error(ErrorCode::kCancelled, "interrupted");
    }
    const ChunkRecord chunk = snapshot->chunk(ids[i]);
    SpanPut put;
    put.ids = passage_tokens(*model.tokenizer, chunk.heading_path, chunk.text);
    if (put.ids.empty() || put.ids.size() + naming.head().size() > engine.config().context) continue;
    put.key = naming.chunk(put.ids);
    put.chunk = ids[i];
    if (check_span_file(span_file_path(store.path(), put.key), put.key)) {
      ++result.known;
      continue;
    }
    KvSpan shape;
    shape.type = options.type;
    shape.shape = {engine.config().layers, engine.config().kv_heads, engine.config().head_dim};
    shape.tokens = put.ids.size();
    const std::uint64_t bytes = span_file_bytes(shape);
    if (used + bytes > options.disk_bytes) {
      ++result.left_out;
      continue;
    }
    used += bytes;
    Job work;
    work.tokens = naming.head();
    work.tokens.insert(work.tokens.end(), put.ids.begin(), put.ids.end());
    work.wants.kv = {{naming.head().size(), put.ids.size(), options.type}};
    work.priority = Priority::kBulk;
    outputs.push_back(engine.submit(std::move(work)));
    batch.push_back(std::move(put));
    if (batch.size() == kBatch) finish_batch();
  }
  finish_batch();
  if (options.on_progress) options.on_progress(ids.size(), ids.size());
  return result;
}

}  // namespace gritstone

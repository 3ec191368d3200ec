#include "pipelines/span_reranker.h"

#include <algorithm>
#include <future>
#include <string>
#include <utility>

#include "base/error.h"
#include "retriever/likelihood.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

// Spans of OLMoE-1B-7B take 17 MB each in int8; as many are held at a time.
constexpr std::size_t kBatch = 16;

}  // namespace

struct SpanReranker::Passage {
  const ChunkRecord* chunk = nullptr;
  std::vector<TokenId> ids;
  bool cut = false;  // not the whole passage: its span serves nobody else
  std::shared_ptr<const KvSpan> span;
};

SpanReranker::SpanReranker(const ModelParts& model, SpanCache* cache, const CollectionInfo& collection, KvType type,
                           std::optional<Clock::time_point> deadline)
    : tokenizer_(*model.tokenizer),
      engine_(model.engine()),
      cache_(cache),
      collection_(collection.name),
      naming_(model, cache != nullptr ? cache->store_id() : std::string(), collection, type),
      deadline_(deadline) {}

// Finds the spans, and computes what is missing in one go.
void SpanReranker::complete(std::span<Passage> batch, const std::stop_token& cancel) const {
  const Clock::time_point start = Clock::now();
  std::vector<std::pair<Passage*, std::future<JobOutput>>> jobs;
  std::size_t computed = 0;
  for (Passage& passage : batch) {
    if (passage.ids.empty()) continue;
    if (cache_ != nullptr && !passage.cut) {
      if (const auto hit = cache_->find(naming_.chunk(passage.ids), passage.ids)) {
        passage.span = hit->span;
        continue;
      }
    }
    Job job;
    job.tokens = naming_.head();
    job.tokens.insert(job.tokens.end(), passage.ids.begin(), passage.ids.end());
    job.wants.kv = {{naming_.head().size(), passage.ids.size(), naming_.chunk_type()}};
    job.deadline = deadline_;
    job.cancel = cancel;
    jobs.emplace_back(&passage, engine_.submit(std::move(job)));
    computed += passage.ids.size();
  }
  for (auto& [passage, output] : jobs) passage->span = output.get().kv.at(0);
  if (cache_ == nullptr || jobs.empty()) return;
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  cache_->costs().saw_compute(computed, seconds);
  for (const auto& job : jobs) {
    const Passage& passage = *job.first;
    if (passage.cut) continue;
    SpanPut put;
    put.key = naming_.chunk(passage.ids);
    put.ids = passage.ids;
    put.span = passage.span;
    put.chunk = passage.chunk->id;
    put.cost_seconds = seconds * static_cast<double>(passage.ids.size()) / static_cast<double>(computed);
    cache_->put(std::move(put), collection_);
  }
}

std::vector<double> SpanReranker::score(std::string_view query, std::span<const ChunkRecord* const> passages,
                                        const std::stop_token& cancel) const {
  const std::vector<TokenId>& head = naming_.head();
  const std::vector<TokenId> question = likelihood_question(tokenizer_, query);
  const std::vector<TokenId> bridge = likelihood_bridge(tokenizer_);
  const std::size_t context = engine_.config().context;
  const std::size_t fixed = head.size() + bridge.size() + question.size();
  if (query.empty()) throw Error(ErrorCode::kInvalidArgument, "the query is empty");
  if (fixed >= context) {
    throw Error(ErrorCode::kInvalidArgument,
                "the query has " + std::to_string(question.size()) + " tokens, the model's context is " + std::to_string(context));
  }
  std::vector<double> scores;
  for (std::size_t first = 0; first < passages.size(); first += kBatch) {
    std::vector<Passage> batch(std::min(kBatch, passages.size() - first));
    for (std::size_t i = 0; i < batch.size(); ++i) {
      batch[i].chunk = passages[first + i];
      batch[i].ids = passage_tokens(tokenizer_, batch[i].chunk->heading_path, batch[i].chunk->text);
      batch[i].cut = batch[i].ids.size() > context - fixed;
      if (batch[i].cut) batch[i].ids.resize(context - fixed);
    }
    complete(batch, cancel);
    const auto prefix = [&](std::size_t i) {
      LikelihoodPrefix p;
      p.tokens = head;
      p.tokens.insert(p.tokens.end(), bridge.begin(), bridge.end());
      if (batch[i].ids.empty()) return p;
      const std::size_t length = batch[i].ids.size();
      Segment segment;
      segment.span = batch[i].span;
      segment.length = length;
      segment.slot = segment.position = head.size();
      p.context.push_back(std::move(segment));
      TokenRun of_head, behind;
      of_head.count = head.size();
      behind.first = head.size();
      behind.count = bridge.size();
      behind.slot = behind.position = head.size() + length;
      if (!head.empty()) p.runs.push_back(of_head);
      p.runs.push_back(behind);
      return p;
    };
    const LikelihoodResult result = likelihood_behind(engine_, question, batch.size(), prefix, deadline_, cancel);
    scores.insert(scores.end(), result.scores.begin(), result.scores.end());
  }
  return scores;
}

}  // namespace gritstone

#include "pipelines/prompt_composer.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <utility>

#include "base/error.h"
#include "model/kv_codec.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

// Appends a live token at slot and position `at`, extending the last run if it can.
void add_live(ComposedPrompt& out, TokenId token, std::size_t at) {
  if (out.runs.empty() || out.runs.back().slot + out.runs.back().count != at) {
    TokenRun run;
    run.first = out.tokens.size();
    run.slot = run.position = at;
    out.runs.push_back(run);
  }
  ++out.runs.back().count;
  out.tokens.push_back(token);
}

void add_segment(ComposedPrompt& out, const std::shared_ptr<const KvSpan>& span, std::size_t offset, std::size_t length, std::size_t at) {
  Segment segment;
  segment.span = span;
  segment.offset = offset;
  segment.length = length;
  segment.slot = segment.position = at;
  out.context.push_back(segment);
}

}  // namespace

std::string_view span_source_name(SpanSource source) noexcept {
  switch (source) {
    case SpanSource::kLive:
      return "live";
    case SpanSource::kComputed:
      return "computed";
    case SpanSource::kRam:
      return "ram";
    case SpanSource::kDisk:
      return "disk";
  }
  return "";
}

PromptComposer::PromptComposer(const ModelParts& model, SpanCache& cache, const CollectionInfo& collection, const ComposerOptions& options)
    : tokenizer_(*model.tokenizer),
      engine_(model.engine()),
      cache_(cache),
      collection_(collection.name),
      options_(options),
      naming_(model, cache.store_id(), collection, options.span_type) {}

ComposedPrompt PromptComposer::compose(const Prompt& prompt, std::span<const PassageOwner> chunks) {
  if (options_.policy.grit()) return compose_grit(prompt, chunks);
  ComposedPrompt out;
  const auto [links, passages] = split_prompt(prompt);
  for (const PromptPiece& passage : passages) out.passages.push_back({.tokens = passage.count});

  const ReusePolicy& policy = options_.policy;
  std::vector<std::shared_ptr<const KvSpan>> spans;
  std::vector<std::vector<bool>> again;
  if (policy.composes()) {
    spans = passage_spans(prompt, passages, chunks, out);
    again = select(prompt, passages, spans, out);
  }
  const std::size_t chained = policy.kind == ReuseKind::kNone ? 0 : policy.composes() ? 1 : links.size();
  std::vector<SpanPut> missing;
  const std::size_t first_live = take_prefix(prompt, std::span(links).first(std::min(chained, links.size())), chunks, out, missing);

  for (const PromptPiece& piece : prompt.pieces) {
    if (piece.first < first_live) continue;
    if (piece.kind != PieceKind::kPassage || spans.empty()) {
      for (std::size_t i = piece.first; i < piece.first + piece.count; ++i) add_live(out, prompt.tokens[i], i);
      continue;
    }
    const std::vector<bool>& compute = again[piece.passage];
    for (std::size_t i = 0; i < piece.count;) {
      std::size_t end = i + 1;
      while (end < piece.count && compute[end] == compute[i]) ++end;
      if (compute[i]) {
        for (std::size_t j = i; j < end; ++j) add_live(out, prompt.tokens[piece.first + j], piece.first + j);
        out.passages[piece.passage].recomputed += end - i;
        out.recomputed_tokens += end - i;
      } else {
        add_segment(out, spans[piece.passage], i, end - i, piece.first + i);
        if (out.passages[piece.passage].source != SpanSource::kComputed) out.reused_tokens += end - i;
      }
      i = end;
    }
  }
  // The missing links are live without a gap, right behind what was found.
  std::size_t live = 0;
  for (SpanPut& put : missing) {
    out.save.push_back({live, put.ids.size(), naming_.prefix_type()});
    live += put.ids.size();
    out.puts.push_back(std::move(put));
  }
  GS_CHECK(missing.empty() || out.runs.front().slot == first_live);
  return out;
}

// Takes the longest chain of links that the cache holds; the slots it covers. `missing`: the links behind it.
std::size_t PromptComposer::take_prefix(const Prompt& prompt, std::span<const PromptLink> links, std::span<const PassageOwner> chunks,
                                        ComposedPrompt& out, std::vector<SpanPut>& missing) {
  std::size_t covered = 0;
  std::optional<SpanKey> left;
  for (const PromptLink& link : links) {
    const std::span<const TokenId> ids = std::span(prompt.tokens).subspan(link.first, link.count);
    const SpanKey key = naming_.prefix(left ? &*left : nullptr, ids);
    const auto hit = missing.empty() ? cache_.find(key, ids) : std::nullopt;
    if (hit) {
      add_segment(out, hit->span, 0, link.count, link.first);
      out.reused_tokens += link.count;
      out.bytes += hit->span->bytes.size();
      covered = link.first + link.count;
      if (link.passage) {
        PassageReuse& reuse = out.passages[*link.passage];
        reuse.source = hit->tier == SpanTier::kRam ? SpanSource::kRam : SpanSource::kDisk;
        reuse.load_ms = hit->load_ms;
        reuse.bytes = hit->span->bytes.size();
      }
    } else {
      SpanPut put;
      put.key = key;
      put.left = left;
      put.ids.assign(ids.begin(), ids.end());
      if (link.passage) put.chunk = chunks[*link.passage];
      put.on_disk = !link.asked && (!link.passage || put.chunk);
      missing.push_back(std::move(put));
    }
    left = key;
  }
  return covered;
}

// The passages' own spans: found, or computed behind the span head in one batch.
std::vector<std::shared_ptr<const KvSpan>> PromptComposer::passage_spans(const Prompt& prompt, std::span<const PromptPiece> passages,
                                                                         std::span<const PassageOwner> chunks, ComposedPrompt& out) {
  const Clock::time_point start = Clock::now();
  std::vector<std::shared_ptr<const KvSpan>> spans(passages.size());
  std::vector<std::pair<std::size_t, std::future<JobOutput>>> jobs;
  std::size_t computed = 0;
  for (std::size_t p = 0; p < passages.size(); ++p) {
    const std::span<const TokenId> ids = std::span(prompt.tokens).subspan(passages[p].first, passages[p].count);
    PassageReuse& reuse = out.passages[p];
    if (ids.empty()) continue;
    if (const auto hit = cache_.find(naming_.chunk(ids), ids)) {
      spans[p] = hit->span;
      reuse.source = hit->tier == SpanTier::kRam ? SpanSource::kRam : SpanSource::kDisk;
      reuse.load_ms = hit->load_ms;
      out.bytes += hit->span->bytes.size();
    } else {
      Job job;
      job.tokens = naming_.head();
      job.tokens.insert(job.tokens.end(), ids.begin(), ids.end());
      job.wants.kv = {{naming_.head().size(), ids.size(), naming_.chunk_type()}};
      job.cancel = options_.cancel;
      jobs.emplace_back(p, engine_.submit(std::move(job)));
      computed += ids.size();
      reuse.source = SpanSource::kComputed;
    }
  }
  for (auto& [p, output] : jobs) spans[p] = output.get().kv.at(0);
  if (!jobs.empty()) {
    out.compute_ms = milliseconds_since(start);
    cache_.costs().saw_compute(computed, out.compute_ms / 1e3);
  }
  for (const auto& job : jobs) {
    const std::size_t p = job.first;
    const std::span<const TokenId> ids = std::span(prompt.tokens).subspan(passages[p].first, passages[p].count);
    SpanPut put;
    put.key = naming_.chunk(ids);
    put.ids.assign(ids.begin(), ids.end());
    put.span = spans[p];
    put.chunk = chunks[p];
    put.on_disk = put.chunk.has_value();
    put.cost_seconds = out.compute_ms / 1e3 * static_cast<double>(ids.size()) / static_cast<double>(computed);
    cache_.put(std::move(put), collection_);
  }
  for (std::size_t p = 0; p < passages.size(); ++p) out.passages[p].bytes = spans[p] ? spans[p]->bytes.size() : 0;
  return spans;
}

// Which tokens of every passage are computed again.
std::vector<std::vector<bool>> PromptComposer::select(const Prompt& prompt, std::span<const PromptPiece> passages,
                                                      std::span<const std::shared_ptr<const KvSpan>> spans, ComposedPrompt& out) {
  std::vector<std::vector<bool>> again;
  for (const PromptPiece& piece : passages) again.emplace_back(piece.count, false);
  if (options_.policy.kind == ReuseKind::kFirst) {
    for (std::vector<bool>& passage : again) std::fill_n(passage.begin(), std::min(options_.policy.first_tokens, passage.size()), true);
  }
  if (options_.policy.kind != ReuseKind::kBlend || passages.empty()) return again;
  const Clock::time_point start = Clock::now();
  // Layer 0 knows a token alone, so its K and V cannot deviate; layer 1 is the first that has seen the neighbours.
  const std::size_t layer = std::min<std::size_t>(1, engine_.config().layers - 1);
  Job job;
  job.tokens.assign(prompt.tokens.begin(),
                    prompt.tokens.begin() + static_cast<std::ptrdiff_t>(passages.back().first + passages.back().count));
  job.wants.kv_probe = layer;
  job.cancel = options_.cancel;
  const std::vector<float> probe = engine_.run(std::move(job)).probe;
  struct Candidate {
    float deviation;
    std::size_t passage, token;
  };
  std::vector<Candidate> candidates;
  const std::size_t width = 2 * engine_.config().kv_width();
  for (std::size_t p = 0; p < passages.size(); ++p) {
    if (!spans[p]) continue;
    const auto fresh = std::span(probe).subspan(passages[p].first * width, passages[p].count * width);
    const std::vector<float> deviations = span_deviations(*spans[p], layer, fresh);
    for (std::size_t t = 0; t < deviations.size(); ++t) candidates.push_back({deviations[t], p, t});
  }
  const auto wanted = static_cast<std::size_t>(options_.policy.fraction * static_cast<double>(candidates.size()) + 0.5);
  std::ranges::stable_sort(candidates, std::greater<>(), &Candidate::deviation);
  for (const Candidate& c : std::span(candidates).first(std::min(wanted, candidates.size()))) again[c.passage][c.token] = true;
  out.select_ms = milliseconds_since(start);
  return again;
}

void PromptComposer::keep(ComposedPrompt& composed, std::span<const std::shared_ptr<const KvSpan>> saved, double seconds_per_token) {
  GS_CHECK(saved.size() == composed.puts.size());
  for (std::size_t i = 0; i < saved.size(); ++i) {
    SpanPut& put = composed.puts[i];
    put.span = saved[i];
    put.cost_seconds = seconds_per_token * static_cast<double>(put.ids.size());
    cache_.costs().saw_compute(put.ids.size(), put.cost_seconds);
    cache_.put(std::move(put), collection_);
  }
  composed.puts.clear();
}

}  // namespace gritstone

#include "pipelines/prompt_work.h"

#include <algorithm>
#include <optional>
#include <span>

#include "base/error.h"
#include "pipelines/prompt_links.h"

namespace gritstone {

PromptWork prompt_work(const Prompt& prompt, const SpanNaming& naming, const SpanCache& cache, const ReusePolicy& policy) {
  GS_CHECK(!policy.grit());
  PromptWork work;
  work.prompt_tokens = work.live_tokens = prompt.tokens.size();
  if (policy.kind == ReuseKind::kNone) return work;
  const auto load = [&](const SpanPlace& place, std::size_t tokens) {
    work.context_tokens += tokens;
    work.live_tokens -= tokens;
    (place.tier == SpanTier::kRam ? work.ram_bytes : work.disk_bytes) += place.bytes;
  };
  const auto [links, passages] = split_prompt(prompt);
  const std::size_t chained = policy.composes() ? std::min<std::size_t>(1, links.size()) : links.size();
  std::optional<SpanKey> left;
  for (const PromptLink& link : std::span(links).first(chained)) {
    const std::span<const TokenId> ids = std::span(prompt.tokens).subspan(link.first, link.count);
    left = naming.prefix(left ? &*left : nullptr, ids);
    const auto place = cache.where(*left, ids);
    if (!place) break;
    load(*place, link.count);
  }
  if (!policy.composes()) return work;
  std::size_t all = 0, again = 0;  // tokens of passages; of them, computed in their place
  for (const PromptPiece& passage : passages) {
    if (passage.count == 0) continue;
    const std::span<const TokenId> ids = std::span(prompt.tokens).subspan(passage.first, passage.count);
    all += passage.count;
    if (policy.kind == ReuseKind::kFirst) again += std::min(policy.first_tokens, passage.count);
    const auto place = cache.where(naming.chunk(ids), ids);
    load(place.value_or(SpanPlace{SpanTier::kRam, 0}), passage.count);
    if (!place) {
      work.missing_tokens += naming.head().size() + passage.count;
      ++work.missing_spans;
    }
  }
  if (policy.kind == ReuseKind::kBlend) again = static_cast<std::size_t>(policy.fraction * static_cast<double>(all) + 0.5);
  work.live_tokens += again;
  work.context_tokens -= again;
  if (policy.kind == ReuseKind::kBlend && !passages.empty()) work.probe_tokens = passages.back().first + passages.back().count;
  return work;
}

}  // namespace gritstone

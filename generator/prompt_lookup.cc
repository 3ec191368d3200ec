#include "generator/prompt_lookup.h"

#include <algorithm>
#include <utility>

namespace gritstone {
namespace {

constexpr std::size_t kLongest = 4;

std::uint64_t pair_of(TokenId a, TokenId b) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(a)) << 32 | static_cast<std::uint32_t>(b);
}

// What is learned fades over about ten observations.
void learn(double& value, double observed) { value += 0.1 * (observed - value); }

}  // namespace

PromptLookup::PromptLookup(std::vector<TokenId> source) : source_(std::move(source)) {
  pairs_.reserve(source_.size());
  for (std::size_t i = 2; i < source_.size(); ++i) pairs_.emplace(pair_of(source_[i - 2], source_[i - 1]), i);
}

std::vector<TokenId> PromptLookup::propose(std::span<const TokenId> text, std::size_t limit) const {
  if (text.size() < 2 || limit == 0) return {};
  const auto [begin, end] = pairs_.equal_range(pair_of(text[text.size() - 2], text[text.size() - 1]));
  std::size_t best = 0, longest = 0;
  for (auto it = begin; it != end; ++it) {
    const std::size_t at = it->second;
    std::size_t length = 2;
    while (length < kLongest && length < text.size() && length < at && text[text.size() - 1 - length] == source_[at - 1 - length]) ++length;
    if (length > longest || (length == longest && at > best)) {
      longest = length;
      best = at;
    }
  }
  if (longest == 0) return {};
  const auto from = source_.begin() + static_cast<std::ptrdiff_t>(best);
  return {from, from + static_cast<std::ptrdiff_t>(std::min(limit, source_.size() - best))};
}

std::size_t DraftLength::next() noexcept {
  // The first step shows what a token costs.
  if (single_seconds_ == 0) return 0;
  std::size_t best = 0;
  double most = 1.0;  // tokens per step of one token
  double expected = 1.0, chain = 1.0;
  for (std::size_t k = 1; k <= kMax; ++k) {
    chain *= chance_;
    expected += chain;
    const double speed = expected / (1.0 + token_cost_ * static_cast<double>(k));
    if (speed > most * 1.02) {  // a tie is not worth the risk
      most = speed;
      best = k;
    }
  }
  if (best > 0) {
    since_trial_ = 0;
    return best;
  }
  // One token now and then, to notice when quoting begins: one step in 64 that is a token dearer stays within one per cent.
  if (++since_trial_ < 64) return 0;
  since_trial_ = 0;
  return 1;
}

void DraftLength::record(std::size_t proposed, std::size_t accepted, double seconds) noexcept {
  if (proposed == 0) {
    single_seconds_ == 0 ? void(single_seconds_ = seconds) : learn(single_seconds_, seconds);
    return;
  }
  for (std::size_t i = 0; i < std::min(accepted + 1, proposed); ++i) learn(chance_, i < accepted ? 1.0 : 0.0);
  if (single_seconds_ > 0) {
    learn(token_cost_, std::clamp((seconds / single_seconds_ - 1.0) / static_cast<double>(proposed), 0.0, 2.0));
  }
}

}  // namespace gritstone

#include "generator/sampler.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"

namespace gritstone {
namespace {

void require(bool good, const char* name, double value, const char* expected) {
  if (good) return;
  throw Error(ErrorCode::kInvalidArgument, std::string(name) + " is " + std::to_string(value) + ", expected " + expected);
}

}  // namespace

void validate(const SamplerOptions& o) {
  require(std::isfinite(o.temperature) && o.temperature >= 0, "temperature", o.temperature, "at least 0");
  require(o.top_p > 0 && o.top_p <= 1, "top_p", o.top_p, "more than 0 and at most 1");
  require(o.min_p >= 0 && o.min_p < 1, "min_p", o.min_p, "at least 0 and less than 1");
  require(std::isfinite(o.repetition_penalty) && o.repetition_penalty > 0, "repetition_penalty", o.repetition_penalty, "more than 0");
}

Sampler::Sampler(const SamplerOptions& options) : options_(options), state_(options.seed) { validate(options); }

TokenId Sampler::sample(std::span<const float> logits) {
  TokenId chosen = -1;
  if (options_.temperature == 0) {
    chosen = greedy(logits);
  } else {
    candidates_.clear();
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (!std::isfinite(logits[i])) continue;
      const auto id = static_cast<TokenId>(i);
      candidates_.push_back({id, penalised(id, logits[i])});
    }
    if (!candidates_.empty()) chosen = draw();
  }
  if (chosen < 0) {
    throw Error(ErrorCode::kDevice, "none of the " + std::to_string(logits.size()) + " logits is finite");
  }
  remember(chosen);
  return chosen;
}

std::optional<std::size_t> Sampler::needed_top(std::size_t draws) const {
  const std::size_t kept = options_.temperature == 0 ? 1 : options_.top_k;
  if (kept == 0 || kept > kMaxTopLogits || options_.repetition_penalty < 1) return std::nullopt;
  std::size_t lowered = 0;
  if (options_.repetition_penalty > 1) {
    lowered = recent_counts_.size() + draws - 1;
    if (options_.repetition_window > 0) lowered = std::min(lowered, options_.repetition_window);
  }
  // Of the kept + lowered largest at least `kept` stay as they are: a token that is not among them has so many before it, and sinks at
  // most.
  return lowered <= kMaxTopLogits - kept ? std::optional(kept + lowered) : std::nullopt;
}

TokenId Sampler::sample(std::span<const TopLogit> top) {
  candidates_.clear();
  for (const TopLogit& entry : top) {
    if (entry.id >= 0) candidates_.push_back({entry.id, penalised(entry.id, entry.logit)});
  }
  if (candidates_.empty()) throw Error(ErrorCode::kDevice, "none of the logits is finite");
  const TokenId chosen = options_.temperature == 0 ? std::min_element(candidates_.begin(), candidates_.end(), before)->id : draw();
  remember(chosen);
  return chosen;
}

TokenId Sampler::greedy(std::span<const float> logits) const {
  TokenId best = -1;
  double best_logit = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i])) continue;
    const auto id = static_cast<TokenId>(i);
    const double logit = penalised(id, logits[i]);
    if (best < 0 || logit > best_logit) {
      best = id;
      best_logit = logit;
    }
  }
  return best;
}

TokenId Sampler::draw() {
  // Only top-k spares sorting the whole vocabulary; 50,304 candidates sort in about 3 ms, a small part of a decode step.
  if (options_.top_k > 0 && options_.top_k < candidates_.size()) {
    const auto middle = candidates_.begin() + static_cast<std::ptrdiff_t>(options_.top_k);
    std::partial_sort(candidates_.begin(), middle, candidates_.end(), before);
    candidates_.erase(middle, candidates_.end());
  } else {
    std::sort(candidates_.begin(), candidates_.end(), before);
  }

  const double top = candidates_.front().logit;
  std::size_t kept = candidates_.size();
  if (options_.top_p < 1) {
    double total = 0;
    for (const Candidate& c : candidates_) total += std::exp(c.logit - top);
    double reached = 0;
    for (std::size_t i = 0; i < kept; ++i) {
      reached += std::exp(candidates_[i].logit - top);
      if (reached >= options_.top_p * total) kept = i + 1;
    }
  }
  if (options_.min_p > 0) {
    const double least = top + std::log(options_.min_p);
    while (kept > 1 && candidates_[kept - 1].logit < least) --kept;
  }

  probabilities_.resize(kept);
  double total = 0;
  for (std::size_t i = 0; i < kept; ++i) {
    probabilities_[i] = std::exp((candidates_[i].logit - top) / options_.temperature);
    total += probabilities_[i];
  }
  double left = uniform() * total;
  for (std::size_t i = 0; i + 1 < kept; ++i) {
    left -= probabilities_[i];
    if (left < 0) return candidates_[i].id;
  }
  return candidates_[kept - 1].id;
}

double Sampler::penalised(TokenId id, float logit) const {
  const double value = logit;
  if (options_.repetition_penalty == 1 || !recent_counts_.contains(id)) return value;
  return value > 0 ? value / options_.repetition_penalty : value * options_.repetition_penalty;
}

void Sampler::remember(TokenId id) {
  if (options_.repetition_penalty == 1) return;
  recent_.push_back(id);
  ++recent_counts_[id];
  if (options_.repetition_window > 0 && recent_.size() > options_.repetition_window) {
    const auto oldest = recent_counts_.find(recent_.front());
    if (--oldest->second == 0) recent_counts_.erase(oldest);
    recent_.pop_front();
  }
}

double Sampler::uniform() {
  // SplitMix64 (Steele, Lea, Flood 2014): our own, because the standard library's distributions differ between implementations.
  state_ += 0x9E3779B97F4A7C15u;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1.0p-53;
}

}  // namespace gritstone

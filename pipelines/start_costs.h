// How long this machine takes to a first token with this model, and how far such estimates were off.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <mutex>
#include <stop_token>
#include <utility>
#include <vector>

#include "index/span_costs.h"
#include "model/engine.h"
#include "pipelines/prompt_work.h"
#include "retriever/search.h"

namespace gritstone {

// Thread-safe.
class StartCosts {
 public:
  // file: of one model, its kernels and threads on one machine; read now, written by save(). Empty, unreadable or unwritable: what is known
  // lives as long as the object.
  explicit StartCosts(std::filesystem::path file = {});
  ~StartCosts();
  StartCosts(const StartCosts&) = delete;
  StartCosts& operator=(const StartCosts&) = delete;

  bool measured() const;
  // Times passes of 8, 32, 128 and 384 tokens, the shorter ones twice, and one behind a context: about 1.2 times a prefill of 512 tokens
  // altogether. A model with a shorter context gets shorter passes. Throws what the engine throws.
  void measure(Engine& engine, std::stop_token stop = {});

  // Of a pass over `tokens` live tokens behind `context` others. 0 before measure().
  double pass_seconds(std::size_t tokens, std::size_t context = 0) const;
  // From the composed prompt to its first token. `rates`: of loading spans; a rate of 0 is not counted.
  double start_seconds(const PromptWork& work, const SpanRates& rates, std::size_t layers) const;

  // Estimates are multiplied by one of these: what actual starts took beside their estimate, by the last 64 of them.
  double typical() const;   // the median; 1 before the first
  double cautious() const;  // the 95th percentile; with fewer than 20 samples at least 1.25
  void saw_start(double estimated_seconds, double actual_seconds);

  // Retrieval without the model's passes; the latest counts a quarter. 0: not seen.
  void saw_search(SearchMode mode, double seconds);
  double search_seconds(SearchMode mode) const;

  // Writes what has changed since the last time. Does nothing if it cannot be written.
  void save() noexcept;

 private:
  void load();
  double curve(double tokens) const;

  const std::filesystem::path file_;
  mutable std::mutex mutex_;
  std::vector<std::pair<double, double>> passes_;  // tokens, seconds; ascending
  double context_seconds_ = 0;                     // per live token and token in front of it
  std::vector<double> ratios_;                     // actual over estimated, oldest first
  std::array<double, 3> search_{};                 // by SearchMode
  bool changed_ = false;
};

}  // namespace gritstone

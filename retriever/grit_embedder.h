// The embedder that runs on the same engine as the generator.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "model/engine.h"
#include "model/tokenizer.h"
#include "retriever/embed_options.h"
#include "retriever/embedder.h"
#include "retriever/whitening.h"

namespace gritstone {

// Immutable and thread-safe; borrows engine and tokenizer, which must outlive it. One job per text, which pools its states in the engine;
// up to kJobsInFlight at a time, so that the engine's steps are full.
class GritEmbedder final : public Embedder {
 public:
  static constexpr std::size_t kJobsInFlight = 64;

  // statistics: what is taken out of every row (see whitening.h); absent: rows are only L2-normalised.
  // Throws Error(kInvalidArgument) if the options do not suit the model or the statistics have another dimension.
  GritEmbedder(Engine& engine, const Tokenizer& tokenizer, EmbedOptions options, std::optional<EmbedStatistics> statistics = {});

  std::size_t dim() const noexcept override { return dim_; }
  std::size_t max_tokens() const noexcept override { return options_.max_tokens; }
  // Also throws Error(kInvalidArgument) for keep_spans with a pooling that reads the text otherwise than generation does.
  EmbedResult embed(const EmbedRequest& request, MatrixView<float> out) const override;

  const EmbedOptions* model_options() const noexcept override { return &options_; }
  const EmbedOptions& options() const noexcept { return options_; }

 private:
  struct Pending;
  Pending submit(const EmbedRequest& request, const std::string& text) const;
  void pool(const Pending& pending, const JobOutput& output, TextRole role, std::span<float> row) const;

  Engine& engine_;
  const Tokenizer& tokenizer_;
  EmbedOptions options_;
  std::optional<EmbedStatistics> statistics_;
  std::size_t layer_;
  std::size_t dim_;
};

}  // namespace gritstone

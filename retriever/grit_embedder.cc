#include "retriever/grit_embedder.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "base/error.h"
#include "retriever/grit_format.h"
#include "retriever/pooling.h"

namespace gritstone {
struct GritEmbedder::Pending {
  EmbedTokens format;
  std::size_t tokens = 0;
  std::future<JobOutput> output;
};

GritEmbedder::GritEmbedder(Engine& engine, const Tokenizer& tokenizer, EmbedOptions options, std::optional<EmbedStatistics> statistics)
    : engine_(engine),
      tokenizer_(tokenizer),
      options_(std::move(options)),
      statistics_(std::move(statistics)),
      layer_(options_.layer.value_or(engine.config().layers)),
      dim_(embedding_dim(options_, engine.config())) {
  validate(options_, engine.config());
  if (statistics_ && statistics_->mean.size() != dim_) {
    throw Error(ErrorCode::kInvalidArgument,
                "the statistics have " + std::to_string(statistics_->mean.size()) + " columns, the embeddings " + std::to_string(dim_));
  }
}

EmbedResult GritEmbedder::embed(const EmbedRequest& request, MatrixView<float> out) const {
  const std::size_t n = request.texts.size();
  if (out.rows != n || out.cols != dim_) {
    throw Error(ErrorCode::kInvalidArgument, "the output is [" + std::to_string(out.rows) + ", " + std::to_string(out.cols) +
                                                 "], expected [" + std::to_string(n) + ", " + std::to_string(dim_) + "]");
  }
  const bool text_seen_as_in_prompts = options_.pooling == Pooling::kMean || options_.pooling == Pooling::kWeightedMean;
  if (request.keep_spans && (!text_seen_as_in_prompts || layer_ != engine_.config().layers)) {
    throw Error(ErrorCode::kInvalidArgument, "KV spans can be kept with mean or weighted-mean pooling after the last layer, not with " +
                                                 std::string(pooling_name(options_.pooling)) + " after layer " + std::to_string(layer_));
  }

  EmbedResult result;
  result.tokens.resize(n);
  result.cut.resize(n);
  if (request.keep_spans) {
    result.spans.resize(n);
    result.span_ids.resize(n);
  }
  std::deque<Pending> in_flight;
  std::size_t next = 0;
  // On an error the futures still in flight are dropped; the engine finishes or cancels their jobs on its own.
  for (std::size_t row = 0; row < n; ++row) {
    while (next < n && in_flight.size() < kJobsInFlight) in_flight.push_back(submit(request, request.texts[next++]));
    Pending pending = std::move(in_flight.front());
    in_flight.pop_front();
    const JobOutput output = pending.output.get();
    pool(pending, output, request.role, out.row(row));
    result.cut[row] = pending.format.cut;
    result.tokens[row] = pending.tokens;
    if (request.keep_spans) {
      result.spans[row] = output.kv.at(0);
      const auto first = pending.format.tokens.begin() + static_cast<std::ptrdiff_t>(request.whole_spans ? 0 : pending.format.text_first);
      result.span_ids[row].assign(first, first + static_cast<std::ptrdiff_t>(output.kv.at(0)->tokens));
    }
  }
  return result;
}

GritEmbedder::Pending GritEmbedder::submit(const EmbedRequest& request, const std::string& text) const {
  const std::string& instruction = request.instruction.empty() ? options_.query_instruction : request.instruction;
  Pending pending;
  pending.format = format_for_embedding(tokenizer_, options_, request.role, instruction, text, engine_.config().context);
  pending.tokens = pending.format.text_count;
  Job job;
  job.tokens = pending.format.tokens;
  job.attention = options_.attention;
  job.wants.normed_after = layer_;
  const bool one_token = options_.pooling == Pooling::kLast || options_.pooling == Pooling::kRouting;
  job.wants.pool = one_token
                       ? Wants::Pool{pending.format.pool_last, 1, false}
                       : Wants::Pool{pending.format.text_first, pending.format.text_count, options_.pooling == Pooling::kWeightedMean};
  job.wants.router = options_.pooling == Pooling::kRouting;
  if (request.keep_spans && request.whole_spans) {
    job.wants.kv = {{0, pending.format.text_first + pending.format.text_count, *request.keep_spans}};
  } else if (request.keep_spans) {
    job.wants.kv = {{pending.format.text_first, pending.format.text_count, *request.keep_spans}};
  }
  job.priority = request.bulk ? Priority::kBulk : Priority::kInteractive;
  job.cancel = request.cancel;
  pending.output = engine_.submit(std::move(job));
  return pending;
}

void GritEmbedder::pool(const Pending& pending, const JobOutput& output, TextRole role, std::span<float> row) const {
  const EmbedTokens& f = pending.format;
  if (options_.pooling == Pooling::kRouting) {
    if (output.router.size() < layer_ || output.tokens <= f.pool_last) {
      throw Error(ErrorCode::kDevice, "the engine returned router probabilities of " + std::to_string(output.router.size()) +
                                          " layers, expected " + std::to_string(layer_));
    }
    gather_routing(std::span(output.router).first(layer_), engine_.config().experts, f.pool_last, row);
  } else {
    if (output.pooled.size() != dim_) {
      throw Error(ErrorCode::kDevice,
                  "the engine returned " + std::to_string(output.pooled.size()) + " pooled values, expected " + std::to_string(dim_));
    }
    std::copy(output.pooled.begin(), output.pooled.end(), row.begin());
  }
  if (!normalise_l2(row)) throw Error(ErrorCode::kDevice, "an embedding is zero or not finite");
  if (statistics_) statistics_->apply(row, role);
}

}  // namespace gritstone

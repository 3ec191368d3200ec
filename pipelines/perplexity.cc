#include "pipelines/perplexity.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace gritstone {
namespace {

// -log softmax(logits)[token]; sums in double, in index order.
double negative_log_likelihood(std::span<const float> logits, TokenId token) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - static_cast<double>(largest));
  return std::log(sum) + static_cast<double>(largest) - static_cast<double>(logits[static_cast<std::size_t>(token)]);
}

}  // namespace

PerplexityResult perplexity(Engine& engine, const Tokenizer& tokenizer, std::string_view text, const PerplexityOptions& options) {
  const std::size_t context = engine.config().context;
  if (options.window < 4 || options.window > context) {
    throw Error(ErrorCode::kInvalidArgument, "a window of " + std::to_string(options.window) + " tokens is outside 4.." +
                                                 std::to_string(context) + " (the model's context)");
  }
  const bool bos = tokenizer.adds_bos() && tokenizer.bos() >= 0;
  std::vector<TokenId> ids;
  if (bos) ids.push_back(tokenizer.bos());
  const std::vector<TokenId> encoded = tokenizer.encode(text);
  ids.insert(ids.end(), encoded.begin(), encoded.end());
  const std::size_t window = std::min(options.window, ids.size());
  if (window < 4) throw Error(ErrorCode::kInvalidArgument, "the text has " + std::to_string(ids.size()) + " tokens; at least 4 are needed");
  const std::size_t windows = ids.size() / window;
  const std::size_t first = window / 2;
  const std::size_t vocab = engine.config().vocab;

  const auto submit = [&](std::size_t index) {
    Job job;
    job.tokens.assign(ids.begin() + static_cast<std::ptrdiff_t>(index * window),
                      ids.begin() + static_cast<std::ptrdiff_t>((index + 1) * window));
    if (bos) job.tokens.front() = tokenizer.bos();
    job.wants.logits = Wants::Logits::kRows;
    for (std::size_t j = first; j + 1 < window; ++j) job.wants.logit_rows.push_back(j);
    job.priority = Priority::kBulk;
    job.cancel = options.cancel;
    return engine.submit(std::move(job));
  };

  // Two windows under way keep the engine busy while one is scored here; more would only hold more logits (200 KB a row).
  std::deque<std::future<JobOutput>> pending;
  std::size_t next = 0;
  double sum = 0, sum_of_squares = 0;
  PerplexityResult result;
  for (std::size_t done = 0; done < windows; ++done) {
    while (next < windows && pending.size() < 2) pending.push_back(submit(next++));
    const JobOutput output = pending.front().get();
    pending.pop_front();
    for (std::size_t j = first; j + 1 < window; ++j) {
      const std::span<const float> logits(output.logits.data() + (j - first) * vocab, vocab);
      const double nll = negative_log_likelihood(logits, ids[done * window + j + 1]);
      sum += nll;
      sum_of_squares += nll * nll;
    }
    if (options.on_progress) options.on_progress(done + 1, windows);
  }
  result.windows = windows;
  result.tokens = windows * (window - 1 - first);
  const auto n = static_cast<double>(result.tokens);
  result.nll = sum / n;
  result.perplexity = std::exp(result.nll);
  if (result.tokens > 1) result.standard_error = std::sqrt(std::max(0.0, sum_of_squares / n - result.nll * result.nll) / (n - 1));
  return result;
}

}  // namespace gritstone

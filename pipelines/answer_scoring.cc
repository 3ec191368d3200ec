#include "pipelines/answer_scoring.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace gritstone {
namespace {

// log softmax, in double precision.
std::vector<double> log_probabilities(std::span<const float> logits) {
  const double top = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - top);
  const double shift = top + std::log(sum);
  std::vector<double> out(logits.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<double>(logits[i]) - shift;
  return out;
}

}  // namespace

std::vector<float> score_trace(const ModelParts& model, const CollectionInfo& collection, const AnswerTrace& trace,
                               const ReusePolicy& policy, const AnswerOptions& options) {
  GS_CHECK(!trace.ids.empty());
  Job job;
  if (policy.kind == ReuseKind::kNone) {
    job.tokens = trace.prompt.tokens;
  } else {
    PromptComposer composer(model, *options.cache, collection, {policy, options.span_type, options.cancel});
    ComposedPrompt composed = composer.compose(trace.prompt, trace.chunks);
    job.context = std::move(composed.context);
    job.tokens = std::move(composed.tokens);
    job.runs = std::move(composed.runs);
    job.runs.back().count += trace.ids.size() - 1;
  }
  const std::size_t first = job.tokens.size() - 1;  // its logits predict the first token
  job.tokens.insert(job.tokens.end(), trace.ids.begin(), trace.ids.end() - 1);
  job.wants.logits = Wants::Logits::kRows;
  for (std::size_t i = 0; i < trace.ids.size(); ++i) job.wants.logit_rows.push_back(first + i);
  job.cancel = options.cancel;
  return model.engine().run(std::move(job)).logits;
}

void TokenAgreement::add(std::span<const float> reference, std::span<const float> other, std::size_t vocab) {
  GS_CHECK(reference.size() == other.size());
  for (std::size_t row = 0; row + vocab <= reference.size(); row += vocab) {
    const std::vector<double> p = log_probabilities(reference.subspan(row, vocab)), q = log_probabilities(other.subspan(row, vocab));
    double sum = 0;
    for (std::size_t i = 0; i < vocab; ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
    kl.push_back(std::max(0.0, sum));
    same_top += std::ranges::max_element(p) - p.begin() == std::ranges::max_element(q) - q.begin() ? 1 : 0;
  }
}

}  // namespace gritstone

#include "retriever/likelihood.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <future>

#include "base/error.h"

namespace gritstone {
namespace {

void append(std::vector<TokenId>& tokens, const std::vector<TokenId>& more) { tokens.insert(tokens.end(), more.begin(), more.end()); }

// log softmax(row)[id], with the largest logit taken out first.
double log_probability(std::span<const float> row, TokenId id) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float logit : row) sum += std::exp(static_cast<double>(logit) - largest);
  return static_cast<double>(row[static_cast<std::size_t>(id)]) - largest - std::log(sum);
}

}  // namespace

std::vector<TokenId> likelihood_question(const Tokenizer& tokenizer, std::string_view question) {
  return tokenizer.encode(" " + std::string(question));
}

std::vector<TokenId> likelihood_bridge(const Tokenizer& tokenizer) { return tokenizer.encode("\nA question that this passage answers:"); }

LikelihoodResult likelihood_behind(Engine& engine, std::span<const TokenId> question, std::size_t count,
                                   const std::function<LikelihoodPrefix(std::size_t)>& prefix,
                                   std::optional<std::chrono::steady_clock::time_point> deadline, const std::stop_token& cancel) {
  GS_CHECK(!question.empty());
  const std::size_t vocab = engine.config().vocab;
  const std::size_t in_flight = std::clamp<std::size_t>(kLikelihoodBytes / (question.size() * vocab * sizeof(float)), 1, 16);
  LikelihoodResult result;
  std::stop_source stop;
  const std::stop_callback with_caller(cancel, [&stop] { stop.request_stop(); });
  std::deque<std::future<JobOutput>> running;
  const auto take = [&] {
    const JobOutput output = running.front().get();
    running.pop_front();
    double sum = 0;
    for (std::size_t i = 0; i < question.size(); ++i) {
      sum += log_probability(std::span(output.logits).subspan(i * vocab, vocab), question[i]);
    }
    result.scores.push_back(sum / static_cast<double>(question.size()));
  };
  try {
    for (std::size_t p = 0; p < count; ++p) {
      LikelihoodPrefix before = prefix(p);
      Job job;
      job.context = std::move(before.context);
      job.tokens = std::move(before.tokens);
      job.runs = std::move(before.runs);
      // The row of a token predicts the next one.
      for (std::size_t i = 0; i < question.size(); ++i) job.wants.logit_rows.push_back(job.tokens.size() - 1 + i);
      job.tokens.insert(job.tokens.end(), question.begin(), question.end());
      if (!job.runs.empty()) job.runs.back().count += question.size();
      job.wants.logits = Wants::Logits::kRows;
      job.deadline = deadline;
      job.cancel = stop.get_token();
      result.tokens += job.tokens.size();
      running.push_back(engine.submit(std::move(job)));
      if (running.size() == in_flight) take();
    }
    while (!running.empty()) take();
  } catch (...) {
    stop.request_stop();
    for (const std::future<JobOutput>& job : running) job.wait();
    throw;
  }
  return result;
}

LikelihoodResult question_likelihood(Engine& engine, const Tokenizer& tokenizer, const LikelihoodRequest& request) {
  const std::size_t context = engine.config().context;
  const std::vector<TokenId> question = likelihood_question(tokenizer, request.question);
  const std::vector<TokenId> before = tokenizer.encode("Passage: ");
  const std::vector<TokenId> between = likelihood_bridge(tokenizer);
  const std::size_t fixed = 1 + before.size() + between.size() + question.size();
  if (request.question.empty()) throw Error(ErrorCode::kInvalidArgument, "the question is empty");
  if (fixed >= context) {
    throw Error(ErrorCode::kInvalidArgument,
                "the question has " + std::to_string(question.size()) + " tokens, the model's context is " + std::to_string(context));
  }
  const auto prefix = [&](std::size_t i) {
    LikelihoodPrefix p;
    // OLMoE has no BOS of its own: its texts start with the end-of-text id.
    const TokenId bos = tokenizer.bos() >= 0 ? tokenizer.bos() : tokenizer.eos();
    if (bos >= 0) p.tokens.push_back(bos);
    append(p.tokens, before);
    std::vector<TokenId> text = tokenizer.encode(request.passages[i]);
    text.resize(std::min(text.size(), context - fixed));
    append(p.tokens, text);
    append(p.tokens, between);
    return p;
  };
  return likelihood_behind(engine, question, request.passages.size(), prefix, request.deadline, request.cancel);
}

}  // namespace gritstone

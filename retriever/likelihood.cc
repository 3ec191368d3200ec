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

LikelihoodResult question_likelihood(Engine& engine, const Tokenizer& tokenizer, const LikelihoodRequest& request) {
  const std::size_t context = engine.config().context;
  const std::vector<TokenId> question = tokenizer.encode(" " + request.question);
  const std::vector<TokenId> before = tokenizer.encode("Passage: ");
  const std::vector<TokenId> between = tokenizer.encode("\nA question that this passage answers:");
  const std::size_t fixed = 1 + before.size() + between.size() + question.size();
  if (request.question.empty()) throw Error(ErrorCode::kInvalidArgument, "the question is empty");
  if (fixed >= context) {
    throw Error(ErrorCode::kInvalidArgument,
                "the question has " + std::to_string(question.size()) + " tokens, the model's context is " + std::to_string(context));
  }
  const std::size_t vocab = engine.config().vocab;
  const std::size_t in_flight = std::clamp<std::size_t>(kLikelihoodBytes / (question.size() * vocab * sizeof(float)), 1, 16);
  LikelihoodResult result;
  std::stop_source stop;
  const std::stop_callback with_caller(request.cancel, [&stop] { stop.request_stop(); });
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
    for (const std::string& passage : request.passages) {
      Job job;
      // OLMoE has no BOS of its own: its texts start with the end-of-text id.
      const TokenId bos = tokenizer.bos() >= 0 ? tokenizer.bos() : tokenizer.eos();
      if (bos >= 0) job.tokens.push_back(bos);
      append(job.tokens, before);
      std::vector<TokenId> text = tokenizer.encode(passage);
      text.resize(std::min(text.size(), context - fixed));
      append(job.tokens, text);
      append(job.tokens, between);
      // The row of a token predicts the next one.
      for (std::size_t i = 0; i < question.size(); ++i) job.wants.logit_rows.push_back(job.tokens.size() - 1 + i);
      append(job.tokens, question);
      job.wants.logits = Wants::Logits::kRows;
      job.deadline = request.deadline;
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

}  // namespace gritstone

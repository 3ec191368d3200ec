// Measures what a reuse policy costs on a collection: the same questions with and without it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/answer.h"
#include "pipelines/certificate.h"

namespace gritstone {

inline constexpr std::size_t kCertifyAtLeast = 50;  // questions

struct CertifyOptions {
  ReusePolicy policy;
  std::vector<std::string> questions;  // empty: `count` are written by the model, each about a passage of the collection
  std::size_t count = 100;
  double accept = 0.05;  // the policy is used by `auto` if at most this share of answers changes, with 95 % confidence
  AnswerOptions answer;  // search, layout, length, span type and cache as they will be asked with; greedy
  std::function<void(std::string_view stage, std::size_t done, std::size_t total)> on_progress;
};

// Every question is answered without reuse (exactly, from prefixes, which gives the same tokens) and under the policy; then the reference
// answer is scored under both, token by token. Questions that find nothing are left out.
// Throws Error: kInvalidArgument (fewer than kCertifyAtLeast questions, a policy that changes nothing), kCancelled; as answer().
Certificate certify(const Snapshot& snapshot, const Embedder* embedder, const ModelParts& model, const CertifyOptions& options);

// What certificates count as the same answer, when they are made and when they are watched: case, punctuation and spacing aside.
bool same_words(std::string_view a, std::string_view b);

// Questions about passages spread over the collection, as the model writes them.
std::vector<std::string> write_questions(const Snapshot& snapshot, const ModelParts& model, std::size_t count,
                                         const std::function<void(std::size_t done)>& on_progress, std::stop_token stop);

}  // namespace gritstone

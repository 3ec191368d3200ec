#include "pipelines/certify.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "pipelines/answer_scoring.h"
#include "pipelines/statistics.h"

namespace gritstone {
namespace {

// Words alone: case, punctuation and spacing are no change of an answer.
std::string words_of(std::string_view text) {
  std::string words;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z')) {
      words += c;
    } else if (byte >= 'A' && byte <= 'Z') {
      words += static_cast<char>(byte - 'A' + 'a');
    } else if (!words.empty() && words.back() != ' ') {
      words += ' ';
    }
  }
  if (!words.empty() && words.back() == ' ') words.pop_back();
  return words;
}

}  // namespace

bool same_words(std::string_view a, std::string_view b) { return words_of(a) == words_of(b); }

std::vector<std::string> write_questions(const Snapshot& snapshot, const ModelParts& model, std::size_t count,
                                         const std::function<void(std::size_t done)>& on_progress, std::stop_token stop) {
  const std::vector<ChunkId> chunks = snapshot.matching_chunks({});
  const PromptFormat format(*model.tokenizer, choose_prompt_style(*model.config, *model.tokenizer));
  std::vector<std::string> questions;
  for (std::size_t i = 0; i < std::min(count, chunks.size()); ++i) {
    if (on_progress) on_progress(i);
    const ChunkRecord chunk = snapshot.chunk(chunks[i * chunks.size() / std::min(count, chunks.size())]);
    const ChatTurn turn{ChatTurn::Role::kUser, "Write one short question that this text answers. Reply with the question only.\n\n" +
                                                   chunk.title + "\n" + chunk.text};
    GenerateRequest request;
    request.prompt = format.chat(std::span(&turn, 1)).tokens;
    request.max_new_tokens = 40;
    request.stop_ids = model.tokenizer->stop_ids();
    request.stop_strings = format.stop_strings();
    request.stop_strings.push_back("?");
    request.cancel = stop;
    if (request.prompt.size() + request.max_new_tokens > model.config->context) continue;
    std::string text = generate(model.engine(), *model.tokenizer, std::move(request)).text;
    text.erase(0, text.find_first_not_of(" \t\r\n\""));
    if (const std::size_t end = text.find('\n'); end != std::string::npos) text.resize(end);
    // Fewer than three words are no question.
    if (std::ranges::count(text, ' ') >= 2) questions.push_back(text + "?");
  }
  return questions;
}

Certificate certify(const Snapshot& snapshot, const Embedder* embedder, const ModelParts& model, const CertifyOptions& options) {
  if (!options.policy.approximate()) {
    throw Error(ErrorCode::kInvalidArgument, "the policy " + reuse_name(options.policy) + " changes no answer and needs no certificate");
  }
  if (options.answer.cache == nullptr) throw Error(ErrorCode::kInvalidArgument, "certifying needs a span cache");
  std::vector<std::string> questions = options.questions;
  const auto report = [&](std::string_view stage, std::size_t done, std::size_t total) {
    if (options.on_progress) options.on_progress(stage, done, total);
  };
  if (questions.empty()) {
    questions = write_questions(
        snapshot, model, options.count, [&](std::size_t done) { report("questions", done, options.count); }, options.answer.cancel);
  }
  if (questions.size() < kCertifyAtLeast) {
    throw Error(ErrorCode::kInvalidArgument, "a certificate needs at least " + std::to_string(kCertifyAtLeast) + " questions, there are " +
                                                 std::to_string(questions.size()));
  }
  AnswerOptions ask = options.answer;
  ask.abstain = false;
  ask.keep_trace = true;
  ask.sampling.temperature = 0;
  Certificate certificate;
  certificate.subject = certificate_subject(model, options.policy, ask.span_type, ask.layout);
  certificate.accept = options.accept;
  certificate.chunks = snapshot.info().chunks;
  TokenAgreement agreement;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    report("answers", i, questions.size());
    ask.reuse = {ReuseKind::kExact};
    const AnswerResult reference = answer(snapshot, embedder, model, questions[i], ask);
    if (!reference.trace || reference.trace->ids.empty()) continue;
    ask.reuse = options.policy;
    const AnswerResult reused = answer(snapshot, embedder, model, questions[i], ask);
    ++certificate.questions;
    certificate.changed += same_words(reference.trace->text, reused.trace->text) ? 0 : 1;
    agreement.add(score_trace(model, snapshot.info(), *reference.trace, {ReuseKind::kExact}, ask),
                  score_trace(model, snapshot.info(), *reference.trace, options.policy, ask), model.config->vocab);
  }
  certificate.changed_upper = upper_bound_95(certificate.changed, certificate.questions);
  certificate.tokens = agreement.kl.size();
  if (!agreement.kl.empty()) {
    certificate.kl_mean = mean_of(agreement.kl);
    certificate.kl_p99 = quantile(agreement.kl, 0.99);
    certificate.top1_agreement = static_cast<double>(agreement.same_top) / static_cast<double>(agreement.kl.size());
  }
  if (certificate.questions < kCertifyAtLeast) {
    throw Error(ErrorCode::kInvalidArgument, "only " + std::to_string(certificate.questions) +
                                                 " of the questions found passages; at least " + std::to_string(kCertifyAtLeast) +
                                                 " are needed");
  }
  return certificate;
}

}  // namespace gritstone

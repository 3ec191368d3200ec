#include "generator/generate.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "generator/prompt_lookup.h"
#include "generator/stop_matcher.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

// Lives on the engine's thread from the first step to the last.
class Decoder {
 public:
  Decoder(const Tokenizer& tokenizer, const GenerateRequest& request)
      : tokenizer_(tokenizer),
        sampler_(request.sampling),
        matcher_(request.ignore_stops ? std::vector<std::string>{} : request.stop_strings),
        stop_ids_(request.ignore_stops ? std::vector<TokenId>{} : request.stop_ids),
        max_new_tokens_(request.max_new_tokens),
        vocab_(0),
        on_text_(request.on_text) {
    if (!request.draft_source.empty()) lookup_.emplace(request.draft_source);
  }

  // prompt: slots in use when the first token is sampled; capacity: slots reserved.
  void set_shape(std::size_t vocab, std::size_t prompt, std::size_t capacity) {
    vocab_ = vocab;
    slots_ = prompt;
    capacity_ = capacity;
  }

  // How many of the largest logits the next step is to give for each row; 0: whole rows. Asked before every step, since a repetition
  // penalty needs more the more was written.
  std::size_t wish_top() {
    top_ = sampler_.needed_top(1 + draft_.size()).value_or(0);
    return top_;
  }

  std::optional<NextTokens> step(const JobOutput& output) {
    if (sampled_ == 0) {
      first_token_ = Clock::now();
      queued_seconds_ = output.queued_seconds;
      load_seconds_ = output.load_seconds;
    }
    // One row of logits for the token that was certain, one for each draft behind it.
    std::size_t accepted = 0;
    for (std::size_t row = 0;; ++row) {
      const TokenId id = sample(output, row);
      ++sampled_;
      const bool held = row < draft_.size() && draft_[row] == id;
      accepted += held ? 1 : 0;
      if (std::find(stop_ids_.begin(), stop_ids_.end(), id) != stop_ids_.end()) return end(FinishReason::kStop, accepted);
      ids_.push_back(id);
      // Control tokens have a name, not a text.
      if (!tokenizer_.is_special(id)) emit(matcher_.feed(tokenizer_.decode(std::span(&id, 1))));
      if (matcher_.stopped()) return end(FinishReason::kStop, accepted);
      if (sampled_ == max_new_tokens_) return end(FinishReason::kLength, accepted);
      if (!held) break;
    }
    count_step(accepted);
    NextTokens next;
    next.tokens = {ids_.back()};
    // The slots of drafts that did not hold are given back.
    slots_ += accepted;
    next.keep_slots = slots_;
    draft_ = propose();
    next.tokens.insert(next.tokens.end(), draft_.begin(), draft_.end());
    if (!draft_.empty()) next.logits = Wants::Logits::kAll;
    next.top_logits = wish_top();
    ++slots_;
    return next;
  }

  // After the job has ended.
  GenerateResult take(Clock::time_point start, std::size_t prompt_tokens, std::size_t cached_tokens) {
    GenerateResult result;
    result.text = std::move(text_);
    result.ids = std::move(ids_);
    result.finish_reason = finish_reason_;
    result.usage = {prompt_tokens + cached_tokens, sampled_, cached_tokens};
    result.drafts = counts_;
    GenerateTimings& t = result.timings;
    t.total_ms = milliseconds(last_token_ - start);
    t.ttft_ms = milliseconds(first_token_ - start);
    t.queue_ms = queued_seconds_ * 1e3;
    t.load_ms = load_seconds_ * 1e3;
    t.prefill_ms = std::max(0.0, t.ttft_ms - t.queue_ms - t.load_ms);
    t.decode_ms = t.total_ms - t.ttft_ms;
    if (sampled_ > 1) t.tpot_ms = t.decode_ms / static_cast<double>(sampled_ - 1);
    return result;
  }

 private:
  TokenId sample(const JobOutput& output, std::size_t row) {
    const std::size_t top = std::min(top_, output.top.size()), vocab = std::min(vocab_, output.logits.size());
    if (top_ > 0) return sampler_.sample(std::span(output.top).subspan(row * top, top));
    return sampler_.sample(std::span(output.logits).subspan(row * vocab, vocab));
  }

  std::nullopt_t end(FinishReason reason, std::size_t accepted) {
    count_step(accepted);
    finish_reason_ = reason;
    emit(matcher_.finish());
    last_token_ = Clock::now();
    return std::nullopt;
  }

  void count_step(std::size_t accepted) {
    const Clock::time_point now = Clock::now();
    ++counts_.steps;
    counts_.proposed += draft_.size();
    counts_.accepted += accepted;
    if (counts_.steps > 1) length_.record(draft_.size(), accepted, std::chrono::duration<double>(now - step_begin_).count());
    step_begin_ = now;
  }

  std::vector<TokenId> propose() {
    if (!lookup_) return {};
    const std::size_t room = std::min(capacity_ - slots_ - 1, max_new_tokens_ - sampled_ - 1);
    const std::size_t wanted = std::min(length_.next(), room);
    return lookup_->propose(ids_, wanted);
  }

  void emit(const std::string& text) {
    if (text.empty()) return;
    text_ += text;
    if (on_text_) on_text_(text);
  }

  const Tokenizer& tokenizer_;
  Sampler sampler_;
  StopMatcher matcher_;
  std::vector<TokenId> stop_ids_;
  std::size_t max_new_tokens_;
  std::size_t vocab_;
  std::size_t top_ = 0;  // of the running step
  std::function<void(std::string_view)> on_text_;
  std::string text_;
  std::vector<TokenId> ids_;
  std::size_t sampled_ = 0;
  std::optional<PromptLookup> lookup_;
  DraftLength length_;
  std::vector<TokenId> draft_;  // of the running step
  std::size_t slots_ = 0;       // in use, without the drafts of the running step
  std::size_t capacity_ = 0;
  DraftCounts counts_;
  Clock::time_point step_begin_{};
  FinishReason finish_reason_ = FinishReason::kLength;
  double queued_seconds_ = 0;
  double load_seconds_ = 0;
  Clock::time_point first_token_{};
  Clock::time_point last_token_{};
};

void check(const Engine& engine, const GenerateRequest& request, std::size_t cached) {
  if (request.prompt.empty()) throw Error(ErrorCode::kInvalidArgument, "the prompt has no tokens");
  const std::size_t context = engine.config().context;
  const std::size_t prompt = request.prompt.size() + cached;
  if (prompt > context || request.max_new_tokens > context - prompt) {
    throw Error(ErrorCode::kInvalidArgument, "the prompt has " + std::to_string(prompt) + " tokens and " +
                                                 std::to_string(request.max_new_tokens) +
                                                 " new ones were asked for, but the model's context is " + std::to_string(context));
  }
}

}  // namespace

std::string_view finish_reason_name(FinishReason reason) noexcept { return reason == FinishReason::kStop ? "stop" : "length"; }

GenerateResult generate(Engine& engine, const Tokenizer& tokenizer, GenerateRequest request) {
  const Clock::time_point start = Clock::now();
  std::size_t cached = 0;
  for (const Segment& segment : request.context) cached += segment.length;
  check(engine, request, cached);
  const std::size_t prompt_tokens = request.prompt.size();
  if (request.max_new_tokens == 0) {
    validate(request.sampling);
    GenerateResult result;
    result.usage = {prompt_tokens + cached, 0, cached};
    return result;
  }

  auto decoder = std::make_shared<Decoder>(tokenizer, request);

  Job job;
  job.context = std::move(request.context);
  job.tokens = std::move(request.prompt);
  job.runs = std::move(request.runs);
  job.wants.logits = Wants::Logits::kLast;
  job.wants.top_logits = decoder->wish_top();
  job.wants.kv = std::move(request.save);
  job.priority = request.priority;
  job.deadline = request.deadline;
  job.cancel = request.cancel;
  job.max_slots = prompt_tokens + cached + request.max_new_tokens;
  // Room to check drafts in, as far as the model's context goes.
  const std::size_t prompt_slots = job.max_slots - request.max_new_tokens;
  if (!request.draft_source.empty()) job.max_slots = std::min(job.max_slots + DraftLength::kMax, engine.config().context);
  decoder->set_shape(engine.config().vocab, prompt_slots, job.max_slots);
  job.next = [decoder](const JobOutput& step) { return decoder->step(step); };

  JobOutput last = engine.run(std::move(job));
  GenerateResult result = decoder->take(start, prompt_tokens, cached);
  result.saved = std::move(last.kv);
  return result;
}

}  // namespace gritstone

// A tokenizer whose ids can be read and an engine that says what it is told to: for tests of what stands around the model.
#pragma once

#include <atomic>
#include <cmath>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "model/engine.h"
#include "model/tokenizer.h"

namespace gritstone {

// Ids 0..255 are bytes; then the special tokens below.
class ByteTokenizer : public Tokenizer {
 public:
  static constexpr TokenId kBos = 256, kEos = 257, kImStart = 258, kImEnd = 259, kPad = 260;
  static constexpr std::size_t kVocab = 264;

  // has_bos false: as OLMoE, whose prompts start with the end-of-text id.
  explicit ByteTokenizer(bool has_bos = true, bool adds_bos = false, bool has_chatml = true)
      : has_bos_(has_bos), adds_bos_(adds_bos), has_chatml_(has_chatml) {}

  std::vector<TokenId> encode(std::string_view text, SpecialTokens special = SpecialTokens::kPlain) const override {
    std::vector<TokenId> ids;
    for (std::size_t i = 0; i < text.size();) {
      TokenId id = -1;
      if (special == SpecialTokens::kParse) {
        for (const auto& [name, token] : names()) {
          if (text.substr(i).starts_with(name)) {
            id = token;
            i += name.size();
            break;
          }
        }
      }
      if (id < 0) id = static_cast<unsigned char>(text[i++]);
      ids.push_back(id);
    }
    return ids;
  }
  // Special tokens as their names, so that a test can read a prompt.
  std::string decode(std::span<const TokenId> ids) const override {
    std::string text;
    for (const TokenId id : ids) {
      if (id >= 0 && id < 256) text += static_cast<char>(id);
      for (const auto& [name, token] : names()) {
        if (token == id) text += name;
      }
    }
    return text;
  }
  std::size_t vocab_size() const noexcept override { return kVocab; }
  bool is_special(TokenId id) const noexcept override { return id >= 256; }
  TokenId bos() const noexcept override { return has_bos_ ? kBos : -1; }
  TokenId eos() const noexcept override { return kEos; }
  TokenId pad() const noexcept override { return kPad; }
  const std::vector<TokenId>& stop_ids() const noexcept override { return stop_ids_; }
  bool adds_bos() const noexcept override { return adds_bos_; }
  TokenId find(std::string_view token) const override {
    if (!has_chatml_ && token.starts_with("<|im_")) return -1;
    for (const auto& [name, id] : names()) {
      if (name == token) return id;
    }
    return token.size() == 1 ? static_cast<unsigned char>(token[0]) : -1;
  }
  const std::string& fingerprint() const noexcept override { return fingerprint_; }

 private:
  static const std::vector<std::pair<std::string, TokenId>>& names() {
    static const std::vector<std::pair<std::string, TokenId>> kNames{
        {"<s>", kBos}, {"</s>", kEos}, {"<|im_start|>", kImStart}, {"<|im_end|>", kImEnd}, {"<pad>", kPad}};
    return kNames;
  }

  bool has_bos_, adds_bos_, has_chatml_;
  std::vector<TokenId> stop_ids_{kEos, kImEnd};
  std::string fingerprint_ = "bytes";
};

// Writes `script` token by token, whatever the prompt (or whatever answer_to says), then eos. A hidden state is the byte as a point on a
// circle in each of hidden/2 frequencies, so poolings can be computed by hand. Every job runs on a thread of its own.
class ScriptedEngine : public Engine {
 public:
  explicit ScriptedEngine(std::string script = "") : script_(std::move(script)) {
    config_.name = "scripted";
    config_.layers = 2;
    config_.hidden = 32;
    config_.vocab = ByteTokenizer::kVocab;
    config_.context = 8192;
    config_.eos = ByteTokenizer::kEos;
  }

  ModelConfig& mutable_config() { return config_; }
  void set_script(std::string script) { script_ = std::move(script); }
  // Milliseconds every step takes.
  void set_step_ms(int ms) { step_ms_ = ms; }
  std::size_t jobs() const { return jobs_; }
  Job last_job() const {
    const std::lock_guard lock(mutex_);
    return last_;
  }

  const ModelConfig& config() const noexcept override { return config_; }
  const EngineOptions& options() const noexcept override { return options_; }
  const std::string& numerics_id() const noexcept override { return id_; }
  std::size_t threads() const noexcept override { return 1; }

  std::future<JobOutput> submit(Job job) override {
    ++jobs_;
    {
      const std::lock_guard lock(mutex_);
      last_ = job;
      last_.next = nullptr;
    }
    return std::async(std::launch::async, [this, job = std::move(job)] { return run_job(job); });
  }

  std::vector<float> state_of(TokenId id) const {
    std::vector<float> state(config_.hidden);
    for (std::size_t i = 0; i < config_.hidden; i += 2) {
      const double angle = 0.1 * static_cast<double>(id + 1) * static_cast<double>(i + 1);
      state[i] = static_cast<float>(std::cos(angle));
      state[i + 1] = static_cast<float>(std::sin(angle));
    }
    return state;
  }

 private:
  JobOutput run_job(const Job& job) const {
    JobOutput output;
    output.tokens = job.tokens.size();
    if (job.wants.pool) {
      const Wants::Pool& pool = *job.wants.pool;
      output.pooled.assign(config_.hidden, 0.0f);
      for (std::size_t i = 0; i < pool.count; ++i) {
        const std::vector<float> state = state_of(job.tokens.at(pool.first + i));
        const float total = static_cast<float>(pool.rising ? pool.count * (pool.count + 1) / 2 : pool.count);
        const float weight = static_cast<float>(pool.rising ? i + 1 : 1) / total;
        for (std::size_t c = 0; c < state.size(); ++c) output.pooled[c] += weight * state[c];
      }
    } else if (job.wants.normed_after) {
      for (const TokenId id : job.tokens) {
        const std::vector<float> state = state_of(id);
        output.normed.insert(output.normed.end(), state.begin(), state.end());
      }
    }
    if (job.wants.router) {
      for (std::size_t layer = 0; layer < config_.layers; ++layer) {
        std::vector<float> rows;
        for (const TokenId id : job.tokens) {
          for (std::size_t e = 0; e < config_.experts; ++e) rows.push_back(static_cast<float>(id) + static_cast<float>(layer * 100 + e));
        }
        output.router.push_back(std::move(rows));
      }
    }
    for (const Wants::Kv& wanted : job.wants.kv) {
      auto [span, bytes] = make_kv_span(wanted.type, KvShape{1, 1, 1}, wanted.count);
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::uint8_t>(job.tokens[wanted.first + i % wanted.count]);
      }
      output.kv.push_back(std::make_shared<const KvSpan>(std::move(span)));
    }
    std::size_t prompt = job.tokens.size();
    for (const Segment& segment : job.context) prompt += segment.length;
    // Row r of a round says the script's character behind the tokens that are certain and r drafts.
    for (std::size_t said = 0, rows = 1, top = job.wants.top_logits;;) {
      if (step_ms_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(step_ms_));
      if (job.cancel.stop_requested()) throw Error(ErrorCode::kCancelled, "the job was cancelled");
      if (!job.next) return output;
      output.logits.assign(rows * config_.vocab, 0.0f);
      for (std::size_t row = 0; row < rows; ++row) {
        const TokenId id = said + row < script_.size() ? static_cast<unsigned char>(script_[said + row]) : ByteTokenizer::kEos;
        output.logits[row * config_.vocab + static_cast<std::size_t>(id)] = 10.0f;
      }
      if (top > 0) {
        output.top.resize(rows * top);
        for (std::size_t row = 0; row < rows; ++row) {
          top_logits(std::span(output.logits).subspan(row * config_.vocab, config_.vocab), std::span(output.top).subspan(row * top, top));
        }
        output.logits.clear();
      }
      const std::optional<NextTokens> next = job.next(output);
      if (!next) return output;
      said = next->keep_slots ? *next->keep_slots - prompt + 1 : said + 1;
      rows = next->logits == Wants::Logits::kAll ? next->tokens.size() : 1;
      top = next->top_logits;
    }
  }

  std::string script_;
  ModelConfig config_;
  EngineOptions options_;
  std::string id_ = "scripted";
  int step_ms_ = 0;
  std::atomic<std::size_t> jobs_{0};
  mutable std::mutex mutex_;
  Job last_;
};

}  // namespace gritstone

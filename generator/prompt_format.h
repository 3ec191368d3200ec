// Question, passages and chat turns as the token ids a model was trained on.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/model_config.h"
#include "model/token.h"
#include "model/tokenizer.h"

namespace gritstone {

enum class PromptStyle {
  kPlain,   // base models: no roles; "Question: ...\nAnswer:"
  kTulu,    // OLMoE-Instruct: <bos><|user|>\n{u}\n<|assistant|>\n{a}<eos>\n
  kGrit,    // GRIT-tuned: as Tulu, without a system role
  kChatMl,  // SmolLM2, Qwen: <|im_start|>user\n{u}<|im_end|>\n<|im_start|>assistant\n
  kInst,    // Mistral-Instruct: <bos>[INST] {u} [/INST] {a}<eos>
};

std::string_view prompt_style_name(PromptStyle style) noexcept;  // "plain", "tulu", "grit", "chatml", "inst"

// What the model file says: how it was tuned, the markers in its chat template, and for a file without template its name; kPlain if nothing
// is recognised or the vocabulary lacks the control tokens of the style.
PromptStyle choose_prompt_style(const ModelConfig& config, const Tokenizer& tokenizer);

struct ChatTurn {
  enum class Role { kSystem, kUser, kAssistant };
  Role role = Role::kUser;
  std::string content;
};

enum class PromptLayout { kDocsFirst, kQueryFirst };

// A source text in the prompt. Both are document text: nothing in them can become a control token or a role.
struct PromptPassage {
  std::string label;  // shown after the number: title or path; may be empty
  std::string text;   // tokenised on its own, so that its tokens are the same in every prompt (and in its embedding)
};

// What a stretch of prompt tokens is. Passages are the reusable spans; heads are constant for a model and instruction; a question is the
// asker's own words; glue is what stands around them.
enum class PieceKind { kHead, kLabel, kPassage, kQuestion, kGlue };

struct PromptPiece {
  PieceKind kind = PieceKind::kHead;
  std::size_t passage = 0;  // kLabel, kPassage: index into the passages given
  std::size_t first = 0;    // tokens [first, first + count) of Prompt::tokens
  std::size_t count = 0;
};

// The pieces cover the tokens in order without gaps.
struct Prompt {
  std::vector<TokenId> tokens;
  std::vector<PromptPiece> pieces;
};

// Immutable and thread-safe; borrows the tokenizer, which must outlive it.
class PromptFormat {
 public:
  PromptFormat(const Tokenizer& tokenizer, PromptStyle style);

  PromptStyle style() const noexcept { return style_; }

  // A prompt for the next assistant turn. The last turn is the user's; a system turn may only be the first.
  // Throws Error(kInvalidArgument) if there is no turn or the order is wrong.
  Prompt chat(std::span<const ChatTurn> turns) const;

  // docs-first:  head | [1] label passage | ... | question
  // query-first: head + question | [1] label passage | ... | glue
  // Every piece is tokenised on its own under every reuse policy. `instruction` empty: default_instruction().
  //   question_prefix  query-first only: the tokens that stand in front of the question where it is embedded. The prompt then begins as
  //                    that pass does, so that its states can be continued, and the user's turn opens behind it. Empty: the question is
  //                    part of the turn
  Prompt answer(std::string_view question, std::span<const PromptPassage> passages, PromptLayout layout, std::string_view instruction = {},
                std::span<const TokenId> question_prefix = {}) const;
  // Tokens of answer() without passages, and of passage `number` (1-based) with its label, for the context budget.
  std::size_t answer_base_tokens(std::string_view question, PromptLayout layout, std::string_view instruction = {},
                                 std::span<const TokenId> question_prefix = {}) const;
  std::size_t passage_tokens(const PromptPassage& passage, std::size_t number) const;

  // Texts that end an answer in this style beside the tokenizer's stop_ids: roles that are ordinary text to the model.
  const std::vector<std::string>& stop_strings() const noexcept { return stop_strings_; }

  static std::string_view default_instruction() noexcept;
  // The sentence default_instruction() asks for when the passages do not hold the answer.
  static std::string_view refusal() noexcept;

 private:
  class Builder;
  void open_user(Builder& builder, std::string_view system) const;
  void close_user(Builder& builder) const;

  const Tokenizer& tokenizer_;
  PromptStyle style_;
  TokenId bos_ = -1;
  std::vector<std::string> stop_strings_;
};

}  // namespace gritstone

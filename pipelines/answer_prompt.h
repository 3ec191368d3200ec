// What was found, put before the model: which passages fit, which part of each, and what is left out.
#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "generator/prompt_format.h"
#include "index/document.h"
#include "model/tokenizer.h"
#include "pipelines/answer.h"
#include "retriever/search.h"

namespace gritstone {

struct AnswerPromptRequest {
  std::string_view question;
  PromptLayout layout = PromptLayout::kDocsFirst;
  std::string_view instruction;
  std::span<const TokenId> question_prefix;
  std::string language;            // of the collection
  std::size_t context = 0;         // of the model
  std::size_t max_new_tokens = 0;  // kept free
  std::size_t passage_tokens = 0;  // as AnswerOptions
  std::set<ChunkId> required;      // taken first when not all fit
  std::string only_one;            // not empty: one passage, and why
};

struct AnswerPrompt {
  Prompt prompt;                  // empty if no passage fits
  std::vector<std::size_t> kept;  // indexes into the hits, in prompt order
  std::vector<ByteSpan> windows;  // of each kept one: the bytes of its chunk's text that stand there
  std::vector<DroppedPassage> dropped;
};

// selected: indexes into `hits`, in prompt order. Throws Error(kInvalidArgument) if the question alone exceeds the context.
AnswerPrompt build_answer_prompt(const PromptFormat& format, const Tokenizer& tokenizer, std::span<const SearchHit> hits,
                                 std::span<const std::size_t> selected, const AnswerPromptRequest& request);

DroppedPassage dropped_passage(const ChunkRecord& chunk, std::size_t tokens, std::string reason);

}  // namespace gritstone

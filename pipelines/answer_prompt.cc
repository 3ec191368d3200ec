#include "pipelines/answer_prompt.h"

#include <utility>

#include "generator/context_budget.h"
#include "generator/passage_window.h"
#include "retriever/passage_text.h"

namespace gritstone {
namespace {

std::string label_of(const ChunkRecord& chunk) {
  // The heading path, where there is one, stands in the passage itself.
  if (!chunk.heading_path.empty()) return {};
  return chunk.title.empty() ? chunk.path : chunk.title;
}

}  // namespace

DroppedPassage dropped_passage(const ChunkRecord& chunk, std::size_t tokens, std::string reason) {
  return {chunk.path, chunk.heading_path, chunk.span.start, chunk.span.end, tokens, std::move(reason)};
}

AnswerPrompt build_answer_prompt(const PromptFormat& format, const Tokenizer& tokenizer, std::span<const SearchHit> hits,
                                 std::span<const std::size_t> selected, const AnswerPromptRequest& request) {
  AnswerPrompt out;
  std::vector<PromptPassage> passages;
  std::vector<ByteSpan> windows;
  std::vector<BudgetItem> items;
  for (const std::size_t hit : selected) {
    const ChunkRecord& chunk = hits[hit].chunk;
    windows.push_back(request.passage_tokens == 0
                          ? ByteSpan{0, chunk.text.size()}
                          : passage_window(chunk.text, request.question, request.passage_tokens, tokenizer, request.language));
    const ByteSpan window = windows.back();
    passages.push_back(
        {label_of(chunk), passage_text(chunk.heading_path, std::string_view(chunk.text).substr(window.start, window.end - window.start))});
    // Numbered with the largest number it can get, so that the estimate is never too small.
    items.push_back({format.passage_tokens(passages.back(), selected.size()), request.required.contains(chunk.id)});
  }
  const std::size_t base = format.answer_base_tokens(request.question, request.layout, request.instruction, request.question_prefix);
  BudgetResult budget = fit_context(request.context, base, request.max_new_tokens, items);
  const auto drop = [&](std::size_t i, const std::string& reason) {
    out.dropped.push_back(dropped_passage(hits[selected[i]].chunk, items[i].tokens, reason));
  };
  for (const std::size_t i : budget.dropped) drop(i, "does not fit into the context (" + std::to_string(request.context) + " tokens)");
  if (!request.only_one.empty() && budget.kept.size() > 1) {
    for (const std::size_t i : std::span(budget.kept).subspan(1)) drop(i, request.only_one);
    budget.kept.resize(1);
  }
  std::vector<PromptPassage> kept;
  for (const std::size_t i : budget.kept) {
    kept.push_back(std::move(passages[i]));
    out.kept.push_back(selected[i]);
    out.windows.push_back(windows[i]);
  }
  if (kept.empty()) return out;
  out.prompt = format.answer(request.question, kept, request.layout, request.instruction, request.question_prefix);
  return out;
}

}  // namespace gritstone

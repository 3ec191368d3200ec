#include "pipelines/prompt_links.h"

namespace gritstone {

PromptLinks split_prompt(const Prompt& prompt) {
  PromptLinks out;
  std::size_t linked = 0;  // what the last link belongs to
  for (const PromptPiece& piece : prompt.pieces) {
    const bool of_passage = piece.kind == PieceKind::kLabel || piece.kind == PieceKind::kPassage;
    if (piece.kind == PieceKind::kPassage) out.passages.push_back(piece);
    if (!of_passage && !out.passages.empty()) break;
    const std::size_t passage = of_passage ? piece.passage + 1 : 0;  // 0: in front of them
    if (out.links.empty() || passage != linked) {
      const bool asked = !out.links.empty() && out.links.back().asked;
      out.links.push_back({piece.first, 0, of_passage ? std::optional(piece.passage) : std::nullopt, asked});
      linked = passage;
    }
    out.links.back().count += piece.count;
    out.links.back().asked = out.links.back().asked || piece.kind == PieceKind::kQuestion;
  }
  return out;
}

}  // namespace gritstone

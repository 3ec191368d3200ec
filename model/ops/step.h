// One forward step: rows (tokens) of several sequences that run together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/kv_pages.h"
#include "model/token.h"

namespace gritstone {

// Rows of one sequence, [row_begin, row_begin + rows) of the step. All of them compute layers [0, depth), and with `probe` the projections
// (K and V) of layer `depth`.
struct StepSequence {
  KvSequence* kv = nullptr;
  std::size_t row_begin = 0;
  std::size_t rows = 0;
  std::size_t depth = 0;
  bool probe = false;
};

// Columns of the step, one entry a row.
struct StepRows {
  std::vector<TokenId> tokens;
  std::vector<std::size_t> slots;       // where the row's K and V go
  std::vector<std::size_t> visible;     // the row sees slots [0, visible) of its sequence
  std::vector<StepSequence> sequences;  // by descending depth (probes first), so that the rows of every layer are a prefix
  std::vector<std::size_t> logit_rows;  // whose logits are wanted, ascending; they compute all layers
  std::vector<std::size_t> logit_tops;  // for each of them: how many of its largest logits; 0: the whole row

  std::size_t size() const noexcept { return tokens.size(); }
  // Rows that compute layer `layer`.
  std::size_t active(std::size_t layer) const noexcept {
    std::size_t rows = 0;
    for (const StepSequence& sequence : sequences) {
      if (sequence.depth > layer) rows = sequence.row_begin + sequence.rows;
    }
    return rows;
  }
  // Rows that compute the projections of layer `layer`: the active ones and the probes.
  std::size_t projected(std::size_t layer) const noexcept {
    std::size_t rows = 0;
    for (const StepSequence& sequence : sequences) {
      if (sequence.depth > layer || (sequence.probe && sequence.depth == layer)) rows = sequence.row_begin + sequence.rows;
    }
    return rows;
  }

  // The rows whose logits are wanted as a step of their own. The others are done once the last layer has stored their K and V.
  StepRows wanted() const;
};

}  // namespace gritstone

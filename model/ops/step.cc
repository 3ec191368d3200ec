#include "model/ops/step.h"

namespace gritstone {

StepRows StepRows::wanted() const {
  StepRows out;
  auto next = logit_rows.begin();
  for (const StepSequence& sequence : sequences) {
    StepSequence kept = sequence;
    kept.row_begin = out.size();
    kept.probe = false;
    for (; next != logit_rows.end() && *next < sequence.row_begin + sequence.rows; ++next) {
      out.logit_rows.push_back(out.size());
      out.tokens.push_back(tokens[*next]);
      out.slots.push_back(slots[*next]);
      out.visible.push_back(visible[*next]);
    }
    kept.rows = out.size() - kept.row_begin;
    if (kept.rows > 0) out.sequences.push_back(kept);
  }
  out.logit_tops = logit_tops;
  return out;
}

}  // namespace gritstone

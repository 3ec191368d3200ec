// What `eval retrieval --tune` prints.
#pragma once

#include <string>

#include "pipelines/tune_fusion.h"

namespace gritstone {

// saved: whether the best weight was stored.
void print_tune_json(const TuneResult& result, bool saved);
// wants_save: --save was given; the weight was stored if result.recommended.
void print_tune(const TuneResult& result, const std::string& collection, bool wants_save);

}  // namespace gritstone

// The sampling options that `generate` and `ask` share.
#pragma once

#include "generator/sampler.h"

namespace CLI {
class App;
}

namespace gritstone {

// Adds --temp, --top-k, --top-p, --min-p, --repeat-penalty and --seed; `options` must outlive the parse.
void add_sampling_options(CLI::App& command, SamplerOptions& options);

}  // namespace gritstone

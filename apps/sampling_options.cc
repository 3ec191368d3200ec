#include "apps/sampling_options.h"

#include <CLI/CLI.hpp>

namespace gritstone {

void add_sampling_options(CLI::App& command, SamplerOptions& options) {
  const char* group = "Sampling";
  command.add_option("--temp", options.temperature, "Temperature; 0: always the most likely token")->group(group)->capture_default_str();
  command.add_option("--top-k", options.top_k, "Only the k most likely tokens; 0: off")->group(group)->capture_default_str();
  command.add_option("--top-p", options.top_p, "Smallest set with this probability; 1: off")->group(group)->capture_default_str();
  command.add_option("--min-p", options.min_p, "At least this part of the best one's probability; 0: off")
      ->group(group)
      ->capture_default_str();
  command.add_option("--repeat-penalty", options.repetition_penalty, "Above 1: repeats become less likely")
      ->group(group)
      ->capture_default_str();
  command.add_option("--seed", options.seed, "Same seed, same text")->group(group)->capture_default_str();
}

}  // namespace gritstone

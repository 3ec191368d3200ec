// Full-size models with random weights, for measuring speed and memory without downloading anything. They show speed, never quality.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>

#include "model/dtype.h"
#include "model/model_config.h"

namespace gritstone {

// How often each expert is chosen.
enum class SynthRouting {
  kUniform,  // all alike
  kZipf,     // a few experts take most tokens, as on text of one domain; see synth.cc for the load it reaches
};

struct SynthOptions {
  std::string like = "olmoe-1b-7b";  // see synth_model_names()
  DType type = DType::kQ4_K;         // of the matrices; norms and routers are f32; rows that a K type does not divide take a 32-block type
  std::uint64_t seed = 1;            // the same options give the same bytes
  SynthRouting routing = SynthRouting::kUniform;
  std::filesystem::path output;
  // A GGUF file or Hugging Face directory whose vocabulary is copied. Empty: a synthetic byte-level BPE vocabulary over letter sequences.
  std::filesystem::path tokenizer;
};

// Bytes written so far and in all.
using ByteProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

// "olmoe-1b-7b, smollm2-135m, tiny", for help texts and errors.
std::string synth_model_names();

// Hyperparameters of a shape by name. olmoe-1b-7b: 16 layers, hidden 2048, 64 experts of 1024, 8 used; smollm2-135m: 30 layers, hidden 576,
// dense; tiny: OLMoE with 2 layers, hidden 256, 8 experts of 256, 2 used.
// Throws Error(kInvalidArgument) for other names.
ModelConfig synth_config(const std::string& like);

// Writes a GGUF that this program and llama.cpp load. Streamed: under 100 MB of memory whatever the size. Activations stay finite through
// all layers: matrices have standard deviation 1 / sqrt(columns), the matrices that write to the residual stream are scaled down.
// Throws Error: kInvalidArgument; kModelRejected (tokenizer source); kStorage; kCancelled (nothing is left behind).
void synthesize_model(const SynthOptions& options, const ByteProgress& progress = {}, std::stop_token stop = {});

}  // namespace gritstone

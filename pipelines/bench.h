// Tokens per second of this model on this machine, each beside the physical limit measured in the same run.
#pragma once

#include <cstddef>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "model/engine.h"
#include "model/model_file.h"

namespace gritstone {

struct BenchOptions {
  std::vector<std::size_t> prefill;       // tokens of a prompt, each a row "pp512"
  std::vector<std::size_t> decode;        // tokens written, each a row "tg64" (at every depth: "tg64@1024")
  std::vector<std::size_t> embed;         // tokens of a text, each a row "embed256"
  std::vector<std::size_t> depths = {0};  // tokens in the KV cache before a decode row begins
  std::size_t repeat = 3;
  std::stop_token cancel;
  std::function<void(std::size_t done, std::size_t total)> on_progress;
};

struct BenchRow {
  std::string test;
  double tokens_per_s = 0;  // median of the repeats
  double spread = 0;        // (largest - smallest) / median
  double gmac_per_s = 0;    // multiply-accumulates with weights, and in attention
  double gb_per_s = 0;      // weight bytes that must come from memory, each once per step
  std::string limit;        // "memory" or "compute": whichever allows less
  double fraction = 0;      // of that limit
};

struct BenchMachine {
  std::string isa;
  std::size_t threads = 0;
  double memory_gb_per_s = 0;  // reading a buffer larger than the caches, all threads
  double f32_gmac_per_s = 0;   // all threads, operands in registers
  double int8_gmac_per_s = 0;
};

struct BenchResult {
  std::vector<BenchRow> rows;
  BenchMachine machine;
};

// Rows take turns (repeat by repeat), so that a machine that slows down slows all of them. Token ids are pseudo-random: figures show speed.
// Throws Error: kInvalidArgument (nothing to measure, longer than the context), kCancelled; what the engine throws.
BenchResult run_bench(Engine& engine, const ModelFile& file, const BenchOptions& options);

}  // namespace gritstone

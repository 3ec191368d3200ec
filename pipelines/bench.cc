#include "pipelines/bench.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/thread_pool.h"
#include "model/kernels/kernel_table.h"
#include "pipelines/machine_limits.h"
#include "pipelines/random_tokens.h"

namespace gritstone {
namespace {

enum class Kind { kPrefill, kDecode, kEmbed };

struct Test {
  Kind kind;
  std::size_t tokens;
  std::size_t depth;
  std::vector<double> rates;

  std::string name() const {
    const char* prefix = kind == Kind::kPrefill ? "pp" : kind == Kind::kDecode ? "tg" : "embed";
    return prefix + std::to_string(tokens) + (depth > 0 ? "@" + std::to_string(depth) : "");
  }
};

// Weights one pass multiplies with: per token (its experts only), and all of them.
struct WeightCost {
  double macs_per_token = 0;
  double bytes_per_token = 0;  // decode: the routed experts of one token
  double bytes_all = 0;        // a long prefill touches every expert
  double output_macs = 0;      // the output matrix, for rows whose logits are wanted
  double output_bytes = 0;
};

WeightCost weight_cost(const ModelFile& file) {
  const ModelConfig& config = file.config();
  WeightCost cost;
  for (const TensorRef& tensor : file.tensors()) {
    if (tensor.shape.size() < 2) continue;
    double elements = 1;
    for (const std::size_t extent : tensor.shape) elements *= static_cast<double>(extent);
    const auto bytes = static_cast<double>(tensor.bytes);
    const bool embedding = tensor.name == "token_embd.weight";
    if (tensor.name == "output.weight" || (embedding && config.tied_embeddings)) {
      cost.output_macs = elements;
      cost.output_bytes = bytes;
      continue;
    }
    if (embedding) continue;  // a row is copied
    const double share = tensor.shape.size() == 3 ? static_cast<double>(config.experts_used) / static_cast<double>(config.experts) : 1;
    cost.macs_per_token += elements * share;
    cost.bytes_per_token += bytes * share;
    cost.bytes_all += bytes;
  }
  return cost;
}

double elapsed(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double run_pass(Engine& engine, const Test& test, const BenchOptions& options, std::uint64_t seed) {
  const ModelConfig& config = engine.config();
  Job job;
  job.tokens = random_tokens(test.tokens, config.vocab, seed);
  job.cancel = options.cancel;
  if (test.kind == Kind::kEmbed) {
    job.attention = Attention::kBidirectional;
    job.wants.normed_after = config.layers;
    job.wants.pool = Wants::Pool{0, test.tokens, false};
  } else {
    job.wants.logits = Wants::Logits::kLast;
  }
  const auto start = std::chrono::steady_clock::now();
  engine.run(std::move(job));
  return static_cast<double>(test.tokens) / elapsed(start);
}

// The clock runs from the first sampled step to the last, so that filling the cache to `depth` is not part of it.
double run_decode(Engine& engine, const Test& test, const BenchOptions& options, std::uint64_t seed) {
  const ModelConfig& config = engine.config();
  const std::size_t prompt = std::max<std::size_t>(test.depth, 1);
  const std::vector<TokenId> written = random_tokens(test.tokens, config.vocab, seed + 1);
  Job job;
  job.tokens = random_tokens(prompt, config.vocab, seed);
  job.wants.logits = Wants::Logits::kLast;
  job.wants.top_logits = 1;  // as a greedy answer does it
  job.max_slots = prompt + test.tokens;
  job.cancel = options.cancel;
  std::chrono::steady_clock::time_point start;
  std::size_t step = 0;
  job.next = [&](const JobOutput&) -> std::optional<NextTokens> {
    if (step == 0) start = std::chrono::steady_clock::now();
    if (step == written.size()) return std::nullopt;
    NextTokens next;
    next.tokens = {written[step++]};
    next.top_logits = 1;
    return next;
  };
  engine.run(std::move(job));
  return static_cast<double>(test.tokens) / elapsed(start);
}

BenchRow finish(const Test& test, const WeightCost& cost, const ModelConfig& config, const BenchMachine& machine, bool integer) {
  std::vector<double> rates = test.rates;
  std::sort(rates.begin(), rates.end());
  const std::size_t n = rates.size();
  BenchRow row;
  row.test = test.name();
  row.tokens_per_s = n % 2 == 1 ? rates[n / 2] : (rates[n / 2 - 1] + rates[n / 2]) / 2;
  row.spread = (rates.back() - rates.front()) / row.tokens_per_s;

  const auto tokens = static_cast<double>(test.tokens);
  const double output_rows = test.kind == Kind::kDecode ? tokens : test.kind == Kind::kPrefill ? 1 : 0;
  // Scores and values over the slots a token sees: on average half of the text for causal attention.
  const double seen = test.kind == Kind::kDecode    ? static_cast<double>(test.depth) + tokens / 2
                      : test.kind == Kind::kPrefill ? tokens / 2
                                                    : tokens;
  const double attention = 2 * static_cast<double>(config.layers * config.q_width()) * seen;
  const double macs_per_token = cost.macs_per_token + attention + cost.output_macs * output_rows / tokens;
  const double bytes_per_token = test.kind == Kind::kDecode
                                     ? cost.bytes_per_token + cost.output_bytes
                                     : std::min(cost.bytes_per_token, cost.bytes_all / tokens) + cost.output_bytes * output_rows / tokens;
  row.gmac_per_s = macs_per_token * row.tokens_per_s / 1e9;
  row.gb_per_s = bytes_per_token * row.tokens_per_s / 1e9;
  const double of_memory = row.gb_per_s / machine.memory_gb_per_s;
  const double of_compute = row.gmac_per_s / (integer ? machine.int8_gmac_per_s : machine.f32_gmac_per_s);
  row.limit = of_memory > of_compute ? "memory" : "compute";
  row.fraction = std::max(of_memory, of_compute);
  return row;
}

std::vector<Test> plan(const BenchOptions& options, std::size_t context) {
  std::vector<Test> tests;
  for (const std::size_t n : options.prefill) tests.push_back({Kind::kPrefill, n, 0, {}});
  for (const std::size_t n : options.embed) tests.push_back({Kind::kEmbed, n, 0, {}});
  for (const std::size_t n : options.decode) {
    for (const std::size_t depth : options.depths) tests.push_back({Kind::kDecode, n, depth, {}});
  }
  if (tests.empty() || options.repeat == 0) throw Error(ErrorCode::kInvalidArgument, "nothing to measure");
  for (const Test& test : tests) {
    if (test.tokens == 0 || test.tokens + test.depth + 1 > context) {
      throw Error(ErrorCode::kInvalidArgument, test.name() + " does not fit the model's context of " + std::to_string(context) + " tokens");
    }
  }
  return tests;
}

}  // namespace

BenchResult run_bench(Engine& engine, const ModelFile& file, const BenchOptions& options) {
  std::vector<Test> tests = plan(options, engine.config().context);
  BenchResult result;
  result.machine.isa = select_kernels(engine.options().simd).isa;
  result.machine.threads = engine.threads();
  // The limits are measured before and after the tests, best counts: a busy moment must not make the machine look slow.
  const auto measure_limits = [&] {
    ThreadPool pool(engine.threads());
    BenchMachine& m = result.machine;
    m.memory_gb_per_s = std::max(m.memory_gb_per_s, measure_read_bandwidth(pool, 3));
    m.f32_gmac_per_s = std::max(m.f32_gmac_per_s, measure_compute_peak(pool, m.isa, false, 3));
    m.int8_gmac_per_s = std::max(m.int8_gmac_per_s, measure_compute_peak(pool, m.isa, true, 3));
  };
  measure_limits();
  std::size_t done = 0;
  for (std::size_t r = 0; r <= options.repeat; ++r) {  // round 0 warms up: pages of the weights come in
    for (Test& test : tests) {
      const double rate = test.kind == Kind::kDecode ? run_decode(engine, test, options, r) : run_pass(engine, test, options, r);
      if (r > 0) test.rates.push_back(rate);
      if (options.on_progress) options.on_progress(++done, tests.size() * (options.repeat + 1));
    }
  }
  measure_limits();
  const WeightCost cost = weight_cost(file);
  const bool integer = engine.options().compute == ComputeMode::kFast;
  for (const Test& test : tests) result.rows.push_back(finish(test, cost, engine.config(), result.machine, integer));
  return result;
}

}  // namespace gritstone

#include "model/synth.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "model/files/gguf_metadata.h"
#include "model/files/gguf_writer.h"
#include "model/files/source_vocab.h"
#include "model/files/tensor_table.h"
#include "model/quantize_file.h"
#include "model/synth_blocks.h"
#include "model/synth_vocab.h"

namespace gritstone {
namespace {

constexpr std::size_t kBatchBytes = std::size_t{8} << 20;

// Skewed routing: every embedding has the same value in its first kSharedColumns columns, a direction that all tokens keep through the
// layers (the residual stream is mostly the embedding) and that holds a fifth of their energy. The router row of the expert of rank r
// (1 .. experts, shuffled for each layer) leans against it so that its logit is lowered by kZipf * ln(r) standard deviations of its random
// part. With 64 experts and 8 used the first expert then gets 4.2 times the mean load, the first eight together 33 % of all slots (12.5 %
// if uniform) and the last one 0.43 times the mean: between what OLMoE shows over a mixed corpus and on text of a single domain.
constexpr std::size_t kSharedColumns = 32;
constexpr float kSharedEnergy = 0.25f;  // beside 1 of the random part
constexpr float kZipf = 0.4f;

const std::pair<const char*, ModelConfig (*)()> kModels[] = {
    {"olmoe-1b-7b",
     [] {
       ModelConfig c;
       c.layers = 16;
       c.hidden = 2048;
       c.heads = c.kv_heads = 16;
       c.ffn = 1024;
       c.experts = 64;
       c.experts_used = 8;
       c.vocab = 50304;
       c.context = 4096;
       return c;
     }},
    {"smollm2-135m",
     [] {
       ModelConfig c;
       c.architecture = Architecture::kLlama;
       c.layers = 30;
       c.hidden = 576;
       c.heads = 9;
       c.kv_heads = 3;
       c.ffn = 1536;
       c.vocab = 49152;
       c.context = 8192;
       c.rope_theta = 100000.0f;
       c.tied_embeddings = true;
       return c;
     }},
    {"tiny",
     [] {
       ModelConfig c;
       c.layers = 2;
       c.hidden = 256;
       c.heads = c.kv_heads = 4;
       c.ffn = 256;
       c.experts = 8;
       c.experts_used = 2;
       c.vocab = 4096;
       c.context = 4096;
       return c;
     }},
};

// A short template in the manner of OLMoE-Instruct, so that chat programs know the roles.
constexpr const char* kOlmoeTemplate =
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}<|user|>\n{{ message['content'] }}\n"
    "{% elif message['role'] == 'assistant' %}<|assistant|>\n{{ message['content'] }}{{ eos_token }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}";

class Synthesizer {
 public:
  Synthesizer(const SynthOptions& options, const ModelConfig& config, GgufWriter& writer, const ByteProgress& progress,
              std::stop_token stop)
      : options_(options), config_(config), writer_(writer), progress_(progress), stop_(std::move(stop)), pool_(0) {}

  DType type_of(const ExpectedTensor& tensor) const {
    if (tensor.role == TensorRole::kNorm || tensor.role == TensorRole::kRouter) return DType::kF32;
    return fitting_type(options_.type, tensor.shape.back());
  }

  void write(const ExpectedTensor& tensor) {
    const DType type = type_of(tensor);
    const std::size_t columns = tensor.shape.back();
    const std::size_t rows = std::accumulate(tensor.shape.begin(), tensor.shape.end(), std::size_t{1}, std::multiplies<>()) / columns;
    const RandomRows random(type, columns, deviation(tensor));
    const std::size_t bytes = random.row_bytes();
    const std::size_t batch = std::clamp<std::size_t>(kBatchBytes / bytes, 1, rows);
    const std::vector<std::size_t> ranks = tensor.role == TensorRole::kRouter ? expert_ranks(tensor.name) : std::vector<std::size_t>();
    std::vector<std::uint8_t> buffer(batch * bytes);
    for (std::size_t first = 0; first < rows; first += batch) {
      if (stop_.stop_requested()) throw Error(ErrorCode::kCancelled, "synthesis stopped");
      const std::size_t count = std::min(batch, rows - first);
      pool_.parallel_for(count, [&](std::size_t i, std::size_t) {
        std::uint8_t* row = buffer.data() + i * bytes;
        if (tensor.role == TensorRole::kNorm) {
          fill_ones(row, columns);
          return;
        }
        random.fill(random_key(options_.seed, tensor.name, first + i), row);
        if (options_.routing != SynthRouting::kZipf || config_.experts == 0) return;
        if (tensor.role == TensorRole::kEmbedding) add_shared_direction(type, columns, row);
        if (tensor.role == TensorRole::kRouter) lean_router(ranks[first + i], row);
      });
      writer_.append({buffer.data(), count * bytes});
      done_ += count * bytes;
      if (progress_) progress_(done_, writer_.data_bytes());
    }
  }

 private:
  // Products keep the scale of their input; what is added to the residual stream is small beside the embedding, as GPT-2 initialises it.
  float deviation(const ExpectedTensor& tensor) const {
    if (tensor.role == TensorRole::kEmbedding && !config_.tied_embeddings) return 1.0f;
    const float keep = 1.0f / std::sqrt(static_cast<float>(tensor.shape.back()));
    const bool to_residual = tensor.name.ends_with("attn_output.weight") || tensor.name.ends_with("ffn_down.weight") ||
                             tensor.name.ends_with("ffn_down_exps.weight");
    return to_residual ? keep / std::sqrt(2.0f * static_cast<float>(config_.layers)) : keep;
  }

  static void fill_ones(std::uint8_t* row, std::size_t columns) {
    constexpr float kOne = 1.0f;
    for (std::size_t i = 0; i < columns; ++i) std::memcpy(row + 4 * i, &kOne, 4);
  }

  // A random order of the experts, per layer. Ranks count from 1.
  std::vector<std::size_t> expert_ranks(const std::string& name) const {
    std::vector<std::size_t> ranks(config_.experts);
    std::iota(ranks.begin(), ranks.end(), std::size_t{1});
    std::uint64_t state = random_key(options_.seed, name, ~std::uint64_t{0});
    for (std::size_t i = ranks.size(); i > 1; --i) std::swap(ranks[i - 1], ranks[next_random(state) % i]);
    return ranks;
  }

  // Value of the shared columns: 4 for a hidden size of 2048.
  float shared_value() const { return std::sqrt(kSharedEnergy * static_cast<float>(config_.hidden) / static_cast<float>(kSharedColumns)); }

  // Re-codes the first block or blocks of an embedding row with the shared columns.
  void add_shared_direction(DType type, std::size_t columns, std::uint8_t* row) const {
    const std::size_t head = std::max(kSharedColumns, traits(type).block);
    if (columns < head) return;
    std::vector<float> values(head);
    dequantize_row(type, row, values.data(), head);
    std::fill_n(values.begin(), kSharedColumns, shared_value());
    quantize_row(type, values.data(), row, head);
  }

  void lean_router(std::size_t rank, std::uint8_t* row) const {
    // Normalisation divides the shared and the random part of the state alike, so it cancels out. The random part of a logit: hidden - 32
    // products of an embedding of variance 1 and a weight of variance 1 / hidden.
    const float random_part = std::sqrt(1.0f - static_cast<float>(kSharedColumns) / static_cast<float>(config_.hidden));
    const float lean = -kZipf * std::log(static_cast<float>(rank)) * random_part / (static_cast<float>(kSharedColumns) * shared_value());
    for (std::size_t i = 0; i < kSharedColumns && i < config_.hidden; ++i) {
      std::memcpy(row + 4 * i, &lean, 4);  // in place of the random part, which would add a common offset of its own
    }
  }

  const SynthOptions& options_;
  const ModelConfig& config_;
  GgufWriter& writer_;
  const ByteProgress& progress_;
  std::stop_token stop_;
  ThreadPool pool_;
  std::uint64_t done_ = 0;
};

}  // namespace

std::string synth_model_names() {
  std::string names;
  for (const auto& [name, make] : kModels) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

ModelConfig synth_config(const std::string& like) {
  for (const auto& [name, make] : kModels) {
    if (like != name) continue;
    ModelConfig config = make();
    config.name = "synthetic-" + like;
    config.head_dim = config.hidden / config.heads;
    if (config.architecture == Architecture::kOlmoe) {
      config.qk_norm = true;
      config.chat_template = kOlmoeTemplate;
    } else {
      config.rope_style = RopeStyle::kInterleaved;
    }
    return config;
  }
  throw Error(ErrorCode::kInvalidArgument, "no synthetic model is like \"" + like + "\"; known are " + synth_model_names());
}

void synthesize_model(const SynthOptions& options, const ByteProgress& progress, std::stop_token stop) {
  ModelConfig config = synth_config(options.like);
  GgufVocab vocab;
  if (options.tokenizer.empty()) {
    vocab = synthetic_vocab(config.vocab);
  } else {
    auto source = read_source_vocab(options.tokenizer);
    if (!source) throw Error(ErrorCode::kModelRejected, options.tokenizer.string() + " has no tokenizer");
    vocab = std::move(*source);
    config.vocab = std::max(config.vocab, vocab.tokens.size());
  }
  GgufWriter writer(options.output);
  write_config(writer, config, options.type);
  write_vocab(writer, std::move(vocab), config.vocab);
  const std::vector<ExpectedTensor> tensors = expected_tensors(config);
  Synthesizer synthesizer(options, config, writer, progress, std::move(stop));
  for (const ExpectedTensor& tensor : tensors) writer.add_tensor(tensor.name, synthesizer.type_of(tensor), tensor.shape);
  writer.begin_data();
  for (const ExpectedTensor& tensor : tensors) synthesizer.write(tensor);
  writer.commit();
}

}  // namespace gritstone

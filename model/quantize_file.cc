#include "model/quantize_file.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/thread_pool.h"
#include "model/files/gguf_metadata.h"
#include "model/files/gguf_writer.h"
#include "model/files/source_vocab.h"
#include "model/files/tensor_table.h"

namespace gritstone {
namespace {

constexpr std::size_t kBatchBytes = std::size_t{32} << 20;  // of f32 rows at a time: a few hundred rows, enough for every thread

// One tensor of the output: where it comes from and how its rows are rearranged.
struct Plan {
  std::string name;
  const TensorRef* source;
  std::vector<std::size_t> shape;
  DType type;
  std::vector<std::size_t> row_map;  // source row of each output row; empty: the same
  bool vector_map = false;           // row_map maps elements (norm vectors), not rows
};

std::size_t elements(const std::vector<std::size_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>());
}

// GGUF's llama convention: rows of a head alternate between its two RoPE halves.
std::vector<std::size_t> interleaved_rows(std::size_t heads, std::size_t head_dim) {
  std::vector<std::size_t> map(heads * head_dim);
  for (std::size_t row = 0; row < map.size(); ++row) {
    const std::size_t in_head = row % head_dim;
    map[row] = row - in_head + in_head / 2 + in_head % 2 * (head_dim / 2);
  }
  return map;
}

// Every key-value head repeated for the query heads that share it: the same function without grouping, k_norm included (the mean square
// over repeated values is that of the values). llama.cpp's olmoe loader knows no grouping.
std::vector<std::size_t> repeated_heads(const ModelConfig& config) {
  std::vector<std::size_t> map(config.q_width());
  const std::size_t group = config.heads / config.kv_heads;
  for (std::size_t row = 0; row < map.size(); ++row) map[row] = row / config.head_dim / group * config.head_dim + row % config.head_dim;
  return map;
}

DType output_matrix_type(const QuantizeOptions& options) {
  if (options.output_type) return *options.output_type;
  // The output matrix decides between neighbouring tokens, so below 6 bits it gets more than the rest, as in llama.cpp's mixes.
  const DTypeTraits& wanted = traits(options.type);
  const DTypeTraits& least = traits(DType::kQ6_K);
  return wanted.bytes * least.block < least.bytes * wanted.block ? DType::kQ6_K : options.type;
}

DType tensor_type(const ExpectedTensor& tensor, const ModelConfig& config, const QuantizeOptions& options) {
  switch (tensor.role) {
    case TensorRole::kNorm:
    case TensorRole::kRouter:
      return DType::kF32;
    case TensorRole::kOutput:
      return fitting_type(output_matrix_type(options), tensor.shape.back());
    case TensorRole::kEmbedding:
      return fitting_type(config.tied_embeddings ? output_matrix_type(options) : options.type, tensor.shape.back());
    default:
      return fitting_type(options.type, tensor.shape.back());
  }
}

bool ends_with(const std::string& text, std::string_view suffix) { return text.ends_with(suffix); }

// The output's hyperparameters and tensors.
std::vector<Plan> make_plan(const ModelFile& source, const QuantizeOptions& options, ModelConfig& out) {
  const ModelConfig& in = source.config();
  out = in;
  const bool olmoe = in.architecture == Architecture::kOlmoe;
  if (olmoe) {
    out.kv_heads = in.heads;
    out.tied_embeddings = false;  // llama.cpp's olmoe loader requires output.weight
  }
  const bool permute = !olmoe && in.rope_style == RopeStyle::kNeox;
  std::vector<Plan> plan;
  for (const ExpectedTensor& expected : expected_tensors(out)) {
    Plan tensor{expected.name, source.find(expected.name), expected.shape, tensor_type(expected, out, options), {}, false};
    if (tensor.source == nullptr && expected.role == TensorRole::kOutput) tensor.source = source.find("token_embd.weight");
    GS_CHECK(tensor.source != nullptr);  // ModelFile::open checked it against the same table
    if (permute && ends_with(expected.name, "attn_q.weight")) tensor.row_map = interleaved_rows(in.heads, in.head_dim);
    if (permute && ends_with(expected.name, "attn_k.weight")) tensor.row_map = interleaved_rows(in.kv_heads, in.head_dim);
    if (olmoe && in.kv_heads != in.heads) {
      const bool norm = ends_with(expected.name, "attn_k_norm.weight");
      if (norm || ends_with(expected.name, "attn_k.weight") || ends_with(expected.name, "attn_v.weight"))
        tensor.row_map = repeated_heads(in);
      tensor.vector_map = norm;
    }
    plan.push_back(std::move(tensor));
  }
  return plan;
}

// Row `row` of the source tensor, counted over all experts.
const std::uint8_t* source_row(const TensorRef& tensor, std::size_t row) {
  const std::size_t bytes = row_bytes(tensor.type, tensor.shape.back());
  if (tensor.data != nullptr) return tensor.data + row * bytes;
  const std::size_t rows = tensor.shape[tensor.shape.size() - 2];
  return tensor.parts[row / rows] + row % rows * bytes;
}

class Converter {
 public:
  Converter(GgufWriter& writer, const QuantizeOptions& options, std::uint64_t total,
            const std::function<void(std::uint64_t, std::uint64_t)>& progress, std::stop_token stop)
      : writer_(writer), pool_(options.threads), total_(total), progress_(progress), stop_(std::move(stop)) {}

  void convert(const Plan& plan) {
    const std::size_t columns = plan.shape.back();
    const std::size_t rows = elements(plan.shape) / columns;
    const std::size_t out_bytes = row_bytes(plan.type, columns);
    const std::size_t batch = std::clamp<std::size_t>(kBatchBytes / (columns * sizeof(float)), 1, rows);
    std::vector<std::uint8_t> out(batch * out_bytes);
    for (std::size_t first = 0; first < rows; first += batch) {
      if (stop_.stop_requested()) throw Error(ErrorCode::kCancelled, "conversion stopped");
      const std::size_t count = std::min(batch, rows - first);
      pool_.parallel_for(count, [&](std::size_t i, std::size_t) { convert_row(plan, first + i, out.data() + i * out_bytes); });
      writer_.append({out.data(), count * out_bytes});
      done_ += count * columns;
      if (progress_) progress_(done_, total_);
    }
  }

 private:
  void convert_row(const Plan& plan, std::size_t row, std::uint8_t* out) const {
    const std::size_t columns = plan.shape.back();
    const bool map_rows = !plan.row_map.empty() && !plan.vector_map;
    const std::uint8_t* in = source_row(*plan.source, map_rows ? plan.row_map[row] : row);
    if (plan.source->type == plan.type && !plan.vector_map) {  // copying keeps the exact codes
      std::memcpy(out, in, row_bytes(plan.type, columns));
      return;
    }
    std::vector<float> values(plan.source->shape.back());
    dequantize_row(plan.source->type, in, values.data(), values.size());
    if (plan.vector_map) {
      std::vector<float> mapped(columns);
      for (std::size_t i = 0; i < columns; ++i) mapped[i] = values[plan.row_map[i]];
      values = std::move(mapped);
    }
    quantize_row(plan.type, values.data(), out, columns);
  }

  GgufWriter& writer_;
  ThreadPool pool_;
  std::uint64_t done_ = 0;
  std::uint64_t total_;
  const std::function<void(std::uint64_t, std::uint64_t)>& progress_;
  std::stop_token stop_;
};

// Keys of a GGUF source that the output restates or that no longer hold.
bool is_restated(const std::string& key, const ModelConfig& in, const ModelConfig& out) {
  if (key == "general.alignment" || key == "general.file_type" || key == "general.quantization_version") return true;
  if (key.starts_with("split.") || key.starts_with("quantize.imatrix.")) return true;
  return in.kv_heads != out.kv_heads && key == "olmoe.attention.head_count_kv";
}

void write_metadata(GgufWriter& writer, const ModelFile& source, const ModelConfig& out, DType type) {
  if (std::filesystem::is_directory(source.path())) {
    write_config(writer, out, type);
    if (auto vocab = read_source_vocab(source.path())) {
      write_vocab(writer, std::move(*vocab), out.vocab);
    } else {
      write_no_vocab(writer, out);
    }
    return;
  }
  const MappedFile mapping(source.path());
  const GgufFile file(mapping.bytes(), source.path().string());
  for (const std::string& key : file.keys()) {
    if (!is_restated(key, source.config(), out)) writer.add_raw(key, file, *file.find(key));
  }
  write_file_type(writer, type);
  if (source.config().kv_heads != out.kv_heads) {
    writer.add_u32("olmoe.attention.head_count_kv", static_cast<std::uint32_t>(out.kv_heads));
  }
}

}  // namespace

DType fitting_type(DType type, std::size_t columns) noexcept {
  if (columns % traits(type).block == 0) return type;
  DType small = DType::kF16;
  switch (type) {
    case DType::kQ2_K:
    case DType::kQ3_K:
      small = DType::kQ4_0;
      break;
    case DType::kQ4_K:
      small = DType::kQ5_0;
      break;
    case DType::kQ5_K:
      small = DType::kQ5_1;
      break;
    case DType::kQ6_K:
      small = DType::kQ8_0;
      break;
    default:
      break;
  }
  return columns % traits(small).block == 0 ? small : DType::kF16;
}

void quantize_model(const ModelFile& source, const std::filesystem::path& output, const QuantizeOptions& options,
                    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress, std::stop_token stop) {
  std::error_code ignored;
  if (std::filesystem::equivalent(source.path(), output, ignored)) {
    throw Error(ErrorCode::kInvalidArgument, output.string() + " is the model that would be read");
  }
  ModelConfig out;
  const std::vector<Plan> plan = make_plan(source, options, out);
  GgufWriter writer(output);
  write_metadata(writer, source, out, options.type);
  std::uint64_t total = 0;
  for (const Plan& tensor : plan) {
    writer.add_tensor(tensor.name, tensor.type, tensor.shape);
    total += elements(tensor.shape);
  }
  writer.begin_data();
  Converter converter(writer, options, total, progress, std::move(stop));
  for (const Plan& tensor : plan) {
    converter.convert(tensor);
    source.release(*tensor.source);
  }
  writer.commit();
}

}  // namespace gritstone

#include "model/cuda_weights.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace gritstone {
namespace {

using cuda::DeviceBuffer;
using cuda::DeviceMatrix;
using cuda::PinnedBuffer;
using cuda::WeightFormat;

const TensorRef& require(const ModelFile& file, const std::string& name) {
  const TensorRef* tensor = file.find(name);
  if (tensor == nullptr) throw Error(ErrorCode::kModelRejected, file.path().string() + ": tensor " + name + " is missing");
  return *tensor;
}

// A matrix before it is on the device: rows of one or several tensors.
struct MatrixPlan {
  std::vector<const TensorRef*> tensors;
  bool alternate = false;  // row r comes from tensor r % tensors; else they are stacked
  WeightFormat format = WeightFormat::kBF16;
  AffineFormat affine;
  std::size_t experts = 1, rows = 0, cols = 0;

  std::size_t row_bytes() const noexcept {
    if (format == WeightFormat::kF32) return cols * 4;
    return format == WeightFormat::kBF16 ? cols * 2 : affine_code_bytes(affine, cols);
  }
  bool quantised() const noexcept { return format == WeightFormat::kInt4 || format == WeightFormat::kInt8; }
  std::size_t pair_bytes() const noexcept { return quantised() ? cols / affine.group * sizeof(__half2) : 0; }  // of a row
  std::size_t bytes() const noexcept { return experts * rows * (row_bytes() + pair_bytes()); }

  // The file's row behind row `row` of expert `expert`.
  std::pair<DType, const std::uint8_t*> source(std::size_t expert, std::size_t row) const {
    const TensorRef* tensor = tensors.front();
    if (alternate) {
      tensor = tensors[row % tensors.size()];
      row /= tensors.size();
    } else {
      for (std::size_t i = 0; row >= tensor_rows(*tensor);) {
        row -= tensor_rows(*tensor);
        tensor = tensors[++i];
      }
    }
    const std::size_t bytes = gritstone::row_bytes(tensor->type, cols);
    const std::uint8_t* base = tensor->parts.empty() ? tensor->data + expert * tensor_rows(*tensor) * bytes : tensor->parts.at(expert);
    return {tensor->type, base + row * bytes};
  }
  static std::size_t tensor_rows(const TensorRef& tensor) noexcept { return tensor.shape[tensor.shape.size() - 2]; }
};

MatrixPlan plan_matrix(const ModelFile& file, const std::vector<std::string>& names, bool alternate = false, bool f32 = false) {
  MatrixPlan plan;
  plan.alternate = alternate;
  std::optional<AffineFormat> affine;
  bool floats = false;
  for (const std::string& name : names) {
    const TensorRef& tensor = require(file, name);
    plan.tensors.push_back(&tensor);
    plan.cols = tensor.shape.back();
    plan.experts = tensor.shape.size() == 3 ? tensor.shape[0] : 1;
    plan.rows += MatrixPlan::tensor_rows(tensor);
    const std::optional<AffineFormat> own = affine_format(tensor.type);
    floats = floats || !own;
    if (own) affine = affine ? common_format(*affine, *own) : *own;
  }
  if (f32) {
    plan.format = WeightFormat::kF32;
  } else if (!floats) {
    plan.affine = *affine;
    plan.format = affine->bits == 4 ? WeightFormat::kInt4 : WeightFormat::kInt8;
  }
  if (plan.cols % 8 != 0) {
    throw Error(ErrorCode::kModelRejected, file.path().string() + ": tensor " + names.front() + " has " + std::to_string(plan.cols) +
                                               " columns; the CUDA backend needs a multiple of 8");
  }
  return plan;
}

struct LayerPlan {
  MatrixPlan qkv, attention_output, router, gate_up, down;
};

LayerPlan plan_layer(const ModelFile& file, std::size_t index) {
  const std::string p = "blk." + std::to_string(index) + ".";
  LayerPlan plan;
  plan.qkv = plan_matrix(file, {p + "attn_q.weight", p + "attn_k.weight", p + "attn_v.weight"});
  plan.attention_output = plan_matrix(file, {p + "attn_output.weight"});
  const std::string suffix = file.config().experts > 0 ? "_exps.weight" : ".weight";
  if (file.config().experts > 0) plan.router = plan_matrix(file, {p + "ffn_gate_inp.weight"}, false, true);
  plan.gate_up = plan_matrix(file, {p + "ffn_gate" + suffix, p + "ffn_up" + suffix}, true);
  plan.down = plan_matrix(file, {p + "ffn_down" + suffix});
  return plan;
}

// One row in the device's form.
void pack_row(const MatrixPlan& plan, std::size_t expert, std::size_t row, std::vector<float>& values, std::uint8_t* codes,
              std::uint8_t* pairs) noexcept {
  const auto [type, source] = plan.source(expert, row);
  if (plan.quantised()) {
    thread_local std::vector<std::uint16_t> bits;
    bits.resize(plan.pair_bytes() / 2);
    affine_row(type, source, plan.cols, plan.affine, codes, bits.data());
    std::memcpy(pairs, bits.data(), plan.pair_bytes());
    return;
  }
  if (plan.format == WeightFormat::kBF16 && type == DType::kBF16) {
    std::memcpy(codes, source, plan.row_bytes());
    return;
  }
  values.resize(plan.cols);
  dequantize_row(type, source, values.data(), plan.cols);
  if (plan.format == WeightFormat::kF32) {
    std::memcpy(codes, values.data(), plan.row_bytes());
    return;
  }
  for (std::size_t i = 0; i < plan.cols; ++i) {
    const std::uint16_t bits = f32_to_bf16(values[i]);
    std::memcpy(codes + 2 * i, &bits, 2);
  }
}

// Packs on the CPU's threads into one of two page-locked buffers while the other is on its way to the device.
class Uploader {
 public:
  Uploader(ThreadPool& threads, std::vector<DeviceBuffer>& buffers) : threads_(threads), buffers_(buffers) {
    cuda::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creation of a stream");
    for (Staging& staging : staging_) {
      staging.memory = PinnedBuffer(kStagingBytes);
      cuda::check(cudaEventCreateWithFlags(&staging.copied, cudaEventDisableTiming), "creation of an event");
    }
  }
  ~Uploader() {
    cudaStreamSynchronize(stream_);
    for (const Staging& staging : staging_) cudaEventDestroy(staging.copied);
    cudaStreamDestroy(stream_);
  }
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  DeviceMatrix matrix(const MatrixPlan& plan) {
    DeviceMatrix matrix;
    matrix.format = plan.format;
    matrix.group = static_cast<std::uint32_t>(plan.affine.group);
    matrix.experts = static_cast<std::uint32_t>(plan.experts);
    matrix.rows = static_cast<std::uint32_t>(plan.rows);
    matrix.cols = static_cast<std::uint32_t>(plan.cols);
    const std::size_t rows = plan.experts * plan.rows, row = plan.row_bytes(), pair_row = plan.pair_bytes();
    std::uint8_t* codes = buffers_.emplace_back(rows * row).as<std::uint8_t>();
    std::uint8_t* pairs = pair_row > 0 ? buffers_.emplace_back(rows * pair_row).as<std::uint8_t>() : nullptr;
    const std::size_t chunk = std::max<std::size_t>(1, kStagingBytes / (row + pair_row));
    for (std::size_t first = 0; first < rows; first += chunk) {
      const std::size_t count = std::min(chunk, rows - first);
      Staging& staging = staging_[turn_++ % staging_.size()];
      cuda::check(cudaEventSynchronize(staging.copied), "upload of weights");
      std::uint8_t* to = staging.memory.as<std::uint8_t>();
      threads_.parallel_for(ceil_div(count, kRowsPerTask), [&](std::size_t task, std::size_t) {
        thread_local std::vector<float> values;
        for (std::size_t i = task * kRowsPerTask; i < std::min(count, (task + 1) * kRowsPerTask); ++i) {
          pack_row(plan, (first + i) / plan.rows, (first + i) % plan.rows, values, to + i * row, to + count * row + i * pair_row);
        }
      });
      cuda::check(cudaMemcpyAsync(codes + first * row, to, count * row, cudaMemcpyHostToDevice, stream_), "upload of weights");
      if (pairs != nullptr) {
        cuda::check(cudaMemcpyAsync(pairs + first * pair_row, to + count * row, count * pair_row, cudaMemcpyHostToDevice, stream_),
                    "upload of weights");
      }
      cuda::check(cudaEventRecord(staging.copied, stream_), "upload of weights");
    }
    matrix.values = codes;
    matrix.pairs = reinterpret_cast<const __half2*>(pairs);
    return matrix;
  }

  void finish() { cuda::check(cudaStreamSynchronize(stream_), "upload of weights"); }

 private:
  static constexpr std::size_t kStagingBytes = std::size_t{32} << 20;
  static constexpr std::size_t kRowsPerTask = 8;
  static constexpr auto ceil_div = cuda::ceil_div;
  struct Staging {
    PinnedBuffer memory;
    cudaEvent_t copied = nullptr;
  };

  ThreadPool& threads_;
  std::vector<DeviceBuffer>& buffers_;
  cudaStream_t stream_ = nullptr;
  std::array<Staging, 2> staging_;
  std::size_t turn_ = 0;
};

}  // namespace

std::size_t CudaWeights::device_bytes(const ModelFile& file) {
  std::size_t bytes = plan_matrix(file, {"token_embd.weight"}).bytes();
  if (file.find("output.weight") != nullptr) bytes += plan_matrix(file, {"output.weight"}).bytes();
  for (std::size_t i = 0; i < file.config().layers; ++i) {
    const LayerPlan plan = plan_layer(file, i);
    for (const MatrixPlan* matrix : {&plan.qkv, &plan.attention_output, &plan.router, &plan.gate_up, &plan.down}) bytes += matrix->bytes();
  }
  return bytes;
}

CudaWeights::CudaWeights(const ModelFile& file, ThreadPool& threads) : file_(file) {
  Uploader uploader(threads, buffers_);
  const auto release = [&](const MatrixPlan& plan) {
    for (const TensorRef* tensor : plan.tensors) file.release(*tensor);
  };
  const auto upload = [&](const MatrixPlan& plan) {
    const DeviceMatrix matrix = uploader.matrix(plan);
    release(plan);
    return matrix;
  };
  const ModelConfig& config = file.config();
  for (std::size_t i = 0; i < config.layers; ++i) {
    const std::string prefix = "blk." + std::to_string(i) + ".";
    const LayerPlan plan = plan_layer(file, i);
    CudaLayer layer;
    layer.attention_norm = vector(prefix + "attn_norm.weight");
    layer.ffn_norm = vector(prefix + "ffn_norm.weight");
    if (config.qk_norm) {
      layer.q_norm = vector(prefix + "attn_q_norm.weight");
      layer.k_norm = vector(prefix + "attn_k_norm.weight");
    }
    layer.qkv = upload(plan.qkv);
    layer.attention_output = upload(plan.attention_output);
    if (config.experts > 0) layer.router = upload(plan.router);
    layer.gate_up = upload(plan.gate_up);
    layer.down = upload(plan.down);
    layers_.push_back(layer);
  }
  output_norm_ = vector("output_norm.weight");
  embedding_ = upload(plan_matrix(file, {"token_embd.weight"}));
  output_ = file.find("output.weight") != nullptr ? upload(plan_matrix(file, {"output.weight"})) : embedding_;
  uploader.finish();
}

const float* CudaWeights::vector(const std::string& name) {
  const TensorRef& tensor = require(file_, name);
  std::vector<float> values(tensor.shape.at(0));
  dequantize_row(tensor.type, tensor.data, values.data(), values.size());
  const DeviceBuffer& buffer = buffers_.emplace_back(values.size() * sizeof(float));
  cuda::check(cudaMemcpy(buffer.data(), values.data(), buffer.bytes(), cudaMemcpyHostToDevice), "upload of weights");
  return buffer.as<float>();
}

}  // namespace gritstone

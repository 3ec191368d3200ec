#include "model/weights.h"

#include <string>

#include "base/error.h"

namespace gritstone {

Weights::Weights(const ModelFile& file, ComputeMode compute, ThreadPool& pool) : file_(file), compute_(compute), pool_(pool) {
  const ModelConfig& config = file.config();
  embedding_ = &require("token_embd.weight");
  for (std::size_t i = 0; i < config.layers; ++i) {
    const std::string prefix = "blk." + std::to_string(i) + ".";
    LayerWeights layer;
    layer.attention_norm = vector(prefix + "attn_norm.weight");
    layer.ffn_norm = vector(prefix + "ffn_norm.weight");
    if (config.qk_norm) {
      layer.q_norm = vector(prefix + "attn_q_norm.weight");
      layer.k_norm = vector(prefix + "attn_k_norm.weight");
    }
    layer.q = matrix(prefix + "attn_q.weight");
    layer.k = matrix(prefix + "attn_k.weight");
    layer.v = matrix(prefix + "attn_v.weight");
    layer.attention_output = matrix(prefix + "attn_output.weight");
    if (config.experts > 0) {
      layer.router = matrix(prefix + "ffn_gate_inp.weight");
      layer.gate = experts(prefix + "ffn_gate_exps.weight");
      layer.up = experts(prefix + "ffn_up_exps.weight");
      layer.down = experts(prefix + "ffn_down_exps.weight");
    } else {
      layer.gate = {matrix(prefix + "ffn_gate.weight")};
      layer.up = {matrix(prefix + "ffn_up.weight")};
      layer.down = {matrix(prefix + "ffn_down.weight")};
    }
    layers_.push_back(std::move(layer));
  }
  output_norm_ = vector("output_norm.weight");
  output_ = matrix(file.find("output.weight") != nullptr ? "output.weight" : "token_embd.weight");
}

const TensorRef& Weights::require(const std::string& name) const {
  const TensorRef* tensor = file_.find(name);
  if (tensor == nullptr) throw Error(ErrorCode::kModelRejected, file_.path().string() + ": tensor " + name + " is missing");
  return *tensor;
}

std::vector<float> Weights::vector(const std::string& name) const {
  const TensorRef& tensor = require(name);
  std::vector<float> values(tensor.shape.at(0));
  dequantize_row(tensor.type, tensor.data, values.data(), values.size());
  return values;
}

Matrix Weights::matrix(const std::string& name) {
  const TensorRef& tensor = require(name);
  return load(tensor, 1, tensor.shape.at(0), tensor.shape.at(1)).front();
}

std::vector<Matrix> Weights::experts(const std::string& name) {
  const TensorRef& tensor = require(name);
  return load(tensor, tensor.shape.at(0), tensor.shape.at(1), tensor.shape.at(2));
}

std::vector<Matrix> Weights::load(const TensorRef& tensor, std::size_t count, std::size_t rows, std::size_t cols) {
  const std::size_t row = row_bytes(tensor.type, cols);
  const auto source = [&](std::size_t i) { return tensor.parts.empty() ? tensor.data + i * rows * row : tensor.parts.at(i); };
  std::vector<Matrix> matrices(count, Matrix{tensor.type, MatrixLayout::kRows, rows, cols, nullptr});
  if (compute_ == ComputeMode::kF32 || !has_panel_kernel(tensor.type, cols)) {
    for (std::size_t i = 0; i < count; ++i) matrices[i].data = source(i);
    return matrices;
  }
  const std::size_t panel = panel_bytes(tensor.type, cols);
  const std::size_t panels = matrices.front().panels();
  Buffer& buffer = buffers_.emplace_back(count * panels * panel);
  pool_.parallel_for(count * panels, [&](std::size_t index, std::size_t) {
    const std::size_t first = index % panels * kPanelRows;
    pack_panel(tensor.type, source(index / panels) + first * row, std::min(kPanelRows, rows - first), cols, buffer.data() + index * panel);
  });
  for (std::size_t i = 0; i < count; ++i) {
    matrices[i].layout = MatrixLayout::kPanels;
    matrices[i].data = buffer.data() + i * panels * panel;
  }
  // The file's copy is not read again (but for a tied embedding, whose few rows come back on demand).
  file_.release(tensor);
  return matrices;
}

void Weights::embed(TokenId token, float* out) const noexcept {
  const std::size_t cols = embedding_->shape[1];
  dequantize_row(embedding_->type, embedding_->data + static_cast<std::size_t>(token) * row_bytes(embedding_->type, cols), out, cols);
}

std::size_t Weights::packed_bytes() const noexcept {
  std::size_t total = 0;
  for (const Buffer& buffer : buffers_) total += buffer.size();
  return total;
}

}  // namespace gritstone

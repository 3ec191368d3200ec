// A step's rows, page tables and work lists on the device: one copy a step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"
#include "model/model_config.h"
#include "model/ops/step.h"

namespace gritstone {

// Not thread-safe. The views stay valid until the next fill.
class CudaStep {
 public:
  // `vec_attention`: rows of a sequence that has few go to attention_vec; else all go to tiles.
  // fixed_rows > 0: the layout on the device is that of `fixed_rows` rows and sequences whatever the step holds, so that a graph that was
  // captured with it can be replayed. Tiles are then not made: every row is attended by attention_vec.
  CudaStep(const ModelConfig& config, bool vec_attention, std::size_t fixed_rows);

  // Writes the step into page-locked memory. REQUIRES: the copies of the last step are done.
  void fill(const StepRows& step);
  // Queues the copy to the device.
  void upload(cuda::Stream stream) const;

  const cuda::StepView& view() const noexcept { return view_; }
  // Rows for attention_vec, and tiles with the keys they need; both in the order of the step's rows, so that those of the rows that
  // compute a layer are a prefix.
  std::size_t vec_rows(std::size_t step_rows) const noexcept;  // of the step's first `step_rows` rows
  std::size_t tiles(std::size_t step_rows) const noexcept;
  std::size_t key_blocks(std::size_t step_rows) const noexcept;
  const std::int32_t* vec_list() const noexcept { return at<std::int32_t>(vec_at_); }
  const cuda::AttentionTile* tile_list() const noexcept { return at<cuda::AttentionTile>(tiles_at_); }
  const cuda::KeyBlock* key_list() const noexcept { return at<cuda::KeyBlock>(keys_at_); }
  const std::int32_t* logit_rows() const noexcept { return at<std::int32_t>(logits_at_); }
  bool grouped() const noexcept { return grouped_; }

 private:
  template <typename T>
  T* at(std::size_t offset) const noexcept {
    return reinterpret_cast<T*>(device_.as<std::uint8_t>() + offset);
  }
  void make_work(const StepRows& step);
  template <typename T>
  std::size_t put(const std::vector<T>& values, std::size_t capacity);
  void reserve(std::size_t bytes);

  bool vec_attention_;
  std::size_t fixed_rows_;
  std::size_t table_stride_;
  cuda::PinnedBuffer host_;
  cuda::DeviceBuffer device_;
  std::size_t used_ = 0;
  cuda::StepView view_;
  std::size_t vec_at_ = 0, tiles_at_ = 0, keys_at_ = 0, logits_at_ = 0;
  bool grouped_ = false;

  std::vector<std::int32_t> vec_rows_;
  std::vector<cuda::AttentionTile> tiles_;
  std::vector<cuda::KeyBlock> key_blocks_;
  std::vector<std::size_t> keys_end_;  // [tiles] key blocks needed up to and with the tile
};

}  // namespace gritstone

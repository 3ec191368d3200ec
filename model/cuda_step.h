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
  // Up to so many rows of one sequence, reading its keys once per row is cheaper than filling a tile of 64.
  static constexpr std::size_t kVecAttentionRows = 4;

  // `vec_attention`: rows of a sequence that has few go to attention_vec; else all go to tiles.
  // fixed_rows > 0: the layout on the device is that of `fixed_rows` rows and sequences whatever the step holds, so that a graph that was
  // captured with it can be replayed. Tiles are then not made: every row is attended by attention_vec.
  CudaStep(const ModelConfig& config, bool vec_attention, std::size_t fixed_rows);

  // Writes the step into page-locked memory. stores_keys: qkv_norm_rope_store puts K of these rows where attention_tiles looks for it.
  // REQUIRES: the copies of the last step are done.
  void fill(const StepRows& step, bool stores_keys);
  // Room for any part of `other`'s rows, so that fill() does not have to ask for memory in the middle of a step.
  void reserve_for(const CudaStep& other) { reserve(2 * other.used_); }
  // Queues the copy to the device.
  void upload(cuda::Stream stream) const;

  const cuda::StepView& view() const noexcept { return view_; }
  // Rows for attention_vec, and tiles with the blocks of keys that rotate_keys must do for them; all in the order of the step's rows, so
  // that those of the rows that compute a layer are a prefix.
  std::size_t vec_rows(std::size_t step_rows) const noexcept;  // of the step's first `step_rows` rows
  std::size_t tiles(std::size_t step_rows) const noexcept;
  std::size_t rotated_blocks(std::size_t step_rows) const noexcept;
  std::size_t key_blocks() const noexcept { return key_count_; }  // that the keys of all tiles need
  const std::int32_t* vec_list() const noexcept { return at<std::int32_t>(vec_at_); }
  const cuda::AttentionTile* tile_list() const noexcept { return at<cuda::AttentionTile>(tiles_at_); }
  const cuda::KeyBlock* rotated_list() const noexcept { return at<cuda::KeyBlock>(rotated_at_); }
  bool stores_keys() const noexcept { return stores_keys_; }
  const std::int32_t* key_first() const noexcept { return at<std::int32_t>(key_first_at_); }  // QkvArguments::key_first
  const std::int32_t* logit_rows() const noexcept { return at<std::int32_t>(logits_at_); }
  bool grouped() const noexcept { return grouped_; }

 private:
  template <typename T>
  T* at(std::size_t offset) const noexcept {
    return reinterpret_cast<T*>(device_.as<std::uint8_t>() + offset);
  }
  void make_work(const StepRows& step);
  void make_keys(const StepRows& step, std::size_t index, std::size_t visible);
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
  std::size_t vec_at_ = 0, tiles_at_ = 0, rotated_at_ = 0, key_first_at_ = 0, logits_at_ = 0;
  bool grouped_ = false;
  bool stores_keys_ = false;

  std::vector<std::int32_t> vec_rows_;
  std::vector<cuda::AttentionTile> tiles_;
  std::vector<cuda::KeyBlock> rotated_;
  std::vector<std::size_t> rotated_end_;  // [tiles] of rotated_, those needed up to and with the tile
  std::vector<std::int32_t> key_first_;   // [sequences]
  std::size_t key_count_ = 0;
};

}  // namespace gritstone

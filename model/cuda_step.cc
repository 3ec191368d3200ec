#include "model/cuda_step.h"

#include <algorithm>
#include <cstring>

namespace gritstone {
namespace {

constexpr std::size_t kAlign = 256;

}  // namespace

CudaStep::CudaStep(const ModelConfig& config, bool vec_attention, std::size_t fixed_rows)
    : vec_attention_(vec_attention), fixed_rows_(fixed_rows), table_stride_(cuda::ceil_div(config.context, kKvBlock)) {}

void CudaStep::make_work(const StepRows& step) {
  vec_rows_.clear();
  tiles_.clear();
  rotated_.clear();
  rotated_end_.clear();
  key_first_.assign(step.sequences.size(), -1);
  key_count_ = 0;
  grouped_ = false;
  for (std::size_t index = 0; index < step.sequences.size(); ++index) {
    const StepSequence& sequence = step.sequences[index];
    grouped_ = grouped_ || sequence.kv->grouped;
    if (fixed_rows_ > 0 || (vec_attention_ && sequence.rows <= kVecAttentionRows)) {
      for (std::size_t i = 0; i < sequence.rows; ++i) vec_rows_.push_back(static_cast<std::int32_t>(sequence.row_begin + i));
      continue;
    }
    const std::size_t first_tile = tiles_.size(), first_key = key_count_;
    std::size_t furthest = 0;
    for (std::size_t i = 0; i < sequence.rows; i += cuda::kTileRows) {
      cuda::AttentionTile tile;
      tile.sequence = static_cast<std::int32_t>(index);
      tile.row = static_cast<std::int32_t>(sequence.row_begin + i);
      tile.rows = static_cast<std::int32_t>(std::min<std::size_t>(cuda::kTileRows, sequence.rows - i));
      tile.key_block = static_cast<std::int32_t>(first_key);
      for (std::size_t r = 0; r < static_cast<std::size_t>(tile.rows); ++r) {
        tile.visible = std::max(tile.visible, static_cast<std::int32_t>(step.visible[sequence.row_begin + i + r]));
      }
      furthest = std::max(furthest, static_cast<std::size_t>(tile.visible));
      tiles_.push_back(tile);
    }
    make_keys(step, index, furthest);
    rotated_end_.resize(tiles_.size(), rotated_.size());
    GS_CHECK(first_tile < tiles_.size());
  }
}

// Slots [0, visible) of a sequence with tiles.
void CudaStep::make_keys(const StepRows& step, std::size_t index, std::size_t visible) {
  static_assert(kKvBlock == 64);
  const StepSequence& sequence = step.sequences[index];
  std::vector<std::uint64_t> own(cuda::ceil_div(visible, kKvBlock), 0);
  for (std::size_t row = sequence.row_begin; stores_keys_ && row < sequence.row_begin + sequence.rows; ++row) {
    own[step.slots[row] / kKvBlock] |= std::uint64_t{1} << step.slots[row] % kKvBlock;
  }
  if (stores_keys_) key_first_[index] = static_cast<std::int32_t>(key_count_);
  for (std::size_t block = 0; block < own.size(); ++block) {
    if (own[block] == ~std::uint64_t{0}) continue;
    const std::uint64_t others = ~own[block];
    rotated_.push_back({static_cast<std::int32_t>(index),
                        static_cast<std::int32_t>(block),
                        static_cast<std::int32_t>(std::min(kKvBlock, visible - block * kKvBlock)),
                        static_cast<std::int32_t>(key_count_ + block),
                        {static_cast<std::uint32_t>(others), static_cast<std::uint32_t>(others >> 32)}});
  }
  key_count_ += own.size();
}

template <typename T>
std::size_t CudaStep::put(const std::vector<T>& values, std::size_t capacity) {
  const std::size_t at = used_, bytes = std::max(capacity, values.size()) * sizeof(T);
  used_ += cuda::ceil_div(std::max<std::size_t>(bytes, 1), kAlign) * kAlign;
  reserve(used_);
  if (!values.empty()) std::memcpy(host_.as<std::uint8_t>() + at, values.data(), values.size() * sizeof(T));
  return at;
}

void CudaStep::reserve(std::size_t bytes) {
  if (bytes <= device_.bytes()) return;
  // If memory runs out here, the next step asks only for what it needs itself.
  const std::size_t larger = std::max(bytes, 2 * device_.bytes());
  cuda::PinnedBuffer host(larger);
  if (host_.bytes() > 0) std::memcpy(host.as<std::uint8_t>(), host_.as<std::uint8_t>(), std::min(host_.bytes(), larger));
  device_ = cuda::DeviceBuffer();  // first, so that both never exist at once
  device_ = cuda::DeviceBuffer(larger);
  host_ = std::move(host);
}

void CudaStep::fill(const StepRows& step, bool stores_keys) {
  stores_keys_ = stores_keys;
  make_work(step);
  const std::size_t rows = step.size();
  const auto narrow = [](const std::vector<std::size_t>& from) { return std::vector<std::int32_t>(from.begin(), from.end()); };
  std::vector<std::int32_t> sequence(rows), position(rows), group(rows);
  std::vector<std::uint32_t> table(step.sequences.size() * table_stride_, 0);
  for (std::size_t index = 0; index < step.sequences.size(); ++index) {
    const StepSequence& s = step.sequences[index];
    std::copy(s.kv->pages.begin(), s.kv->pages.end(), table.begin() + static_cast<std::ptrdiff_t>(index * table_stride_));
    for (std::size_t row = s.row_begin; row < s.row_begin + s.rows; ++row) {
      sequence[row] = static_cast<std::int32_t>(index);
      position[row] = s.kv->positions[step.slots[row]];
      group[row] = s.kv->groups[step.slots[row]];
    }
  }
  used_ = 0;
  const std::size_t token_at = put(std::vector<std::int32_t>(step.tokens.begin(), step.tokens.end()), fixed_rows_);
  const std::size_t sequence_at = put(sequence, fixed_rows_), slot_at = put(narrow(step.slots), fixed_rows_);
  const std::size_t visible_at = put(narrow(step.visible), fixed_rows_);
  const std::size_t position_at = put(position, fixed_rows_), group_at = put(group, fixed_rows_);
  const std::size_t table_at = put(table, fixed_rows_ * table_stride_);
  vec_at_ = put(vec_rows_, fixed_rows_);
  tiles_at_ = put(tiles_, 0);
  rotated_at_ = put(rotated_, 0);
  key_first_at_ = put(key_first_, fixed_rows_);
  logits_at_ = put(narrow(step.logit_rows), fixed_rows_);

  view_.rows = static_cast<std::uint32_t>(rows);
  view_.token = at<std::int32_t>(token_at);
  view_.sequence = at<std::int32_t>(sequence_at);
  view_.slot = at<std::int32_t>(slot_at);
  view_.visible = at<std::int32_t>(visible_at);
  view_.position = at<std::int32_t>(position_at);
  view_.group = at<std::int32_t>(group_at);
  view_.page_table = at<std::uint32_t>(table_at);
  view_.table_stride = static_cast<std::uint32_t>(table_stride_);
}

void CudaStep::upload(cuda::Stream stream) const {
  cuda::check(cudaMemcpyAsync(device_.data(), host_.as<std::uint8_t>(), used_, cudaMemcpyHostToDevice, stream), "upload of a step");
}

std::size_t CudaStep::vec_rows(std::size_t step_rows) const noexcept {
  return static_cast<std::size_t>(std::lower_bound(vec_rows_.begin(), vec_rows_.end(), static_cast<std::int32_t>(step_rows)) -
                                  vec_rows_.begin());
}

std::size_t CudaStep::tiles(std::size_t step_rows) const noexcept {
  return static_cast<std::size_t>(std::count_if(
      tiles_.begin(), tiles_.end(), [&](const cuda::AttentionTile& tile) { return static_cast<std::size_t>(tile.row) < step_rows; }));
}

std::size_t CudaStep::rotated_blocks(std::size_t step_rows) const noexcept {
  const std::size_t count = tiles(step_rows);
  return count == 0 ? 0 : rotated_end_[count - 1];
}

}  // namespace gritstone

// The prologue of the vec ops: rows of x, normalised and in the form the weights' format wants, into shared memory. Every block does it
// anew, which is a few KB from the second-level cache; what counts is its latency, so weights are already on their way meanwhile.
#pragma once

#include "model/kernels/cuda/vec_formats.cuh"

namespace gritstone::cuda {

// Use: load_norm(), wait_for_previous(), begin(), __syncthreads(), finish(), __syncthreads(). source(r): staged row r of x, null for zeros.
// kRows: of x, or 0 if that is known at run time only. A warp takes four columns a lane of kBatch rows or places at once, whose loads go
// out together.
template <typename Format, int kRows>
class VecStage {
 public:
  __device__ VecStage(const VecShape& shape, unsigned char* shared) : s_(shape), shared_(shared) {}

  __device__ StagedX staged() const {
    return {reinterpret_cast<const uint4*>(shared_), reinterpret_cast<const float2*>(shared_ + s_.scales), rows(), s_.steps * kWarp};
  }

  // In the background: the norm's weights come from main memory.
  __device__ void load_norm(const float* weight) {
    if (weight == nullptr) return;
    for (std::uint32_t i = threadIdx.x; i < s_.cols / 4; i += blockDim.x) copy_async(shared_ + s_.norm + 16 * i, weight + 4 * i, true);
    copy_async_commit();
  }

  // Sums of squares, where there is a norm: of 128 columns by a warp, so that they do not depend on the number of warps.
  template <typename Source>
  __device__ void begin(bool norm, const Source& source) {
    if (!norm) return;
    for (std::uint32_t first = warp(); first < rows() * s_.spans; first += kBatch * warps()) {
      float4 v[kBatch];
      load_batch(first, source, v);
#pragma unroll
      for (std::uint32_t b = 0; b < kBatch; ++b) {
        const Part part = part_of(first + b * warps());
        const float sum = warp_sum(v[b].x * v[b].x + v[b].y * v[b].y + (v[b].z * v[b].z + v[b].w * v[b].w));
        if (!part.valid) continue;
        *keep(part) = v[b];
        if (lane() == 0) squares()[part.row * s_.spans + part.span] = sum;
      }
    }
    copy_async_wait<0>();
  }

  template <typename Source>
  __device__ void finish(bool norm, float eps, const Source& source) {
    const float only_scale = norm && kRows == 1 ? norm_scale(0, eps) : 0.0f;
    for (std::uint32_t first = warp(); first < rows() * s_.spans; first += kBatch * warps()) {
      float4 v[kBatch];
      if (norm) {
#pragma unroll
        for (std::uint32_t b = 0; b < kBatch; ++b) {
          const Part part = part_of(min(first + b * warps(), rows() * s_.spans - 1));
          const float scale = kRows == 1 ? only_scale : norm_scale(part.row, eps);
          // Past the last part: nothing is kept of it, and another warp may be writing it.
          const float4 x = first + b * warps() < rows() * s_.spans ? *keep(part) : make_float4(0, 0, 0, 0);
          float4 w = make_float4(0, 0, 0, 0);
          if (part.column < s_.cols) w = *reinterpret_cast<const float4*>(shared_ + s_.norm + part.column * sizeof(float));
          v[b] = make_float4(x.x * scale * w.x, x.y * scale * w.y, x.z * scale * w.z, x.w * scale * w.w);
        }
      } else {
        load_batch(first, source, v);
      }
#pragma unroll
      for (std::uint32_t b = 0; b < kBatch; ++b) {
        const Part part = part_of(first + b * warps());
        if (!part.valid) continue;
        if constexpr (Format::kScales == 0) {
          *keep(part) = v[b];
        } else {
          round(v[b], part);
        }
      }
    }
  }

 private:
  static constexpr std::uint32_t kBatch = kRows == 1 ? 2 : 4;

  __device__ static std::uint32_t lane() { return threadIdx.x % kWarp; }
  __device__ static std::uint32_t warp() { return threadIdx.x / kWarp; }
  __device__ static std::uint32_t warps() { return blockDim.x / kWarp; }
  __device__ std::uint32_t rows() const { return kRows > 0 ? kRows : s_.x_rows; }
  __device__ float* squares() { return reinterpret_cast<float*>(shared_ + s_.squares); }

  // 128 columns of a row, four of them this lane's.
  struct Part {
    std::uint32_t row, span, column;
    bool valid;
  };
  __device__ Part part_of(std::uint32_t i) const {
    const std::uint32_t span = i / rows();
    return {i - span * rows(), span, span * kVecSpan + 4 * lane(), span < s_.spans};
  }

  template <typename Source>
  __device__ void load_batch(std::uint32_t first, const Source& source, float4 (&v)[kBatch]) const {
    const float* from[kBatch];
#pragma unroll
    for (std::uint32_t b = 0; b < kBatch; ++b) {
      const Part part = part_of(first + b * warps());
      const float* row = part.valid && part.column < s_.cols ? source(part.row) : nullptr;
      from[b] = row == nullptr ? nullptr : row + part.column;
    }
#pragma unroll
    for (std::uint32_t b = 0; b < kBatch; ++b) {
      v[b] = make_float4(0, 0, 0, 0);
      if (from[b] != nullptr) v[b] = *reinterpret_cast<const float4*>(from[b]);
    }
  }

  __device__ float norm_scale(std::uint32_t row, float eps) {
    float sum = 0;
    for (std::uint32_t i = lane(); i < s_.spans; i += kWarp) sum += squares()[row * s_.spans + i];
    return 1.0f / sqrtf(warp_sum(sum) / static_cast<float>(s_.cols) + eps);
  }

  // Where the lane's columns lie: float formats in their final place, integer formats before they are rounded.
  __device__ float4* keep(const Part& part) {
    if constexpr (Format::kScales > 0) {
      return reinterpret_cast<float4*>(shared_ + s_.raw) + (part.row * s_.spans + part.span) * kWarp + lane();
    } else {
      constexpr std::uint32_t kFours = Format::kPlanes;
      return reinterpret_cast<float4*>(shared_) + staged().at(part.column / 4 % kFours, part.row, part.column / 4 / kFours);
    }
  }

  // Integer formats: a lane has four columns, eight lanes the 32 that share a scale. The scale's rule is base's (matmul_quantize.h): Inf
  // and NaN make it NaN, and what is below 2^-100 is zero.
  __device__ void round(float4 v, const Part& part) {
    const auto magnitude = [](float x) { return __float_as_uint(x) & 0x7FFFFFFFu; };
    std::uint32_t most = max(max(magnitude(v.x), magnitude(v.y)), max(magnitude(v.z), magnitude(v.w)));
#pragma unroll
    for (int distance = 1; distance < 8; distance *= 2) most = max(most, __shfl_xor_sync(kAllLanes, most, distance));
    const float top = __uint_as_float(most);
    const bool finite = most < 0x7F800000u, zero = top < 0x1p-100f;
    const float scale = !finite ? __uint_as_float(0x7FC00000u) : zero ? 0.0f : top / 127.0f;
    const float inverse = !finite || zero ? 0.0f : 127.0f / top;
    const int q[4] = {finite ? __float2int_rn(v.x * inverse) : 0, finite ? __float2int_rn(v.y * inverse) : 0,
                      finite ? __float2int_rn(v.z * inverse) : 0, finite ? __float2int_rn(v.w * inverse) : 0};
    int sum = q[0] + q[1] + (q[2] + q[3]);
#pragma unroll
    for (std::uint32_t distance = 1; distance < Format::kScaleCols / 4; distance *= 2) {
      sum += __shfl_xor_sync(kAllLanes, sum, static_cast<int>(distance));
    }
    std::uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) word |= (static_cast<std::uint32_t>(q[i]) & 0xFFu) << (8 * i);
    const StagedX x = staged();
    const std::uint32_t chunk = part.column / Format::kCols, in_chunk = part.column % Format::kCols;
    reinterpret_cast<std::uint32_t*>(shared_)[4 * x.at(in_chunk / 16, part.row, chunk) + in_chunk % 16 / 4] = word;
    if (part.column % Format::kScaleCols == 0) {
      reinterpret_cast<float2*>(shared_ + s_.scales)[x.at(in_chunk / Format::kScaleCols, part.row, chunk)] =
          make_float2(scale, scale * __int2float_rn(sum));
    }
  }

  const VecShape& s_;
  unsigned char* shared_;
};

}  // namespace gritstone::cuda

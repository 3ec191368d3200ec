// What kernels share: warp reductions, two-byte values, and the few instructions that have no C++ spelling. The emulation in
// tests/model/cuda defines the last part itself (GRITSTONE_EMULATE_CUDA), so kernels never write asm.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "model/kernels/cuda/ops.h"

namespace gritstone::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xFFFFFFFFu;

// Sum or maximum over the warp, in every lane; the order of additions is fixed.
__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}
__device__ inline int warp_sum(int x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}
__device__ inline float warp_max(float x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, offset));
  return x;
}

// The two bf16 of a 32-bit word as f32: low half, high half.
__device__ inline float bf16_low(std::uint32_t word) { return __uint_as_float(word << 16); }
__device__ inline float bf16_high(std::uint32_t word) { return __uint_as_float(word & 0xFFFF0000u); }
// Two f32 rounded to bf16 (nearest even) in one word.
__device__ inline std::uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  std::uint32_t word;
  memcpy(&word, &pair, sizeof(word));
  return word;
}

// For kernels queued with launch_overlapped: the next kernel may start now and prepare what depends on no kernel; and: wait until the
// kernel before this one is complete. Weights may be read before, nothing else.
__device__ inline void let_next_start() {
#if defined(GRITSTONE_EMULATE_CUDA) || __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}
__device__ inline void wait_for_previous() {
#if defined(GRITSTONE_EMULATE_CUDA) || __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}

// Two f32 rounded to f16 (nearest even) in one word, values beyond f16's range as the largest.
__device__ inline std::uint32_t pack_f16(float low, float high) {
  constexpr float kLargest = 65504.0f;
  const __half2 pair = __floats2half2_rn(fminf(fmaxf(low, -kLargest), kLargest), fminf(fmaxf(high, -kLargest), kLargest));
  std::uint32_t word;
  memcpy(&word, &pair, sizeof(word));
  return word;
}

__device__ inline std::uint32_t pack_half(float low, float high, HalfType type) {
  return type == HalfType::kF16 ? pack_f16(low, high) : pack_bf16(low, high);
}
__device__ inline float2 unpack_half(std::uint32_t word, HalfType type) {
  if (type == HalfType::kBF16) return make_float2(bf16_low(word), bf16_high(word));
  __half2 pair;
  memcpy(&pair, &word, sizeof(pair));
  return __half22float2(pair);
}

#ifndef GRITSTONE_EMULATE_CUDA

// The dynamic shared memory of a kernel, 16-byte aligned: unsigned char name[].
#define GS_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

// d += a b for tiles m16 n8 k16: bf16 products, f32 sums. Fragments as in the PTX manual's mma.m16n8k16: with g = lane / 4, t = lane % 4,
//   a[0] = A[g][2t, 2t+1], a[1] = A[g+8][2t, 2t+1], a[2] = A[g][2t+8, 2t+9], a[3] = A[g+8][2t+8, 2t+9]
//   b[0] = B[2t, 2t+1][g], b[1] = B[2t+8, 2t+9][g];  d[0], d[1] = D[g][2t, 2t+1], d[2], d[3] = D[g+8][2t, 2t+1]
__device__ inline void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The same with f16 instead of bf16.
__device__ inline void mma_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8x8 matrices of 16-bit elements from shared memory: lane i gives the address of row i % 8 of matrix i / 8 (16 bytes, aligned);
// r[m] of lane i gets elements [i / 4][2 (i % 4)], [.. + 1] of matrix m. The transposed form gets [2 (i % 4)][i / 4], [.. + 1][i / 4].
__device__ inline void ldmatrix(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}
__device__ inline void ldmatrix_transposed(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

// Copies 16 bytes to shared memory in the background; zeros where !valid (the address is then not read).
__device__ inline void copy_async(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}
__device__ inline void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most N committed groups of this thread are under way.
template <int N>
__device__ inline void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// __syncthreads() for the block's kThreads threads, whose warps may meet here from different places of the program.
template <int kThreads>
__device__ inline void sync_block() {
  asm volatile("bar.sync 1, %0;" ::"n"(kThreads) : "memory");
}

// 16 bytes that are read once: past the first-level cache.
__device__ inline uint4 load_once(const void* p) { return __ldcs(static_cast<const uint4*>(p)); }

#else
#include <cuda_warp_instructions.h>
#endif

// 16 bytes that this block reads once and the others too: past the first-level cache, from the second.
__device__ inline float4 load_common(const float* p) { return __ldcg(reinterpret_cast<const float4*>(p)); }

template <HalfType kType>
__device__ inline void mma(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  if constexpr (kType == HalfType::kF16) {
    mma_f16(d, a, b);
  } else {
    mma_bf16(d, a, b);
  }
}

}  // namespace gritstone::cuda

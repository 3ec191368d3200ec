// Products of a warpgroup (four warps), which Hopper's tensor cores take from shared memory by themselves: no fragments pass through
// registers, so that they run near their limit. Compiled for sm_90a only (GRITSTONE_WGMMA); the emulation defines the same functions.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "model/kernels/cuda/device.h"
#include "model/kernels/cuda/ops.h"

namespace gritstone::cuda {

// Whether the device and the build have these products.
inline bool has_warpgroups() {
#ifdef GRITSTONE_WGMMA
  return device_properties().major == 9 && device_properties().minor == 0;
#else
  return false;
#endif
}

#ifndef GRITSTONE_EMULATE_CUDA

// The pages of PTX's wgmma name the rules: registers of sums are not touched between the first and the last call, what ordinary stores and
// cp.async wrote to shared memory is read after wgmma_fence_shared() and a barrier, and results are there after wgmma_wait<0>().
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define GS_WGMMA_ASM(...) asm volatile(__VA_ARGS__)
#else
#define GS_WGMMA_ASM(...) __trap()
#endif

__device__ inline void wgmma_fence_shared() { GS_WGMMA_ASM("fence.proxy.async.shared::cta;" ::: "memory"); }
__device__ inline void wgmma_begin() { GS_WGMMA_ASM("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() { GS_WGMMA_ASM("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most N committed groups are under way.
template <int N>
__device__ inline void wgmma_wait() {
  GS_WGMMA_ASM("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

// A matrix of rows of 128 bytes in shared memory whose 16-byte chunks are XORed with the row's last three bits (place_of in
// gemm_weights.cuh); the first row's address is a multiple of 1024, `p` may lie 32, 64 or 96 bytes further for later columns.
__device__ inline std::uint64_t wgmma_matrix(const void* p) {
  const std::uint64_t address = static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
  constexpr std::uint64_t kSwizzle128 = 1ull << 62, kEightRows = (1024ull >> 4) << 32, kUnused = 1ull << 16;
  return (address & 0x3FFFF) >> 4 | kUnused | kEightRows | kSwizzle128;
}

#define GS_SUMS_4(access, j) access(d[j][0]), access(d[j][1]), access(d[j][2]), access(d[j][3])
#define GS_SUMS_16(access, j) GS_SUMS_4(access, j), GS_SUMS_4(access, j + 1), GS_SUMS_4(access, j + 2), GS_SUMS_4(access, j + 3)

// d += a b' for 64 rows of a and 256 rows of b, sixteen columns each: products of kType, f32 sums. d[j][0], [1] of lane l in warp w of the
// group are row 16 w + l / 4 and columns 8 j + 2 (l % 4), + 1; d[j][2], [3] the same of row + 8.
#define GS_WGMMA_64X256(type)                                                                                                              \
  GS_WGMMA_ASM("wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type                                                                \
               " {"                                                                                                                        \
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "            \
               "%24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, "            \
               "%46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, "            \
               "%68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, "            \
               "%90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, "            \
               "%110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127}, %128, %129, " \
               "1, 1, 1, 0, 0;"                                                                                                            \
               : GS_SUMS_16("+f", 0), GS_SUMS_16("+f", 4), GS_SUMS_16("+f", 8), GS_SUMS_16("+f", 12), GS_SUMS_16("+f", 16),                \
                 GS_SUMS_16("+f", 20), GS_SUMS_16("+f", 24), GS_SUMS_16("+f", 28)                                                          \
               : "l"(matrix_a), "l"(matrix_b))
template <HalfType kType>
__device__ inline void wgmma_64x256(float (&d)[32][4], const void* a, const void* b) {
  const std::uint64_t matrix_a = wgmma_matrix(a), matrix_b = wgmma_matrix(b);
  if constexpr (kType == HalfType::kF16) {
    GS_WGMMA_64X256("f16");
  } else {
    GS_WGMMA_64X256("bf16");
  }
}

// Pins reads and writes of sums and operands in registers between the calls around, which are unrelated to them for the compiler. Call it
// after a wait and before the sums are read, and after they were written and before wgmma_begin().
template <int kTiles>
__device__ inline void wgmma_hold(float (&d)[kTiles][4]) {
#pragma unroll
  for (int j = 0; j < kTiles; ++j) GS_WGMMA_ASM("" : GS_SUMS_4("+f", j));
}
template <int kSteps>
__device__ inline void wgmma_hold(std::uint32_t (&a)[kSteps][4]) {
#pragma unroll
  for (int k = 0; k < kSteps; ++k) GS_WGMMA_ASM("" : "+r"(a[k][0]), "+r"(a[k][1]), "+r"(a[k][2]), "+r"(a[k][3]));
}

#define GS_SUMS_32                                                                                                                      \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, " \
  "%28, %29, %30, %31}"
#define GS_SUMS_64                                                                                                                      \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, " \
  "%28, %29, %30, %31, "                                                                                                                \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, "  \
  "%58, %59, %60, %61, %62, %63}"

// The left operand comes from registers below: a[k] of a lane is its fragment of columns 16 k to 16 k + 15 of the warp's sixteen rows as
// mma.m16n8k16 has it (warp.cuh); neither it nor d may be touched before the wait. b has 128 rows, in pieces of 64 columns, each 128 rows
// of 128 bytes as in wgmma_matrix().
//
// d = a b' for 64 rows of a, f16: d as above.
#define GS_WGMMA_64X128(access, add, k, matrix_b)                                                                                  \
  GS_WGMMA_ASM("wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 " GS_SUMS_64 ", {%64, %65, %66, %67}, %68, " #add ", 1, 1, 0;" \
               : GS_SUMS_16(access, 0), GS_SUMS_16(access, 4), GS_SUMS_16(access, 8), GS_SUMS_16(access, 12)                       \
               : "r"(a[k][0]), "r"(a[k][1]), "r"(a[k][2]), "r"(a[k][3]), "l"(matrix_b))
template <int kSteps>
__device__ inline void wgmma_by_rows(float (&d)[16][4], const std::uint32_t (&a)[kSteps][4], const void* b) {
  const std::uint64_t matrix = wgmma_matrix(b);
  GS_WGMMA_64X128("=f", 0, 0, matrix);
#pragma unroll
  for (int k = 1; k < kSteps; ++k) GS_WGMMA_64X128("+f", 1, k, matrix + ((k / 4 * 128 * 128 + k % 4 * 32) >> 4));
}

// d += a b for 64 rows of a, bf16, b's columns being 8 kTiles: 64, or 128 in two pieces. To wgmma b is transposed ("MN-major", imm-trans-b
// 1). For that and 128-byte swizzle PTX ISA 9.7.15.5.1.2.1 defines, in units of 16 bytes, the leading dimension offset as that from the
// first 128 / 16 of them (64 columns, one piece) to the next, the stride as that from eight k (rows of b here) to the next eight; CUTLASS
// writes the same layout ((8,8,m),(8,k)):((1,8,LBO),(64,SBO)) (mma_traits_sm90_gmma.hpp). Hence 128 rows of 128 bytes and 1024 bytes;
// sixteen rows are two such groups. With 64 columns there is one piece, and the leading offset is not used.
template <int kTiles>
__device__ inline void wgmma_by_columns(float (&d)[kTiles][4], const std::uint32_t (&a)[8][4], const void* b) {
  static_assert(kTiles == 8 || kTiles == 16);
  constexpr std::uint64_t kPiece = (128ull * 128 >> 4) << 16, kLeading = 0x3FFFull << 16;
  const std::uint64_t matrix = (wgmma_matrix(b) & ~kLeading) | kPiece;
#pragma unroll
  for (int k = 0; k < 8; ++k) {
    if constexpr (kTiles == 8) {
      GS_WGMMA_ASM("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " GS_SUMS_32 ", {%32, %33, %34, %35}, %36, 1, 1, 1, 1;"
                   : GS_SUMS_16("+f", 0), GS_SUMS_16("+f", 4)
                   : "r"(a[k][0]), "r"(a[k][1]), "r"(a[k][2]), "r"(a[k][3]), "l"(matrix + (k * 16 * 128 >> 4)));
    } else {
      GS_WGMMA_ASM("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 " GS_SUMS_64 ", {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
                   : GS_SUMS_16("+f", 0), GS_SUMS_16("+f", 4), GS_SUMS_16("+f", 8), GS_SUMS_16("+f", 12)
                   : "r"(a[k][0]), "r"(a[k][1]), "r"(a[k][2]), "r"(a[k][3]), "l"(matrix + (k * 16 * 128 >> 4)));
    }
  }
}

// The 128 threads of a warpgroup; `group` names its barrier.
__device__ inline void sync_warpgroup(std::uint32_t group) { GS_WGMMA_ASM("bar.sync %0, 128;" ::"r"(group + 2) : "memory"); }

#undef GS_WGMMA_64X128
#undef GS_SUMS_64
#undef GS_SUMS_32
#undef GS_WGMMA_64X256
#undef GS_SUMS_16
#undef GS_SUMS_4
#undef GS_WGMMA_ASM

#else
#include <cuda_wgmma_instructions.h>
#endif

}  // namespace gritstone::cuda

// The emulation itself: what it computes against definitions, and the mistakes it must not let pass.
#ifdef GRITSTONE_EMULATE_CUDA

#include <cublas_v2.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "model/dtype.h"
#include "model/kernels/cuda/cluster.cuh"
#include "model/kernels/cuda/ops.h"
#include "model/kernels/cuda/tensor_map.h"
#include "model/kernels/cuda/warp.cuh"
#include "model/kernels/cuda/wgmma.cuh"
#include "tests/model/cuda/device_array.h"
#include "tests/model/cuda/random_values.h"

namespace gritstone::cuda {
namespace {

std::vector<bf16> random_bf16(std::uint32_t seed, std::size_t count) {
  const std::vector<float> values = random_values(seed, count);
  return {values.begin(), values.end()};
}

// out [16, 8] = a [16, 16] b [8, 16]^T; a through ldmatrix, b row by row or (transposed) from b^T [16, 8].
__global__ void product_kernel(const bf16* a, const bf16* b, bool transposed, float* out) {
  GS_DYNAMIC_SHARED(memory);
  const unsigned lane = threadIdx.x;
  copy_async(memory + 16 * lane, a + 8 * lane, true);
  if (lane < 16) copy_async(memory + 512 + 16 * lane, b + 8 * lane, true);
  copy_async_commit();
  copy_async_wait<0>();
  __syncwarp();
  std::uint32_t left[4], right[4];
  ldmatrix(left, memory + 32 * (lane % 16) + 16 * (lane / 16));
  if (transposed) {
    ldmatrix_transposed(right, memory + 512 + 16 * (lane % 16));
  } else {
    ldmatrix(right, memory + 512 + 32 * (lane % 8) + 16 * (lane / 8 % 2));
  }
  float d[4] = {1, 1, 1, 1};
  const std::uint32_t fragment[2] = {right[0], right[1]};
  mma_bf16(d, left, fragment);
  const unsigned g = lane / 4, t = lane % 4;
  out[g * 8 + 2 * t] = d[0];
  out[g * 8 + 2 * t + 1] = d[1];
  out[(g + 8) * 8 + 2 * t] = d[2];
  out[(g + 8) * 8 + 2 * t + 1] = d[3];
}

TEST(CudaEmulation, MatrixInstructionsGiveAProduct) {
  for (const bool transposed : {false, true}) {
    const std::vector<bf16> a = random_bf16(1, 256), b = random_bf16(2, 128);
    const DeviceArray<bf16> device_a(a), device_b(b);
    const DeviceArray<float> out(128);
    launch(product_kernel, dim3(1), dim3(32), 768, nullptr, device_a.data(), device_b.data(), transposed, out.data());
    const std::vector<float> y = out.download();
    for (std::size_t i = 0; i < 16; ++i) {
      for (std::size_t j = 0; j < 8; ++j) {
        double sum = 1;
        for (std::size_t k = 0; k < 16; ++k) {
          sum += double{__bfloat162float(a[16 * i + k])} * double{__bfloat162float(b[transposed ? 8 * k + j : 16 * j + k])};
        }
        EXPECT_NEAR(y[8 * i + j], sum, 1e-5) << i << ", " << j;
      }
    }
  }
}

// A lane's fragments of the warp's sixteen rows of x [64, 16 kSteps].
template <int kSteps>
__device__ void load_fragments(const half_bits* x, std::uint32_t (&a)[kSteps][4]) {
  for (unsigned k = 0; k < kSteps; ++k) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + i % 2 * 8, column = 16 * k + threadIdx.x % 4 * 2 + i / 2 * 8;
      std::memcpy(&a[k][i], x + row * 16 * kSteps + column, 4);
    }
  }
}

// Per block, of matrices [64, 128] a and c, and [128, 128] b and d: rows = a b', f16; columns = c d, bf16. early: what the first sum was
// before the wait.
__global__ void warpgroup_kernel(const half_bits* a, const half_bits* b, const half_bits* c, const half_bits* d, float* rows,
                                 float* columns, float* early) {
  GS_DYNAMIC_SHARED(memory);
  unsigned char* const shared = memory + (1024 - reinterpret_cast<std::uintptr_t>(memory) % 1024) % 1024;
  for (unsigned i = threadIdx.x; i < 128 * 16; i += 128) {
    const unsigned row = i / 16, chunk = i % 16, place = chunk / 8 * 16384 + row * 128 + ((chunk % 8) ^ (row % 8)) * 16;
    std::memcpy(shared + place, b + i * 8, 16);
    std::memcpy(shared + 32768 + place, d + i * 8, 16);
  }
  __syncthreads();
  std::uint32_t left[8][4], weights[8][4];
  load_fragments(a, left);
  load_fragments(c, weights);
  float scores[16][4] = {{77}}, sums[16][4] = {};
  wgmma_begin();
  wgmma_by_rows(scores, left, shared);
  wgmma_commit();
  wgmma_by_columns(sums, weights, shared + 32768);
  wgmma_commit();
  if (threadIdx.x == 0) early[blockIdx.x] = scores[0][0];
  wgmma_wait<0>();
  for (unsigned j = 0; j < 16; ++j) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = 64 * blockIdx.x + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + i / 2 * 8;
      const unsigned column = 8 * j + threadIdx.x % 4 * 2 + i % 2;
      rows[row * 128 + column] = scores[j][i];
      columns[row * 128 + column] = sums[j][i];
    }
  }
}

TEST(CudaEmulation, WarpgroupsMultiplyInTheBackground) {
  const auto bits = [](std::uint32_t seed, std::size_t count, HalfType type) {
    std::vector<half_bits> halves;
    for (const float x : random_values(seed, count)) halves.push_back(to_half(x, type));
    return halves;
  };
  const std::vector<half_bits> a = bits(1, 64 * 128, HalfType::kF16), b = bits(2, 128 * 128, HalfType::kF16);
  const std::vector<half_bits> c = bits(3, 64 * 128, HalfType::kBF16), d = bits(4, 128 * 128, HalfType::kBF16);
  const DeviceArray<half_bits> device_a(a), device_b(b), device_c(c), device_d(d);
  const DeviceArray<float> rows(4 * 64 * 128), columns(4 * 64 * 128), early(4);
  allow_shared_memory(warpgroup_kernel, 65 * 1024);
  launch(warpgroup_kernel, dim3(4), dim3(128), 65 * 1024, nullptr, device_a.data(), device_b.data(), device_c.data(), device_d.data(),
         rows.data(), columns.data(), early.data());
  const std::vector<float> y = rows.download(), z = columns.download(), before = early.download();
  for (std::size_t i = 0; i < z.size(); ++i) {
    const std::size_t row = i / 128 % 64, column = i % 128;
    double sum = 0, dot = 0;
    for (std::size_t k = 0; k < 128; ++k) {
      dot += double{f16_to_f32(a[row * 128 + k])} * double{f16_to_f32(b[column * 128 + k])};
      sum += double{bf16_to_f32(c[row * 128 + k])} * double{bf16_to_f32(d[k * 128 + column])};
    }
    ASSERT_NEAR(z[i], sum, 1e-4) << i;
    ASSERT_NEAR(y[i], dot, 1e-4) << i;
  }
  int late = 0;
  for (const float x : before) late += x == 77;
  EXPECT_EQ(late, 2);
}

// Pairs of blocks: each block's thread 0 sends its numbers to the other, which adds what came to a box of `matrix` that the first block
// brings to both.
__global__ void pair_kernel(const __grid_constant__ CUtensorMap matrix, bool forget, float* out) {
  GS_DYNAMIC_SHARED(memory);
  Barrier* const came = reinterpret_cast<Barrier*>(memory + 8192);
  uint4* const numbers = reinterpret_cast<uint4*>(memory + 8192 + 16);
  const std::uint32_t rank = cluster_rank();
  if (threadIdx.x == 0) {
    barrier_init(came, 1);
    barrier_arrive_expecting(came, 64 * 128 + 16);
    barriers_are_ready();
  }
  cluster_sync();
  if (threadIdx.x == 0 && rank == 0) copy_box(memory, &matrix, 1, 64, came, 3);
  if (threadIdx.x == 0 && !forget) store_at(1 - rank, numbers, make_uint4(100 * blockIdx.x, 0, 0, 7), came);
  barrier_wait(came, 0);
  for (std::uint32_t i = threadIdx.x; i < 64 * 64; i += blockDim.x) {
    const std::uint32_t row = i / 64, column = i % 64;
    const half_bits value = reinterpret_cast<const half_bits*>(memory)[row * 64 + ((column / 8) ^ (row % 8)) * 8 + column % 8];
    out[blockIdx.x * 64 * 64 + i] = bf16_to_f32(value) + static_cast<float>(numbers->x + numbers->w);
  }
  cluster_sync();
}

TEST(CudaEmulation, BlocksOfAClusterReachEachOther) {
  // 50 rows of 96 columns: the box reaches beyond both.
  const std::vector<bf16> values = random_bf16(6, 50 * 96);
  const DeviceArray<bf16> device(values);
  const CUtensorMap matrix = tensor_map(device.data(), 50, 96, 64);
  const DeviceArray<float> out(4 * 64 * 64);
  launch_clusters(pair_kernel, dim3(4), dim3(64), 2, 8192 + 64, nullptr, matrix, false, out.data());
  const std::vector<float> y = out.download();
  for (std::size_t i = 0; i < y.size(); ++i) {
    const std::size_t block = i / 4096, row = 1 + i % 4096 / 64, column = 64 + i % 64;
    const float value = row < 50 && column < 96 ? __bfloat162float(values[row * 96 + column]) : 0.0f;
    ASSERT_EQ(y[i], value + static_cast<float>(100 * (block ^ 1) + 7)) << i;
  }
  EXPECT_DEATH(launch_clusters(pair_kernel, dim3(2), dim3(64), 2, 8192 + 64, nullptr, matrix, true, out.data()),
               "what never comes.*\n.*warp 0:\n.*wait at mbarrier");
  EXPECT_THROW(launch_clusters(pair_kernel, dim3(3), dim3(64), 2, 8192 + 64, nullptr, matrix, true, out.data()), Error);
}

__global__ void shuffle_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int* mine = out + 10 * lane;
  mine[0] = __shfl_sync(kAllLanes, lane, 5);
  mine[1] = __shfl_sync(kAllLanes, lane, 5, 4);
  mine[2] = __shfl_xor_sync(kAllLanes, lane, 3);
  mine[3] = __shfl_down_sync(kAllLanes, lane, 2u, 8);
  mine[4] = __shfl_up_sync(kAllLanes, lane, 2u, 8);
  mine[5] = static_cast<int>(__ballot_sync(kAllLanes, lane % 3 == 0));
  mine[6] = static_cast<int>(__match_any_sync(kAllLanes, lane / 8));
  mine[7] = __reduce_max_sync(kAllLanes, lane == 7 ? 100 : -lane);
  mine[8] = static_cast<int>(warp_sum(static_cast<float>(lane)));
  mine[9] = __syncthreads_count(lane < 11);
}

TEST(CudaEmulation, LanesExchangeValues) {
  const DeviceArray<int> out(320);
  launch(shuffle_kernel, dim3(1), dim3(32), 0, nullptr, out.data());
  const std::vector<int> y = out.download();
  for (int lane = 0; lane < 32; ++lane) {
    const int* mine = y.data() + 10 * lane;
    EXPECT_EQ(mine[0], 5);
    EXPECT_EQ(mine[1], lane / 4 * 4 + 1);
    EXPECT_EQ(mine[2], lane ^ 3);
    EXPECT_EQ(mine[3], lane % 8 < 6 ? lane + 2 : lane);
    EXPECT_EQ(mine[4], lane % 8 >= 2 ? lane - 2 : lane);
    EXPECT_EQ(static_cast<unsigned>(mine[5]), 0x49249249u);
    EXPECT_EQ(static_cast<unsigned>(mine[6]), 0xFFu << lane / 8 * 8);
    EXPECT_EQ(mine[7], 100);
    EXPECT_EQ(mine[8], 496);
    EXPECT_EQ(mine[9], 11);
  }
}

__global__ void copy_kernel(const int* from, int* seen) {
  GS_DYNAMIC_SHARED(memory);
  volatile int* shared = reinterpret_cast<int*>(memory);
  if (threadIdx.x == 0) {
    copy_async(memory, from, true);
    copy_async_commit();
    copy_async(memory + 16, from, false);
    copy_async_commit();
    seen += 4 * blockIdx.x;
    seen[0] = shared[0];
    copy_async_wait<1>();
    seen[1] = shared[0];
    seen[2] = shared[4];
    copy_async_wait<0>();
    seen[3] = shared[4];
  }
}

TEST(CudaEmulation, CopiesLandAtOnceOrWhenWaitedFor) {
  const DeviceArray<int> from(std::vector<int>{7, 8, 9, 10}), seen(16);
  launch(copy_kernel, dim3(4), dim3(32), 32, nullptr, from.data(), seen.data());
  const std::vector<int> y = seen.download();
  int late = 0;
  for (auto block = y.begin(); block != y.end(); block += 4) {
    late += block[0] == -1;
    EXPECT_EQ(std::vector<int>(block, block + 4), (block[0] == -1 ? std::vector<int>{-1, 7, -1, 0} : std::vector<int>{7, 7, 0, 0}));
  }
  EXPECT_EQ(late, 2);
}

// Each thread leaves a value for its opposite.
template <bool kBarrier>
__global__ void reverse_kernel(int* out) {
  __shared__ int values[64];
  values[threadIdx.x] = static_cast<int>(threadIdx.x + 100 * blockIdx.x);
  if (kBarrier) __syncthreads();
  out[64 * blockIdx.x + threadIdx.x] = values[63 - threadIdx.x];
  if (kBarrier) __syncthreads();
}

TEST(CudaEmulation, OrderOfThreadsShowsAMissingBarrier) {
  for (const bool barrier : {true, false}) {
    const DeviceArray<int> out(64 * 6);
    launch(barrier ? reverse_kernel<true> : reverse_kernel<false>, dim3(6), dim3(64), 0, nullptr, out.data());
    const std::vector<int> y = out.download();
    int wrong = 0;
    for (int i = 0; i < 64 * 6; ++i) wrong += y[static_cast<std::size_t>(i)] != 100 * (i / 64) + 63 - i % 64;
    EXPECT_EQ(wrong == 0, barrier);
  }
}

enum class Mistake { kReturn, kDivergedBarrier, kDifferentInstructions, kPartialMask, kMisaligned, kOverflow };
__global__ void mistaken_kernel(Mistake mistake, int* out) {
  GS_DYNAMIC_SHARED(memory);
  const bool odd = threadIdx.x == 33;
  if (mistake == Mistake::kReturn && odd) return;
  if (mistake == Mistake::kDivergedBarrier && odd) __syncthreads();
  if (mistake == Mistake::kDifferentInstructions && odd) __syncwarp();
  if (mistake == Mistake::kMisaligned) copy_async(memory + 8, out, false);
  if (mistake == Mistake::kOverflow) memory[64] = 0;
  const int sum = __shfl_xor_sync(mistake == Mistake::kPartialMask ? 1u : kAllLanes, 1, 1);
  if (mistake == Mistake::kDivergedBarrier && !odd) __syncthreads();
  out[threadIdx.x] = sum;
}

TEST(CudaEmulationDeathTest, MistakesEndTheProcess) {
  const DeviceArray<int> out(64);
  const auto run = [&](Mistake mistake) { launch(mistaken_kernel, dim3(1), dim3(64), 64, nullptr, mistake, out.data()); };
  EXPECT_DEATH(run(Mistake::kReturn), "warp 1:\n.*lanes 0 .. 0 wait at __shfl_xor_sync .*\n.*lanes 1 .. 1 have returned");
  EXPECT_DEATH(run(Mistake::kDivergedBarrier), "never come.*warp 1:\n.*\n.*lanes 1 .. 1 wait at __syncthreads .*emulation_test.cc");
  EXPECT_DEATH(run(Mistake::kDifferentInstructions), "different instructions");
  EXPECT_DEATH(run(Mistake::kPartialMask), "without all lanes");
  EXPECT_DEATH(run(Mistake::kMisaligned), "multiple of 16");
  EXPECT_DEATH(run(Mistake::kOverflow), "beyond the dynamic shared memory|heap-buffer-overflow");
}

TEST(CudaEmulation, RejectsLaunchesAsADeviceDoes) {
  const DeviceArray<int> out(64);
  const auto run = [&](dim3 grid, dim3 block, std::size_t shared) {
    launch(mistaken_kernel, grid, block, shared, nullptr, Mistake::kMisaligned, out.data());
  };
  EXPECT_THROW(run(dim3(0), dim3(32), 0), Error);
  EXPECT_THROW(run(dim3(1), dim3(2048), 0), Error);
  EXPECT_THROW(run(dim3(1, 70000), dim3(32), 0), Error);
  EXPECT_THROW(run(dim3(1), dim3(32), 100 << 10), Error);
  EXPECT_THROW(allow_shared_memory(mistaken_kernel, 300 << 10), Error);
  EXPECT_THROW(DeviceBuffer(std::size_t{9} << 30), Error);
}

TEST(CudaEmulation, HalvesRoundToNearestEven) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const __half h = __ushort_as_half(static_cast<std::uint16_t>(bits));
    const float reference = f16_to_f32(static_cast<std::uint16_t>(bits));
    ASSERT_EQ(std::isnan(__half2float(h)), std::isnan(reference));
    if (!std::isnan(reference)) {
      ASSERT_EQ(__half2float(h), reference) << bits;
      ASSERT_EQ(__half_as_ushort(__float2half_rn(reference)), bits);
    }
  }
  std::mt19937 generator(3);
  for (int i = 0; i < 100000; ++i) {
    const float x = std::ldexp(static_cast<float>(generator()), static_cast<int>(generator() % 44) - 60);
    ASSERT_EQ(__half_as_ushort(__float2half_rn(x)), f32_to_f16(x)) << x;
  }
  // 1 + 2^-8 lies in the middle of two bf16, 1 + 3 2^-8 too.
  EXPECT_EQ(__bfloat162float(__float2bfloat16_rn(1.00390625f)), 1.0f);
  EXPECT_EQ(__bfloat162float(__float2bfloat16_rn(1.01171875f)), 1.015625f);
  EXPECT_EQ(__bfloat162float(__float2bfloat16_rn(-1.00390637f)), -1.0078125f);
  EXPECT_TRUE(std::isinf(__bfloat162float(__float2bfloat16_rn(3.4e38f))));
}

TEST(CudaEmulation, IntegerInstructions) {
  EXPECT_EQ(__dp4a(static_cast<int>(0xFF02'8003u), 0x0102'0304, 10), 10 + -1 + 4 - 128 * 3 + 12);
  EXPECT_EQ(__dp4a(0xFF028003u, 0x01020304u, 10u), 10u + 255 + 4 + 128 * 3 + 12);
  EXPECT_EQ(__byte_perm(0x33221100u, 0x77665544u, 0x7250u), 0x77225500u);
  EXPECT_EQ(__byte_perm(0x80000000u, 0u, 0x444Bu), 0xFFu);
  EXPECT_EQ(__float2int_rn(2.5f), 2);
  EXPECT_EQ(__float2int_rn(3.5f), 4);
  EXPECT_EQ(__float2int_rn(-1e20f), -2147483647 - 1);
  EXPECT_EQ(__float2int_rn(NAN), 0);
}

TEST(CudaEmulation, CublasProduct) {
  constexpr int m = 5, n = 3, k = 7;
  cublasHandle_t handle = nullptr;
  ASSERT_EQ(cublasCreate(&handle), CUBLAS_STATUS_SUCCESS);
  const std::vector<bf16> a = random_bf16(4, m * k), b = random_bf16(5, n * k);
  const auto at = [](const std::vector<bf16>& x, int i) { return __bfloat162float(x[static_cast<std::size_t>(i)]); };
  for (const bool transposed : {false, true}) {
    std::vector<float> c(m * n, 1.0f);
    const float alpha = 2, beta = 3;
    ASSERT_EQ(cublasGemmEx(handle, transposed ? CUBLAS_OP_T : CUBLAS_OP_N, transposed ? CUBLAS_OP_N : CUBLAS_OP_T, m, n, k, &alpha,
                           a.data(), CUDA_R_16BF, transposed ? k : m, b.data(), CUDA_R_16BF, transposed ? k : n, &beta, c.data(),
                           CUDA_R_32F, m, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
              CUBLAS_STATUS_SUCCESS);
    for (int i = 0; i < m; ++i) {
      for (int j = 0; j < n; ++j) {
        float sum = 0;
        for (int l = 0; l < k; ++l) sum += at(a, transposed ? i * k + l : l * m + i) * at(b, transposed ? j * k + l : l * n + j);
        EXPECT_NEAR(c[static_cast<std::size_t>(j * m + i)], 2 * sum + 3, 1e-4);
      }
    }
  }
  cublasDestroy(handle);
}

}  // namespace
}  // namespace gritstone::cuda

#endif

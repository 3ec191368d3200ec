// What Hopper's thread blocks can do beyond those before: barriers in shared memory that count arrivals and bytes, pairs of blocks that
// reach into each other's shared memory, copies by the copy engine, and registers that move between warpgroups. The emulation defines the
// same functions. PTX manual: mbarrier, mapa, cp.async.bulk.tensor, cp.async.mbarrier, st.async,
// setmaxnreg.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace gritstone::cuda {

// In shared memory. Its phases have parities 0, 1, 0, ..; one ends when all arrivals that it was made for and all expected bytes have come.
using Barrier = std::uint64_t;

// Place and parity of the n-th use of a ring.
template <std::uint32_t kPlaces>
struct RingPlace {
  std::uint32_t place, parity;
  __device__ explicit RingPlace(std::uint32_t n) : place(n % kPlaces), parity(n / kPlaces % 2) {}
};

#ifndef GRITSTONE_EMULATE_CUDA

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define GS_HOPPER_ASM(...) asm volatile(__VA_ARGS__)
#else
#define GS_HOPPER_ASM(...) __trap()
#endif

__device__ inline std::uint32_t shared_address(const void* p) { return static_cast<std::uint32_t>(__cvta_generic_to_shared(p)); }

// A warpgroup takes registers until each thread has kCount, or leaves what is above.
template <int kCount>
__device__ inline void registers_up() {
  GS_HOPPER_ASM("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ inline void registers_down() {
  GS_HOPPER_ASM("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}

// Of the block in its cluster.
__device__ inline std::uint32_t cluster_rank() {
  std::uint32_t rank = 0;
  GS_HOPPER_ASM("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// All threads of the cluster, with everything they wrote.
__device__ inline void cluster_sync() {
  GS_HOPPER_ASM("barrier.cluster.arrive.release.aligned;" ::: "memory");
  GS_HOPPER_ASM("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// One thread makes them, then calls barriers_are_ready(); the others may use them after cluster_sync().
__device__ inline void barrier_init(Barrier* barrier, std::uint32_t arrivals) {
  GS_HOPPER_ASM("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
__device__ inline void barriers_are_ready() { GS_HOPPER_ASM("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// Arrives, and the phase lasts until `bytes` more were copied.
__device__ inline void barrier_arrive_expecting(Barrier* barrier, std::uint32_t bytes) {
  GS_HOPPER_ASM("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory");
}
// Arrives when the thread's copies that are under way (copy_async) are there.
__device__ inline void barrier_arrive_after_copies(Barrier* barrier) {
  GS_HOPPER_ASM("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives at this barrier of a block of the cluster. What this thread wrote is not promised to be seen there: with .release.cluster it
// would be, for the price of waiting until all its loads and copies under way are there.
__device__ inline void barrier_arrive_at(std::uint32_t rank, Barrier* barrier) {
  GS_HOPPER_ASM(
      "{\n"
      ".reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there];\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
}

// Until the phase of this parity has ended; before the first phase has, the one of parity 1 counts as ended.
__device__ inline void barrier_wait(Barrier* barrier, std::uint32_t parity) {
  std::uint32_t done = 0;
  do {
    GS_HOPPER_ASM(
        "{\n"
        ".reg .pred ended;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
        "selp.u32 %0, 1, 0, ended;\n"
        "}"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
  } while (done == 0);
}
// Stores 16 bytes to the same place in a block of the cluster and tells its barrier that they came.
__device__ inline void store_at(std::uint32_t rank, uint4* to, uint4 value, Barrier* barrier) {
  GS_HOPPER_ASM(
      "{\n"
      ".reg .b32 there, told;\n"
      "mapa.shared::cluster.u32 there, %0, %2;\n"
      "mapa.shared::cluster.u32 told, %1, %2;\n"
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [there], {%3, %4, %5, %6}, [told];\n"
      "}" ::"r"(shared_address(to)),
      "r"(shared_address(barrier)), "r"(rank), "r"(value.x), "r"(value.y), "r"(value.z), "r"(value.w)
      : "memory");
}

// The copy engine brings the box that begins at (row, column) to `to` in every block whose bit of `ranks` is set, rows of 128 bytes
// swizzled as wgmma reads them, zeros beyond the matrix, and tells the same barrier of each of them how many bytes came.
__device__ inline void copy_box(void* to, const CUtensorMap* matrix, std::uint32_t row, std::uint32_t column, Barrier* barrier,
                                std::uint32_t ranks) {
  GS_HOPPER_ASM(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%4, %5}], [%2], %3;" ::
          "r"(shared_address(to)),
      "l"(matrix), "r"(shared_address(barrier)), "h"(static_cast<std::uint16_t>(ranks)), "r"(column), "r"(row)
      : "memory");
}

#undef GS_HOPPER_ASM

#else
#include <cuda_cluster_instructions.h>
#endif

}  // namespace gritstone::cuda

// Runs a grid: clusters of blocks one after another, the threads of a cluster as fibers. A warp instruction is a meeting of its 32 lanes
// and
// __syncthreads one of the block's live threads; a lane or warp runs on its own until its next meeting. What hardware would leave undefined
// (lanes at different instructions, a lane that is gone) or wait for without end ends the process with a message that says who waits where.
//
// The order of lanes, warps and blocks differs from block to block, so that a missing barrier shows up as a wrong result. It can be fixed
// with GRITSTONE_EMULATION_ORDER=forward|reverse|shuffled.
#pragma once

#include <cstddef>

#include "emulated_types.h"

namespace emulation {

enum class Instruction {
  kNone,
  kSyncThreads,
  kSyncWarp,
  kShuffle,
  kShuffleUp,
  kShuffleDown,
  kShuffleXor,
  kBallot,
  kMatch,
  kReduce,
  kMma,
  kMmaF16,
  kLoadMatrix,
  kLoadMatrixTransposed,
  kWarpgroup,
  kSyncCluster,
  kBarrierWait,
};

// Where lanes leave values for each other. Valid until the lane's next meeting but one.
struct Exchange {
  alignas(16) unsigned char lanes[32][32];
  // What a lane that is first to go on computes for all: the others may already change what it was computed from.
  alignas(16) unsigned char result[8192];
  bool combined = false;

  template <class T>
  const T& lane(unsigned index) const {
    return *reinterpret_cast<const T*>(lanes[index]);
  }
};

// In a thread of a kernel. Leaves `value` for the other lanes and waits until all have come.
Exchange& meet_warp(Instruction instruction, unsigned mask, const void* value, std::size_t bytes, const char* file, int line);
// Waits for the block; returns the number of threads that voted.
int meet_block(bool vote, const char* file, int line);
unsigned lane_index();
// Waits for the 128 threads of the warpgroup.
void meet_warpgroup(const char* file, int line);
// Waits for all threads of the cluster.
void meet_cluster(const char* file, int line);
// Waits until ready(what).
void wait_until(bool (*ready)(const void*), const void* what, const char* file, int line);
// Something happened that other threads may wait for.
void made_progress();

// The product of the tiles whose fragments, a[4] and b[2] of mma.m16n8k16 in bf16, the lanes left.
using TileProduct = float[16][8];
const TileProduct& multiply_tiles(Exchange& met, bool f16);

// Sixteen rows of a product: the left operand's fragments, a[4] of wgmma's m64nNk16, are what the lanes left; row k of the right one, of
// `width` columns, are `width` values from right + 128 k on.
using WarpProduct = float[16][128];
const WarpProduct& multiply_warp(Exchange& met, bool f16, const float* right, unsigned width);

unsigned char* dynamic_shared();
unsigned cluster_rank();
// The same place in the dynamic shared memory of a block of the cluster.
void* shared_of(unsigned rank, const void* own);

// Copies of 16 bytes that are made when the thread waits for them, or in other blocks at once. source null: zeros.
void queue_copy(void* to, const void* source);
void commit_copies();
void wait_for_copies(int groups_left);

// Products in the background. run(sums, left, right) is called when the thread waits for it, or at once: it differs from block to block, so
// that sums that are read too early, and operands that come too late or are overwritten too early, show up as wrong results.
using ProductRun = void (*)(void* sums, const void* left, const void* right);
void queue_product(ProductRun run, void* sums, const void* left, const void* right);
void commit_products();
void wait_for_products(int groups_left);

// Reports a mistake of the running thread and aborts.
[[noreturn]] void fail(const char* message, const char* file, int line);

// Calls body(context) once a thread. `cluster` consecutive blocks run at the same time.
void run_grid(dim3 grid, dim3 block, unsigned cluster, std::size_t shared_bytes, void (*body)(const void*), const void* context);

}  // namespace emulation

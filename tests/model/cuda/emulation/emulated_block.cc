#include "emulated_block.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "emulated_grid.h"
#include "emulated_order.h"

namespace emulation {
namespace {

constexpr std::size_t kStackBytes = 256 << 10;
constexpr std::size_t kPage = 4096;
constexpr unsigned kWarpgroup = 128;
constexpr unsigned char kPoison = 0xFF;  // NaN as f32, bf16 and f16
constexpr std::size_t kSharedAlign = 1024;
constexpr std::size_t kCanary = 64;  // bytes behind the shared memory that nobody may change

// Never destroyed: threads may outlive static objects.
Grid* const the_grid = new Grid;
std::mutex* const grid_mutex = new std::mutex;

const char* name_of(Instruction instruction) {
  static constexpr const char* kNames[] = {
      "start",         "__syncthreads",    "__syncwarp",       "__shfl_sync", "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync",
      "__ballot_sync", "__match_any_sync", "__reduce_*_sync",  "mma_bf16",    "mma_f16",        "ldmatrix",         "ldmatrix_transposed",
      "wgmma",         "barrier.cluster",  "mbarrier.try_wait"};
  return kNames[static_cast<int>(instruction)];
}

// Who waits where, in runs of lanes with the same state.
std::string who_waits(unsigned warp) {
  const Grid& grid = grid_state();
  std::string text = "warp " + std::to_string(warp) + ":\n";
  const auto same = [](const Thread& a, const Thread& b) {
    return a.state == b.state && (a.state == State::kDone || (a.instruction == b.instruction && a.file == b.file && a.line == b.line));
  };
  for (unsigned lane = 0; lane < kWarpLanes;) {
    const Thread& first = grid.threads[warp * kWarpLanes + lane];
    unsigned end = lane + 1;
    while (end < kWarpLanes && same(first, grid.threads[warp * kWarpLanes + end])) ++end;
    text += "  lanes " + std::to_string(lane) + " .. " + std::to_string(end - 1);
    if (first.state == State::kDone) {
      text += " have returned\n";
    } else {
      text += std::string(" wait at ") + name_of(first.instruction) + " (" + first.file + ":" + std::to_string(first.line) + ")\n";
    }
    lane = end;
  }
  return text;
}

[[noreturn]] void fail_waiting(const char* message, unsigned first_warp, unsigned end_warp) {
  std::string text = std::string("CUDA emulation: ") + message + "; block (" + std::to_string(blockIdx.x) + ", " +
                     std::to_string(blockIdx.y) + ", " + std::to_string(blockIdx.z) + ")\n";
  for (unsigned warp = first_warp; warp < end_warp; ++warp) text += who_waits(warp);
  std::fputs(text.c_str(), stderr);
  std::abort();
}
[[noreturn]] void fail_warp(unsigned warp, const char* message) { fail_waiting(message, warp, warp + 1); }

void thread_main() {
  Grid& grid = grid_state();
  enter_context(grid.scheduler);
  grid.body(grid.argument);
  Thread& thread = *grid.running;
  if (!thread.products.empty()) fail("a thread returned while its products are under way", __FILE__, __LINE__);
  finish_copies(thread);
  thread.state = State::kDone;
  grid.progress = true;
  switch_context(thread.context, grid.scheduler, true);
  std::abort();
}

// Makes the lane at grid.position the running one.
Context& take_turn(Grid& grid) {
  grid.running_index = grid.first + grid.lanes[grid.position];
  grid.running = &grid.threads[grid.running_index];
  threadIdx = grid.running->index;
  return grid.running->context;
}

// Goes on with the next lane of the round that can, directly if it has begun: its return addresses are then those of this lane, which the
// processor predicts. Three times faster than by way of the scheduler.
void wait_here(State state, Instruction instruction, const char* file, int line) {
  Grid& grid = grid_state();
  Thread& thread = *grid.running;
  thread.state = state;
  thread.instruction = instruction;
  thread.file = file;
  thread.line = line;
  while (++grid.position < kWarpLanes) {
    const Thread& next = grid.threads[grid.first + grid.lanes[grid.position]];
    if (next.state != State::kReady) continue;
    if (next.instruction == Instruction::kNone) break;
    return switch_context(thread.context, take_turn(grid));
  }
  --grid.position;
  switch_context(thread.context, grid.scheduler);
}

void enter_block(const Grid& grid, unsigned rank) {
  const unsigned b = grid.first_block + rank;
  blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
}

// Until every lane has returned or waits for more than its warp.
void run_warp(Grid& grid, unsigned warp, const Order& lanes) {
  Thread* threads = grid.threads.data() + warp * kWarpLanes;
  grid.first = warp * kWarpLanes;
  enter_block(grid, grid.first / grid.block_threads);
  grid.lanes = lanes.data();
  for (;;) {
    // wait_here moves the position on as well.
    for (grid.position = 0; grid.position < kWarpLanes; ++grid.position) {
      if (threads[lanes[grid.position]].state == State::kReady) switch_context(grid.scheduler, take_turn(grid));
    }
    unsigned waiting = 0;
    bool same = true, event = false;
    for (unsigned lane = 0; lane < kWarpLanes; ++lane) {
      waiting += threads[lane].state == State::kWarp;
      event = event || threads[lane].state == State::kEvent;
      same = same && threads[lane].instruction == threads[0].instruction;
    }
    if (waiting == 0 || event) return;
    if (waiting < kWarpLanes) fail_warp(warp, "lanes wait for others that never come");
    if (!same) fail_warp(warp, "lanes meet at different instructions");
    for (unsigned lane = 0; lane < kWarpLanes; ++lane) threads[lane].state = State::kReady;
    grid.progress = true;
    grid.exchanges[2 * warp + threads[0].meetings % 2].combined = false;
  }
}

// Lets threads [first, end) go on if all that have not returned wait in `state`.
bool release(Grid& grid, unsigned first, unsigned end, State state) {
  bool live = false;
  for (unsigned i = first; i < end; ++i) {
    if (grid.threads[i].state != State::kDone && grid.threads[i].state != state) return false;
    live = live || grid.threads[i].state == state;
  }
  for (unsigned i = first; live && i < end; ++i) {
    if (grid.threads[i].state == state) grid.threads[i].state = State::kReady;
  }
  return live;
}

void run_cluster(Grid& grid, unsigned cluster, unsigned number) {
  const unsigned block_threads = grid.block_threads, thread_count = cluster * block_threads;
  for (unsigned i = 0; i < thread_count; ++i) {
    const unsigned in_block = i % block_threads;
    Thread& thread = grid.threads[i];
    thread.index = {in_block % blockDim.x, in_block / blockDim.x % blockDim.y, in_block / blockDim.x / blockDim.y};
    thread.state = State::kReady;
    thread.instruction = Instruction::kNone;
    thread.meetings = 0;
    thread.group = thread.product_group = 0;
    // Equal addresses in all stacks would fall into the same cache sets.
    prepare_context(thread.context, grid.stacks[i], kStackBytes - i * 5 % 64 * 64, thread_main);
  }
  grid.warpgroups.assign(thread_count / kWarpgroup + 1, {});
  grid.products_at_once = number % 2 == 0;
  grid.copies_at_once = number / 2 % 2 == 0;
  const unsigned kind = order_kind(number);
  const Order warps = make_order(thread_count / kWarpLanes, kind, number), lanes = make_order(kWarpLanes, kind, number);
  for (bool live = true; live;) {
    grid.progress = false;
    for (const unsigned warp : warps) run_warp(grid, warp, lanes);
    for (unsigned rank = 0; rank < cluster; ++rank) {
      if (!release(grid, rank * block_threads, (rank + 1) * block_threads, State::kBlock)) continue;
      grid.last_votes[rank] = std::exchange(grid.votes[rank], 0);
      grid.progress = true;
    }
    if (release(grid, 0, thread_count, State::kCluster)) grid.progress = true;
    live = false;
    for (unsigned i = 0; i < thread_count; ++i) {
      live = live || grid.threads[i].state != State::kDone;
      if (grid.threads[i].state == State::kEvent) grid.threads[i].state = State::kReady;
    }
    if (live && !grid.progress) fail_waiting("threads wait for what never comes", 0, thread_count / kWarpLanes);
  }
}

void reserve(Grid& grid, unsigned thread_count) {
  if (grid.threads.size() < thread_count) grid.threads.resize(thread_count);
  grid.exchanges.resize(std::max<std::size_t>(grid.exchanges.size(), thread_count / kWarpLanes * 2));
  while (grid.stacks.size() < thread_count) {
    // The lowest page catches overflows.
    void* stack = mmap(nullptr, kPage + kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, kPage, PROT_NONE) != 0) {
      std::fputs("CUDA emulation: no memory for stacks\n", stderr);
      std::abort();
    }
    grid.stacks.push_back(static_cast<unsigned char*>(stack) + kPage);
  }
}

}  // namespace

Grid& grid_state() { return *the_grid; }

Exchange& meet_warp(Instruction instruction, unsigned mask, const void* value, std::size_t bytes, const char* file, int line) {
  if (mask != 0xFFFFFFFFu) fail("a warp instruction without all lanes", file, line);
  Grid& grid = grid_state();
  Thread& thread = *grid.running;
  const unsigned index = grid.running_index;
  // Two exchanges in turn: a fast lane may arrive at the next meeting before slow ones have read what was left at this one.
  Exchange& exchange = grid.exchanges[index / kWarpLanes * 2 + ++thread.meetings % 2];
  std::memcpy(exchange.lanes[index % kWarpLanes], value, bytes);
  wait_here(State::kWarp, instruction, file, line);
  return exchange;
}

int meet_block(bool vote, const char* file, int line) {
  Grid& grid = grid_state();
  const unsigned rank = cluster_rank();
  grid.votes[rank] += vote;
  wait_here(State::kBlock, Instruction::kSyncThreads, file, line);
  return grid.last_votes[rank];
}

void meet_warpgroup(const char* file, int line) {
  Meeting& meeting = grid_state().warpgroups[grid_state().running_index / kWarpgroup];
  const std::pair<const Meeting*, unsigned> awaited{&meeting, meeting.held + 1};
  if (++meeting.present == kWarpgroup) {
    meeting.present = 0;
    ++meeting.held;
  }
  const auto ready = [](const void* what) {
    const auto& a = *static_cast<const std::pair<const Meeting*, unsigned>*>(what);
    return a.first->held >= a.second;
  };
  wait_until(ready, &awaited, file, line);
}

void meet_cluster(const char* file, int line) { wait_here(State::kCluster, Instruction::kSyncCluster, file, line); }

void wait_until(bool (*ready)(const void*), const void* what, const char* file, int line) {
  if (!ready(what)) {
    do wait_here(State::kEvent, Instruction::kBarrierWait, file, line);
    while (!ready(what));
  }
  made_progress();
}

void made_progress() { grid_state().progress = true; }

unsigned cluster_rank() { return grid_state().running_index / grid_state().block_threads; }

void* shared_of(unsigned rank, const void* own) {
  const Grid& grid = grid_state();
  return grid.shared[rank] + (static_cast<const unsigned char*>(own) - grid.shared[cluster_rank()]);
}

unsigned lane_index() { return grid_state().running_index % kWarpLanes; }

unsigned char* dynamic_shared() { return grid_state().shared[cluster_rank()]; }

void fail(const char* message, const char* file, int line) {
  std::fprintf(stderr, "CUDA emulation: %s; block (%u, %u, %u), thread (%u, %u, %u), %s:%d\n", message, blockIdx.x, blockIdx.y, blockIdx.z,
               threadIdx.x, threadIdx.y, threadIdx.z, file, line);
  std::abort();
}

void run_grid(dim3 grid_size, dim3 block, unsigned cluster, std::size_t shared_bytes, void (*body)(const void*), const void* context) {
  const std::lock_guard lock(*grid_mutex);
  static unsigned launches = 0;
  ++launches;
  Grid& grid = grid_state();
  grid.block_threads = block.x * block.y * block.z;
  reserve(grid, cluster * grid.block_threads);
  grid.body = body;
  grid.argument = context;
  gridDim = grid_size;
  blockDim = block;
  // On the heap, so that AddressSanitizer sees what goes beyond; without it the canary does.
#ifdef GS_EMULATION_ASAN
  const std::size_t canary = 0;
#else
  const std::size_t canary = kCanary;
#endif
  std::vector<std::unique_ptr<void, decltype(&std::free)>> owners;
  grid.shared.clear();
  grid.votes.assign(cluster, 0);
  grid.last_votes.assign(cluster, 0);
  for (unsigned rank = 0; rank < cluster; ++rank) {
    void* memory = nullptr;
    if (posix_memalign(&memory, kSharedAlign, shared_bytes + canary) != 0) std::abort();
    owners.emplace_back(memory, &std::free);
    grid.shared.push_back(static_cast<unsigned char*>(memory));
  }
  const std::size_t clusters = std::size_t{grid_size.x} * grid_size.y * grid_size.z / cluster;
  const bool backwards = order_kind(launches) == 1;
  for (std::size_t i = 0; i < clusters; ++i) {
    grid.first_block = static_cast<unsigned>(backwards ? clusters - 1 - i : i) * cluster;
    for (unsigned char* memory : grid.shared) std::memset(memory, kPoison, shared_bytes + canary);
    run_cluster(grid, cluster, launches + grid.first_block);
    for (const unsigned char* memory : grid.shared) {
      for (std::size_t c = 0; c < canary; ++c) {
        if (memory[shared_bytes + c] != kPoison) fail("a write beyond the dynamic shared memory", __FILE__, __LINE__);
      }
    }
  }
}

}  // namespace emulation

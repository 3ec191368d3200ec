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

#include "emulated_fiber.h"
#include "emulated_order.h"

namespace emulation {
namespace {

constexpr std::size_t kStackBytes = 256 << 10;
constexpr std::size_t kPage = 4096;
constexpr unsigned kWarpLanes = 32;
constexpr unsigned char kPoison = 0xFF;  // NaN as f32, bf16 and f16
constexpr std::size_t kCanary = 64;      // bytes behind the shared memory that nobody may change

enum class State { kReady, kWarp, kBlock, kDone };

struct AsyncCopy {
  void* to;
  const void* source;
  int group;
};

struct AsyncProduct {
  ProductRun run;
  void* sums;
  const void *left, *right;
  int group;
};

struct Thread {
  Context context;
  uint3 index;
  State state = State::kReady;
  Instruction instruction = Instruction::kNone;
  const char* file = "";
  int line = 0;
  unsigned meetings = 0;
  int group = 0;  // of copies: committed ones
  std::vector<AsyncCopy> copies;
  int product_group = 0;
  std::vector<AsyncProduct> products;
};

struct Grid {
  std::vector<Thread> threads;
  std::vector<Exchange> exchanges;  // two a warp
  std::vector<unsigned char*> stacks;
  Context scheduler;
  Thread* running = nullptr;
  unsigned running_index = 0;
  unsigned first = 0;               // thread of the running warp
  const unsigned* lanes = nullptr;  // in the order of their turns
  unsigned position = 0;            // in that order
  unsigned char* shared = nullptr;
  int votes = 0, last_votes = 0;
  bool copies_at_once = false, products_at_once = false;
  void (*body)(const void*) = nullptr;
  const void* argument = nullptr;
};

// Never destroyed: threads may outlive static objects.
Grid* const the_grid = new Grid;
std::mutex* const grid_mutex = new std::mutex;
Grid& grid_state() { return *the_grid; }

const char* name_of(Instruction instruction) {
  static constexpr const char* kNames[] = {
      "start",         "__syncthreads",    "__syncwarp",      "__shfl_sync", "__shfl_up_sync", "__shfl_down_sync", "__shfl_xor_sync",
      "__ballot_sync", "__match_any_sync", "__reduce_*_sync", "mma_bf16",    "mma_f16",        "ldmatrix",         "ldmatrix_transposed",
      "wgmma"};
  return kNames[static_cast<int>(instruction)];
}

// Who waits where, in runs of lanes with the same state.
[[noreturn]] void fail_warp(unsigned warp, const char* message) {
  const Grid& grid = grid_state();
  std::string text = std::string("CUDA emulation: ") + message + "; block (" + std::to_string(blockIdx.x) + ", " +
                     std::to_string(blockIdx.y) + ", " + std::to_string(blockIdx.z) + "), warp " + std::to_string(warp) + ":\n";
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
  std::fputs(text.c_str(), stderr);
  std::abort();
}

void perform(const AsyncCopy& copy) {
  if (copy.source != nullptr) {
    std::memcpy(copy.to, copy.source, 16);
  } else {
    std::memset(copy.to, 0, 16);
  }
}

void thread_main() {
  Grid& grid = grid_state();
  enter_context(grid.scheduler);
  grid.body(grid.argument);
  Thread& thread = *grid.running;
  if (!thread.products.empty()) fail("a thread returned while its products are under way", __FILE__, __LINE__);
  for (const AsyncCopy& copy : thread.copies) perform(copy);
  thread.copies.clear();
  thread.state = State::kDone;
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

// Until every lane has returned or waits for the block.
void run_warp(Grid& grid, unsigned warp, const Order& lanes) {
  Thread* threads = grid.threads.data() + warp * kWarpLanes;
  grid.first = warp * kWarpLanes;
  grid.lanes = lanes.data();
  for (;;) {
    // wait_here moves the position on as well.
    for (grid.position = 0; grid.position < kWarpLanes; ++grid.position) {
      if (threads[lanes[grid.position]].state == State::kReady) switch_context(grid.scheduler, take_turn(grid));
    }
    unsigned waiting = 0;
    bool same = true;
    for (unsigned lane = 0; lane < kWarpLanes; ++lane) {
      waiting += threads[lane].state == State::kWarp;
      same = same && threads[lane].instruction == threads[0].instruction;
    }
    if (waiting == 0) return;
    if (waiting < kWarpLanes) fail_warp(warp, "lanes wait for others that never come");
    if (!same) fail_warp(warp, "lanes meet at different instructions");
    for (unsigned lane = 0; lane < kWarpLanes; ++lane) threads[lane].state = State::kReady;
    grid.exchanges[2 * warp + threads[0].meetings % 2].combined = false;
  }
}

void run_block(Grid& grid, unsigned thread_count, unsigned number) {
  for (unsigned i = 0; i < thread_count; ++i) {
    Thread& thread = grid.threads[i];
    thread.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    thread.state = State::kReady;
    thread.instruction = Instruction::kNone;
    thread.meetings = 0;
    thread.group = thread.product_group = 0;
    // Equal addresses in all stacks would fall into the same cache sets.
    prepare_context(thread.context, grid.stacks[i], kStackBytes - i * 5 % 64 * 64, thread_main);
  }
  grid.products_at_once = number % 2 == 0;
  grid.copies_at_once = number / 2 % 2 == 0;
  const unsigned kind = order_kind(number);
  const Order warps = make_order(thread_count / kWarpLanes, kind, number), lanes = make_order(kWarpLanes, kind, number);
  for (bool live = true; live;) {
    for (const unsigned warp : warps) run_warp(grid, warp, lanes);
    grid.last_votes = std::exchange(grid.votes, 0);
    live = false;
    for (unsigned i = 0; i < thread_count; ++i) {
      if (grid.threads[i].state == State::kDone) continue;
      grid.threads[i].state = State::kReady;
      live = true;
    }
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
  grid.votes += vote;
  wait_here(State::kBlock, Instruction::kSyncThreads, file, line);
  return grid.last_votes;
}

unsigned lane_index() { return grid_state().running_index % kWarpLanes; }

unsigned char* dynamic_shared() { return grid_state().shared; }

void queue_copy(void* to, const void* source) {
  Thread& thread = *grid_state().running;
  if (grid_state().copies_at_once) return perform({to, source, thread.group});
  thread.copies.push_back({to, source, thread.group});
}

void commit_copies() { ++grid_state().running->group; }

void wait_for_copies(int groups_left) {
  Thread& thread = *grid_state().running;
  std::size_t kept = 0;
  for (const AsyncCopy& copy : thread.copies) {
    if (copy.group + groups_left < thread.group) {
      perform(copy);
    } else {
      thread.copies[kept++] = copy;
    }
  }
  thread.copies.resize(kept);
}

void queue_product(ProductRun run, void* sums, const void* left, const void* right) {
  Grid& grid = grid_state();
  if (grid.products_at_once) return run(sums, left, right);
  grid.running->products.push_back({run, sums, left, right, grid.running->product_group});
}

void commit_products() { ++grid_state().running->product_group; }

void wait_for_products(int groups_left) {
  // Other threads run in between: the reference stays, the running thread changes.
  Thread& thread = *grid_state().running;
  std::size_t done = 0;
  for (; done < thread.products.size() && thread.products[done].group + groups_left < thread.product_group; ++done) {
    const AsyncProduct product = thread.products[done];
    product.run(product.sums, product.left, product.right);
  }
  thread.products.erase(thread.products.begin(), thread.products.begin() + static_cast<std::ptrdiff_t>(done));
}

void fail(const char* message, const char* file, int line) {
  std::fprintf(stderr, "CUDA emulation: %s; block (%u, %u, %u), thread (%u, %u, %u), %s:%d\n", message, blockIdx.x, blockIdx.y, blockIdx.z,
               threadIdx.x, threadIdx.y, threadIdx.z, file, line);
  std::abort();
}

void run_grid(dim3 grid_size, dim3 block, std::size_t shared_bytes, void (*body)(const void*), const void* context) {
  const std::lock_guard lock(*grid_mutex);
  static unsigned launches = 0;
  ++launches;
  Grid& grid = grid_state();
  const unsigned thread_count = block.x * block.y * block.z;
  reserve(grid, thread_count);
  grid.body = body;
  grid.argument = context;
  gridDim = grid_size;
  blockDim = block;
  // On the heap, so that AddressSanitizer sees what goes beyond; without it the canary does.
  void* memory = nullptr;
#ifdef GS_EMULATION_ASAN
  const std::size_t canary = 0;
#else
  const std::size_t canary = kCanary;
#endif
  if (posix_memalign(&memory, 128, shared_bytes + canary) != 0) std::abort();
  const std::unique_ptr<void, decltype(&std::free)> owner(memory, &std::free);
  grid.shared = static_cast<unsigned char*>(memory);
  const std::size_t blocks = std::size_t{grid_size.x} * grid_size.y * grid_size.z;
  const bool backwards = order_kind(launches) == 1;
  for (std::size_t i = 0; i < blocks; ++i) {
    const std::size_t b = backwards ? blocks - 1 - i : i;
    blockIdx = {static_cast<unsigned>(b % grid_size.x), static_cast<unsigned>(b / grid_size.x % grid_size.y),
                static_cast<unsigned>(b / grid_size.x / grid_size.y)};
    std::memset(memory, kPoison, shared_bytes + canary);
    run_block(grid, thread_count, launches + static_cast<unsigned>(b));
    for (std::size_t c = 0; c < canary; ++c) {
      if (grid.shared[shared_bytes + c] != kPoison) fail("a write beyond the dynamic shared memory", __FILE__, __LINE__);
    }
  }
}

}  // namespace emulation

// What the scheduler (emulated_block.cc) knows of the running cluster and its threads.
#pragma once

#include <vector>

#include "emulated_block.h"
#include "emulated_fiber.h"

namespace emulation {

inline constexpr unsigned kWarpLanes = 32;

enum class State { kReady, kWarp, kBlock, kCluster, kEvent, kDone };

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

// Of a warpgroup's threads.
struct Meeting {
  unsigned present = 0, held = 0;
};

struct Grid {
  std::vector<Thread> threads;
  std::vector<Exchange> exchanges;  // two a warp
  std::vector<Meeting> warpgroups;
  std::vector<unsigned char*> stacks;
  Context scheduler;
  Thread* running = nullptr;
  unsigned running_index = 0;
  unsigned first = 0;  // thread of the running warp
  unsigned block_threads = 0;
  unsigned first_block = 0;            // of the cluster
  const unsigned* lanes = nullptr;     // in the order of their turns
  unsigned position = 0;               // in that order
  std::vector<unsigned char*> shared;  // by block of the cluster
  std::vector<int> votes, last_votes;
  bool progress = false;
  bool copies_at_once = false, products_at_once = false;
  void (*body)(const void*) = nullptr;
  const void* argument = nullptr;
};

Grid& grid_state();

// Makes all copies that the thread has under way.
void finish_copies(Thread& thread);

}  // namespace emulation

// Copies and products in the background, of one thread each: kept until it waits for them, or made at once.
#include <cstring>

#include "emulated_grid.h"

namespace emulation {
namespace {

void perform(const AsyncCopy& copy) {
  if (copy.source != nullptr) {
    std::memcpy(copy.to, copy.source, 16);
  } else {
    std::memset(copy.to, 0, 16);
  }
}

}  // namespace

void finish_copies(Thread& thread) {
  for (const AsyncCopy& copy : thread.copies) perform(copy);
  thread.copies.clear();
}

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

}  // namespace emulation

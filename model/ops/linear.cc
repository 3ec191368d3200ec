#include "model/ops/linear.h"

#include <algorithm>

#include "base/error.h"

namespace gritstone {

void run_products(OpContext& context, const std::vector<Product>& products) {
  // Tasks of equal work, several per thread, so that uneven experts still fill all threads. Work is counted in panels * (tokens + 4): a
  // panel costs its memory traffic (about four tokens' worth of arithmetic) even for one token.
  constexpr std::size_t kTasksPerThread = 8;
  std::size_t total = 0;
  for (const Product& product : products) total += product.w->panels() * (product.tokens + 4);
  const std::size_t target = std::max<std::size_t>(1, total / (context.pool().threads() * kTasksPerThread));
  std::vector<MatmulTask> tasks;
  for (const Product& product : products) {
    if (product.tokens == 0) continue;
    GS_CHECK(product.w->cols == product.x->cols);
    GS_CHECK(product.w->layout == MatrixLayout::kRows || product.x->q != nullptr);
    const std::size_t panels = product.w->panels();
    const std::size_t step = std::clamp<std::size_t>(target / (product.tokens + 4), 1, panels);
    for (std::size_t begin = 0; begin < panels; begin += step) {
      MatmulTask task;
      task.w = product.w;
      task.panel_begin = begin;
      task.panel_end = std::min(panels, begin + step);
      task.x = product.x;
      task.x_rows = product.x_rows;
      task.tokens = product.tokens;
      task.y = product.y;
      task.y_stride = product.y_stride;
      tasks.push_back(task);
    }
  }
  context.pool().parallel_for(tasks.size(), [&](std::size_t index, std::size_t thread) {
    tasks[index].scratch = context.scratch(thread);
    context.matmul().matmul(tasks[index]);
  });
}

void linear(OpContext& context, const Matrix& w, const Activations& x, float* y, std::size_t y_stride) {
  run_products(context, {Product{&w, &x, nullptr, x.rows, y, y_stride}});
}

}  // namespace gritstone

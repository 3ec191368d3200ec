// y = W x for many rows of x at once: the weight layouts and the activation rows every matmul kernel shares. Kernels know tensors, never
// the model.
//
// Determinism: y[token][row] is one fixed sequence of operations along K, whatever the number of tokens, the tile shape, the panel range or
// the thread: so batches of 1 and of 512 give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "model/dtype.h"

namespace gritstone {

// Rows of W that a SIMD tile computes together, one row per 32-bit lane of an AVX-512 register (two AVX2 registers).
inline constexpr std::size_t kPanelRows = 16;
// Elements that share one activation scale.
inline constexpr std::size_t kActivationGroup = 32;

enum class MatrixLayout : std::uint8_t {
  kRows,    // the file's own rows, row_bytes(type, cols) apart: dequantised on the fly to f32, f32 products (exact weights)
  kPanels,  // kPanelRows rows interleaved for the integer kernels; the last panel is padded with zero rows
};

// Weights of a linear layer, [rows (outputs), cols (inputs)]. Borrows `data`.
struct Matrix {
  DType type = DType::kF32;
  MatrixLayout layout = MatrixLayout::kRows;
  std::size_t rows = 0;
  std::size_t cols = 0;
  const std::uint8_t* data = nullptr;

  std::size_t panels() const noexcept { return (rows + kPanelRows - 1) / kPanelRows; }
};

// Whether integer panel kernels exist for a type at this width (cols must be a multiple of the type's block).
bool has_panel_kernel(DType type, std::size_t cols) noexcept;
// Bytes of one packed panel; kPanels only.
std::size_t panel_bytes(DType type, std::size_t cols) noexcept;
// Packs file rows [16 * panel, 16 * panel + n) (n <= 16; `rows` points at the first) into `out`, panel_bytes long, 64-byte aligned.
void pack_panel(DType type, const std::uint8_t* rows, std::size_t n, std::size_t cols, std::uint8_t* out) noexcept;

// Rows of x, in both forms the kernels read. q, scale and sum are filled by KernelTable::quantize_rows and may be null if only kRows
// matrices are multiplied.
struct Activations {
  std::size_t rows = 0;
  std::size_t cols = 0;
  const float* x = nullptr;     // [rows, cols]
  std::int8_t* q = nullptr;     // [rows, cols] round(x / scale), in [-127, 127]
  float* scale = nullptr;       // [rows, cols / 32] max|x| / 127 of the group
  std::int32_t* sum = nullptr;  // [rows, cols / 16] sums of q over halves of a group
};

struct MatmulTask {
  const Matrix* w = nullptr;
  std::size_t panel_begin = 0;  // panels [begin, end) of 16 rows each; also with kRows
  std::size_t panel_end = 0;
  const Activations* x = nullptr;
  const std::uint32_t* x_rows = nullptr;  // [tokens] rows of x to use; nullptr: 0..tokens-1
  std::size_t tokens = 0;
  float* y = nullptr;  // y[t * y_stride + row] for row < w->rows
  std::size_t y_stride = 0;
  float* scratch = nullptr;  // kMatmulScratch floats of this thread, 64-byte aligned
};
inline constexpr std::size_t kMatmulScratch = 16 * 1024;

// Filled once per ISA (matmul_scalar.cc, matmul_avx2.cc, matmul_avx512.cc).
struct MatmulKernels {
  void (*quantize_rows)(Activations& x, std::size_t row_begin, std::size_t row_end) noexcept = nullptr;
  void (*matmul)(const MatmulTask& task) noexcept = nullptr;  // overwrites y
};
const MatmulKernels& matmul_scalar() noexcept;
const MatmulKernels& matmul_avx2() noexcept;
const MatmulKernels& matmul_avx512() noexcept;

}  // namespace gritstone

// kRows products: exact weights in f32, one loop nest compiled per ISA. Included inside a target region after a Vec16, with kTileRows
// and kTileTokens defined.
//
// Column 16 i + l of a row adds to partial sum l in ascending i (fused multiply-add); the sixteen partial sums are then added in halves:
// l and l + 8, + 4, + 2, + 1. Columns missing from the last sixteen count as zeros.

namespace gritstone {
namespace {

// Not std::min: a std template first instantiated here could be compiled for this ISA and shared with the rest of the program.
inline std::size_t smaller(std::size_t a, std::size_t b) noexcept { return a < b ? a : b; }

// How sixteen weights of a row are read. F32 also serves the types that are dequantised into the scratch first.
struct F32Rows {
  using Element = float;
  [[gnu::always_inline]] static inline Vec16 load(const Element* p) noexcept { return Vec16::load(p); }
};
struct F16Rows {
  using Element = std::uint16_t;
  [[gnu::always_inline]] static inline Vec16 load(const Element* p) noexcept { return Vec16::load_f16(p); }
};
struct BF16Rows {
  using Element = std::uint16_t;
  [[gnu::always_inline]] static inline Vec16 load(const Element* p) noexcept { return Vec16::load_bf16(p); }
};

struct RowsTile {
  const std::uint8_t* w;  // first row's bytes at this chunk; may be unaligned to the element
  std::size_t w_stride;   // bytes
  const float* x[kTileTokens];
  std::size_t cols;  // of this chunk
  Vec16* carry;      // partial sums [R * T] of earlier chunks, or nullptr
  bool last;         // reduce into y, else back into carry
  float* y;
  std::size_t y_stride;
};

template <class Rows, int R, int T>
void rows_tile(const RowsTile& tile) noexcept {
  using Element = typename Rows::Element;
  const Element* w[R];
  for (int r = 0; r < R; ++r) w[r] = reinterpret_cast<const Element*>(tile.w + static_cast<std::size_t>(r) * tile.w_stride);
  Vec16 acc[R][T];
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) acc[r][t] = tile.carry != nullptr ? tile.carry[r * T + t] : Vec16::set1(0.0f);
  }
  std::size_t k = 0;
  for (; k + 16 <= tile.cols; k += 16) {
    Vec16 weights[R];
    for (int r = 0; r < R; ++r) weights[r] = Rows::load(w[r] + k);
    for (int t = 0; t < T; ++t) {
      const Vec16 x = Vec16::load(tile.x[t] + k);
      for (int r = 0; r < R; ++r) acc[r][t] = Vec16::fma(weights[r], x, acc[r][t]);
    }
  }
  if (k < tile.cols) {
    const std::size_t rest = tile.cols - k;
    for (int r = 0; r < R; ++r) {
      Element padded[16] = {};
      std::memcpy(padded, w[r] + k, rest * sizeof(Element));
      const Vec16 weights = Rows::load(padded);
      for (int t = 0; t < T; ++t) {
        float x[16] = {};
        std::memcpy(x, tile.x[t] + k, rest * sizeof(float));
        acc[r][t] = Vec16::fma(weights, Vec16::load(x), acc[r][t]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) {
      if (tile.last) {
        tile.y[static_cast<std::size_t>(t) * tile.y_stride + static_cast<std::size_t>(r)] = acc[r][t].sum();
      } else {
        tile.carry[r * T + t] = acc[r][t];
      }
    }
  }
}

template <class Rows, int R>
void rows_tile_of(const RowsTile& tile, std::size_t tokens) noexcept {
  switch (tokens) {
    case 1:
      return rows_tile<Rows, R, 1>(tile);
    case 2:
      return rows_tile<Rows, R, 2>(tile);
    case 3:
      if constexpr (kTileTokens >= 3) return rows_tile<Rows, R, 3>(tile);
      break;
    case 4:
      if constexpr (kTileTokens >= 4) return rows_tile<Rows, R, 4>(tile);
      break;
    case 5:
      if constexpr (kTileTokens >= 5) return rows_tile<Rows, R, 5>(tile);
      break;
    default:
      if constexpr (kTileTokens >= 6) return rows_tile<Rows, R, 6>(tile);
  }
}

template <class Rows>
void run_rows_tile(const RowsTile& tile, std::size_t rows, std::size_t tokens) noexcept {
  if (rows == kTileRows) return rows_tile_of<Rows, kTileRows>(tile, tokens);
  RowsTile one = tile;  // the last rows of a matrix: one at a time
  for (std::size_t r = 0; r < rows; ++r, one.w += tile.w_stride, ++one.y) rows_tile_of<Rows, 1>(one, tokens);
}

inline void set_tokens(const MatmulTask& task, std::size_t first, std::size_t tokens, std::size_t column, RowsTile& tile) noexcept {
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::size_t row = task.x_rows != nullptr ? task.x_rows[first + t] : first + t;
    tile.x[t] = task.x->x + row * task.w->cols + column;
  }
}

// F32, F16, BF16: rows read where they lie. Token blocks keep their part of x (256 KiB) in L2 while every row of the task passes.
template <class Rows>
void multiply_stored(const MatmulTask& task) noexcept {
  const Matrix& w = *task.w;
  const std::size_t stride = row_bytes(w.type, w.cols);
  const std::size_t end = smaller(task.panel_end * kPanelRows, w.rows);
  const std::size_t token_block = (1 + 64 * 1024 / (w.cols * kTileTokens)) * kTileTokens;
  RowsTile tile{};
  tile.w_stride = stride;
  tile.cols = w.cols;
  tile.last = true;
  tile.y_stride = task.y_stride;
  for (std::size_t block = 0; block < task.tokens; block += token_block) {
    const std::size_t block_end = smaller(block + token_block, task.tokens);
    for (std::size_t row = task.panel_begin * kPanelRows; row < end; row += kTileRows) {
      tile.w = w.data + row * stride;
      const std::size_t rows = smaller(kTileRows, end - row);
      for (std::size_t t = block; t < block_end; t += kTileTokens) {
        const std::size_t tokens = smaller(kTileTokens, block_end - t);
        set_tokens(task, t, tokens, 0, tile);
        tile.y = task.y + t * task.y_stride + row;
        run_rows_tile<Rows>(tile, rows, tokens);
      }
    }
  }
}

// Quantised rows: kTileRows of them as f32 in the scratch, once for all tokens; rows too wide for that, in chunks and again for each tile.
inline void multiply_dequantised(const MatmulTask& task) noexcept {
  const Matrix& w = *task.w;
  const std::size_t stride = row_bytes(w.type, w.cols);
  const std::size_t end = smaller(task.panel_end * kPanelRows, w.rows);
  constexpr std::size_t kChunk = kMatmulScratch / kTileRows;  // a multiple of 256, so chunks start on blocks and on sixteen columns
  static_assert(kChunk % 256 == 0);
  RowsTile tile{};
  tile.w = reinterpret_cast<const std::uint8_t*>(task.scratch);
  tile.y_stride = task.y_stride;
  Vec16 carry[kTileRows * kTileTokens];
  for (std::size_t row = task.panel_begin * kPanelRows; row < end; row += kTileRows) {
    const std::size_t rows = smaller(kTileRows, end - row);
    for (std::size_t t = 0; t < task.tokens; t += kTileTokens) {
      const std::size_t tokens = smaller(kTileTokens, task.tokens - t);
      tile.y = task.y + t * task.y_stride + row;
      for (std::size_t k = 0; k < w.cols; k += kChunk) {
        tile.cols = smaller(kChunk, w.cols - k);
        tile.w_stride = tile.cols * sizeof(float);
        if (t == 0 || w.cols > kChunk) {
          for (std::size_t r = 0; r < rows; ++r) {
            dequantize_row(w.type, w.data + (row + r) * stride + row_bytes(w.type, k), task.scratch + r * tile.cols, tile.cols);
          }
        }
        tile.last = k + tile.cols == w.cols;
        set_tokens(task, t, tokens, k, tile);
        RowsTile part = tile;
        for (std::size_t r = 0; r < rows; ++r, part.w += tile.w_stride, ++part.y) {
          if (w.cols <= kChunk && rows == kTileRows) {
            rows_tile_of<F32Rows, kTileRows>(part, tokens);
            break;
          }
          part.carry = k > 0 || !part.last ? carry + r * kTileTokens : nullptr;
          for (std::size_t i = 0; k == 0 && part.carry != nullptr && i < kTileTokens; ++i) part.carry[i] = Vec16::set1(0.0f);
          rows_tile_of<F32Rows, 1>(part, tokens);
        }
      }
    }
  }
}

inline void matmul_rows(const MatmulTask& task) noexcept {
  switch (task.w->type) {
    case DType::kF32:
      return multiply_stored<F32Rows>(task);
    case DType::kF16:
      return multiply_stored<F16Rows>(task);
    case DType::kBF16:
      return multiply_stored<BF16Rows>(task);
    default:
      return multiply_dequantised(task);
  }
}

}  // namespace
}  // namespace gritstone

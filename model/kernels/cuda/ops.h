// Every op of the CUDA backend: what it computes, on which shapes. All pointers are device memory unless stated; all ops are queued on
// `stream` and return at once. They throw Error(kDevice) if a launch fails. Activations are f32 [rows, width] where they carry the residual
// stream, two bytes (HalfType) where the tensor cores read them.
//
// Two families: "vec" ops for steps of at most kVecRows rows, where the weights' bytes are the cost, and matrix ops for larger ones.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "model/kernels/top_logits.h"

namespace gritstone::cuda {

inline constexpr std::uint32_t kVecRows = 8;
inline constexpr std::uint32_t kPageSlots = 64;  // kKvBlock

using Stream = cudaStream_t;
using bf16 = __nv_bfloat16;

enum class WeightFormat : std::uint8_t { kF32, kBF16, kInt4, kInt8 };

// The type of two-byte activations and of the weights they meet in the tensor cores. f16 has three bits more than bf16, and the values of
// integer codes and what is multiplied with them lie within its range (larger activations become its largest); bf16 weights may not.
enum class HalfType : std::uint8_t { kBF16, kF16 };
constexpr HalfType half_type(WeightFormat format) { return format == WeightFormat::kBF16 ? HalfType::kBF16 : HalfType::kF16; }
using half_bits = std::uint16_t;

// Weights of a linear layer y = W x, [experts][rows (outputs), cols (inputs)]. Element = min + scale * code for the integer formats.
struct DeviceMatrix {
  WeightFormat format = WeightFormat::kBF16;
  std::uint32_t group = 32;  // int4, int8: columns that share a pair; 16 or 32
  std::uint32_t experts = 1;
  std::uint32_t rows = 0;
  std::uint32_t cols = 0;  // f32, bf16: a multiple of 8; int4, int8: of 32
  // f32 or bf16 values; int8: signed codes; int4: 16 bytes per 32 columns, column i of the first sixteen in the low nibble of byte i,
  // column 16 + i in the high one (0 .. 15).
  const void* values = nullptr;
  const __half2* pairs = nullptr;  // [experts][rows][cols / group] {scale, min}
};

// KV pages: [pages][layers][2 (K, V)][kv_heads][kPageSlots][head_dim] bf16. K is stored before RoPE. Positions and groups lie beside, by
// physical slot (page * kPageSlots + slot % kPageSlots).
struct KvView {
  bf16* memory = nullptr;
  std::int32_t* positions = nullptr;
  std::int32_t* groups = nullptr;
  std::uint32_t layers = 0, kv_heads = 0, head_dim = 0;

  __host__ __device__ bf16* block(std::uint32_t page, std::uint32_t layer, bool value, std::uint32_t head) const {
    return memory + (((static_cast<std::size_t>(page) * layers + layer) * 2 + (value ? 1 : 0)) * kv_heads + head) * kPageSlots * head_dim;
  }
};

// The step's rows, by column.
struct StepView {
  std::uint32_t rows = 0;
  const std::int32_t* token = nullptr;
  const std::int32_t* sequence = nullptr;  // index of the row's page table
  const std::int32_t* slot = nullptr;      // where the row's K and V go in its sequence
  const std::int32_t* visible = nullptr;   // sees slots [0, visible) of its sequence
  const std::int32_t* position = nullptr;
  const std::int32_t* group = nullptr;        // -1: sees every group; g: sees groups 0 and g
  const std::uint32_t* page_table = nullptr;  // [sequences][table_stride]: page of slots [64 i, 64 i + 64)
  std::uint32_t table_stride = 0;
};

// cos and sin, [context, head_dim / 2] f32 each.
struct RopeView {
  const float* cos = nullptr;
  const float* sin = nullptr;
};

// ---- embed_rows.cu
// x[r] = row token[r] of the table.
void embed_rows(Stream stream, const DeviceMatrix& table, const std::int32_t* token, std::uint32_t rows, float* x);

// ---- gather_rows.cu
// to[r] = from[index[r]], rows of row_bytes, a multiple of 16.
void gather_rows(Stream stream, const void* from, const std::int32_t* index, std::uint32_t rows, std::size_t row_bytes, void* to);

// ---- pool_rows.cu
// sums[i] [width] += the weighted rows of range i of x, as PoolRows (model/ops/pool.h). count <= 65535.
struct PoolRange {
  std::uint32_t row = 0, rows = 0;
  double first_weight = 1, weight_step = 0;
};
void pool_rows(Stream stream, const float* x, std::uint32_t width, const PoolRange* ranges, std::uint32_t count, double* sums);

// ---- rms_norm.cu
// out[r] = x[index[r]] / sqrt(mean(x^2) + eps) * weight; index null: r. Either output may be null. width: a multiple of 4.
void rms_norm(Stream stream, const float* x, const std::int32_t* index, std::uint32_t rows, std::uint32_t width, const float* weight,
              float eps, half_bits* out_half, HalfType type, float* out_f32);

// ---- vec_linear.cu: rows <= kVecRows
// y[t, r] (+)= W[r] . norm(x[t]); norm_weight null: x as it is. x f32 [rows, cols] (index as in rms_norm), y f32 [rows, w.rows].
// int4, int8: x is rounded to int8 per 32 columns (scale max|x| / 127), as the CPU's integer kernels do.
void vec_linear(Stream stream, const DeviceMatrix& w, const float* x, const std::int32_t* index, const float* norm_weight, float eps,
                std::uint32_t rows, float* y, bool add);

// ---- vec_experts.cu: rows <= kVecRows
// Softmax over the logits in f32, the `used` largest (ties: lower id) and their weights (divided by their sum if `normalise`).
struct Routing {
  float* probabilities = nullptr;  // [rows, experts]; may be null
  std::int32_t* chosen = nullptr;  // [rows, used]
  float* weights = nullptr;        // [rows, used]
  std::uint32_t used = 1;
  bool normalise = false;
};
// Every block routes anew; block 0 of a row also writes probabilities, chosen and weights. logits null (dense): expert 0, weight 1.
// Rows of gate_up alternate: 2 i is gate i, 2 i + 1 is up i. h [rows, used, ffn] = silu(gate . norm(x)) * (up . norm(x)).
struct VecRouting : Routing {
  const float* logits = nullptr;  // [rows, experts]
};
void vec_experts_gate_up(Stream stream, const DeviceMatrix& gate_up, const float* x, const float* norm_weight, float eps,
                         std::uint32_t rows, const VecRouting& routing, float* h);
// x[t] += sum_j weights[t, j] * W_down[chosen[t, j]] . h[t, j], j in order.
void vec_experts_down(Stream stream, const DeviceMatrix& down, const float* h, const std::int32_t* chosen, const float* weights,
                      std::uint32_t used, std::uint32_t rows, float* x);

// ---- gemm.cu: the tile kernel, any number of rows
// y [rows, w.rows] (+)= x W^T, f32 sums; x of half_type(w.format). Any format but f32; w.experts == 1. pinned: the same bits whatever the
// number of rows.
void gemm(Stream stream, const DeviceMatrix& w, const half_bits* x, std::uint32_t rows, float* y, bool add, bool pinned = false);
// y [rows, w.rows] = x W^T rounded to `type`, which halves the bytes to write and to read again. REQUIRES: gemm_half_takes(w, rows)
// (Hopper, bf16 weights, so many rows that it pays) and w.cols a multiple of 8.
bool gemm_half_takes(const DeviceMatrix& w, std::uint32_t rows);
void gemm_half(Stream stream, const DeviceMatrix& w, const half_bits* x, std::uint32_t rows, half_bits* y, HalfType type);
// Pairs (row, choice) sorted by expert: pair p reads row row_of_pair[p]; expert e owns [offsets[e], offsets[e + 1]).
struct ExpertPairs {
  std::uint32_t pairs = 0;
  std::int32_t* offsets = nullptr;         // [experts + 1]
  std::int32_t* row_of_pair = nullptr;     // [pairs]
  std::int32_t* pair_of_choice = nullptr;  // [rows * used]
  std::uint32_t* tickets = nullptr;        // [kTickets] of the products, one each; set to 0 by sort_pairs
};
inline constexpr std::uint32_t kTickets = 2;
// h [pairs, ffn] = silu(gate) * up of the pair's row of x [rows, cols], of type h_type; gate_up's rows alternate as above.
void experts_gate_up_gemm(Stream stream, const DeviceMatrix& gate_up, const half_bits* x, const ExpertPairs& pairs, half_bits* h,
                          HalfType h_type, bool pinned = false);
// y [pairs, down.rows] = W_down[expert of the pair] . h[pair], of h's type: half_type(down.format).
void experts_down_gemm(Stream stream, const DeviceMatrix& down, const half_bits* h, const ExpertPairs& pairs, half_bits* y,
                       bool pinned = false);

// ---- linear_f32.cu
// y [rows, w.rows] = x W^T, f32 weights and activations; the same bits whatever the number of rows.
void linear_f32(Stream stream, const DeviceMatrix& w, const float* x, std::uint32_t rows, float* y);

// ---- route.cu
// In place: logits [rows, experts] become probabilities; chosen and weights as in Routing. experts <= 256, used <= 32.
void route(Stream stream, float* logits, std::uint32_t rows, std::uint32_t experts, std::uint32_t used, bool normalise,
           std::int32_t* chosen, float* weights);

// ---- norm_route.cu
// out_half [rows, width] = RMSNorm of x f32 [rows, width]; routing: of the logits router . RMSNorm(x). used <= 32. The logits are f32 sums
// of bf16 products on the tensor cores: each factor is a high and a low part (together right to 2^-17), and low * low is left out, so that
// a product is off by at most 2^-15 of itself, typically 2^-18; the two-byte activations that gave x were off by up to 2^-8 (bf16) or 2^-11
// (f16).
void norm_route(Stream stream, const float* x, std::uint32_t rows, const float* norm_weight, float eps, const DeviceMatrix& router,
                const Routing& routing, half_bits* out_half, HalfType type);
// The routers it takes: f32 [experts, width].
constexpr bool norm_route_takes(const DeviceMatrix& router) {
  return router.format == WeightFormat::kF32 && router.experts == 1 && router.rows <= 64 && router.cols % 32 == 0;
}

// ---- sort_pairs.cu
// Stable counting sort of chosen [rows, used] by expert; sets the tickets to 0. `scratch` has sort_scratch_ints(...) entries.
void sort_pairs(Stream stream, const std::int32_t* chosen, std::uint32_t rows, std::uint32_t used, std::uint32_t experts,
                std::int32_t* scratch, const ExpertPairs& out);
std::size_t sort_scratch_ints(std::uint32_t rows, std::uint32_t used, std::uint32_t experts);

// ---- combine_experts.cu
// RMSNorm of the first `rows` rows that come out, as the next layer wants them; weight null: none.
struct NextNorm {
  const float* weight = nullptr;  // [width]
  float eps = 0;
  std::uint32_t rows = 0;
  half_bits* out = nullptr;  // [rows, width]
  HalfType type = HalfType::kBF16;
};
// width: a multiple of 8.
// x[r] += sum_j weights[r, j] * y[pair_of_choice[r * used + j]], j in order.
void combine_experts(Stream stream, const half_bits* y, HalfType type, const std::int32_t* pair_of_choice, const float* weights,
                     std::uint32_t rows, std::uint32_t used, std::uint32_t width, float* x, const NextNorm& next = {});

// ---- qkv_norm_rope_store.cu
struct QkvArguments {
  // [rows, heads * dim + 2 * kv_heads * dim]: q, k, v of a row; exactly one of the two.
  const float* qkv = nullptr;
  const half_bits* qkv_half = nullptr;  // dim: a multiple of 16
  HalfType qkv_type = HalfType::kF16;   // of qkv_half
  const float* q_norm = nullptr;        // RMSNorm over the whole q (k) of a row; null: none
  const float* k_norm = nullptr;
  float eps = 0, clip = 0;   // clip > 0: q, k (after their norms) and v are clamped to [-clip, clip]
  bool interleaved = false;  // pairs (2i, 2i+1) of each head are first brought to (i, i + dim / 2)
  std::uint32_t heads = 0;
  RopeView rope;
  float* q = nullptr;        // out [rows, heads * dim], rotated and multiplied with 1 / sqrt(dim); may be null
  __half* q_half = nullptr;  // out, the same times log2(e), in f16 (what it cannot hold becomes its largest); may be null
  float* probe = nullptr;    // out [rows, 2 * kv_heads * dim]: K before its rotation, then V, in f32; may be null
  // Out, rotated K as attention_tiles takes it, where key_first of the row's sequence is not negative; may be null.
  __half* keys = nullptr;
  const std::int32_t* key_first = nullptr;  // [sequences]: AttentionTile::key_block
};
// K (not rotated) and V go to the rows' slots as bf16; positions and groups of the slots are set when layer == 0. rows: the first rows of
// the step. dim: a multiple of 8; a row's q at most 8,192 wide, in two bytes 16,384.
void qkv_norm_rope_store(Stream stream, const QkvArguments& arguments, const StepView& step, std::uint32_t rows, const KvView& kv,
                         std::uint32_t layer);

// ---- attention: softmax(q K^T) V over the row's visible slots; K is rotated to its slot's position on the way. GQA: heads / kv_heads
// query heads share a KV head. Outputs [step rows, heads * dim]; either may be null.
struct AttentionArguments {
  const float* q = nullptr;        // attention_vec's queries
  const __half* q_half = nullptr;  // attention_tiles': QkvArguments::q_half
  std::uint32_t heads = 0;
  std::uint32_t layer = 0;
  bool grouped = false;  // some slot has a group other than 0 and -1
  RopeView rope;
  float* out_f32 = nullptr;
  half_bits* out_half = nullptr;
  HalfType half_type = HalfType::kBF16;  // of out_half
};
// attention_vec.cu: few queries; each KV head's blocks are shared out over `splits` thread blocks and combined in order.
// row_list [rows]: the step's rows to do. workspace: attention_vec_workspace(...) floats. Any head_dim that is a multiple of 8 up to 256.
void attention_vec(Stream stream, const AttentionArguments& arguments, const StepView& step, const std::int32_t* row_list,
                   std::uint32_t rows, std::uint32_t splits, const KvView& kv, float* workspace);
std::size_t attention_vec_workspace(std::uint32_t rows, std::uint32_t heads, std::uint32_t head_dim, std::uint32_t splits);
// attention_tiles.cu: many queries of a sequence, on the tensor cores. A tile is up to kTileRows consecutive rows of one sequence.
inline constexpr std::uint32_t kTileRows = 128;
struct AttentionTile {
  std::int32_t sequence = 0;
  std::int32_t row = 0;  // of the step
  std::int32_t rows = 0;
  std::int32_t visible = 0;    // the most any of its rows sees
  std::int32_t key_block = 0;  // of its sequence's first 64 keys in `keys`
};
// keys: K of every sequence in the tiles, rotated, [blocks][kv_heads][kPageSlots][head_dim] f16. qkv_norm_rope_store fills in the step's
// own rows, rotate_keys the other slots from their pages. Slots at or beyond `visible` of every row may hold anything finite.
struct KeyBlock {
  std::int32_t sequence = 0;
  std::int32_t block = 0;                // of the sequence
  std::int32_t slots = 0;                // in use, 1 .. 64; the rest is set to zero
  std::int32_t at = 0;                   // block of `keys`
  std::uint32_t others[2] = {~0u, ~0u};  // bit i % 32 of [i / 32]: slot i is none of the step's own rows
};
void rotate_keys(Stream stream, const KeyBlock* block_list, std::uint32_t blocks, const StepView& step, const KvView& kv,
                 std::uint32_t layer, const RopeView& rope, __half* keys);
// head_dim: a multiple of 16 up to 128.
void attention_tiles(Stream stream, const AttentionArguments& arguments, const StepView& step, const AttentionTile* tiles,
                     std::uint32_t tile_count, const KvView& kv, const __half* keys);

// ---- span_rows.cu: between the planes of a span (base/kv_span.h; one layer's bytes, on the device) and the pages
struct SpanRows {
  const std::uint8_t* layer = nullptr;  // the span's layer: planes of K of every head, then V
  std::uint8_t type = 0;                // KvType
  std::uint32_t span_tokens = 0;        // of the whole span
  std::uint32_t offset = 0, length = 0;
  std::uint32_t slot = 0;                // first slot in the sequence
  const std::uint32_t* pages = nullptr;  // of the sequence
};
// Decodes tokens [offset, offset + length) into their slots, rounded to bf16.
void store_span_rows(Stream stream, const SpanRows& rows, const KvView& kv, std::uint32_t layer);
// positions[slot] = position + i, groups[slot] = group for the segment's slots.
void place_slots(Stream stream, const std::uint32_t* pages, std::uint32_t slot, std::uint32_t length, std::int32_t position,
                 std::int32_t group, const KvView& kv);
// K and V of slots [slot, slot + count) as a bf16 span: all layers, [layers][K heads, V heads][count][head_dim].
void gather_span(Stream stream, const std::uint32_t* pages, std::uint32_t slot, std::uint32_t count, const KvView& kv, bf16* out);

// ---- flat_search.cu: exact inner products
// The k best of n vectors [n, dim] f16 for each query [queries, dim] f16 (f32 sums): ids and scores [queries, k], best first, ties by the
// lower id; -1 and -inf where n < k. REQUIRES: 1 <= k <= kMaxTopK, n < 2^32 - 1, dim a multiple of 8.
// workspace: flat_search_workspace(...) bytes.
inline constexpr std::uint32_t kMaxTopK = 256;
class Blas;
void flat_search(Stream stream, Blas& blas, const __half* vectors, std::size_t n, std::uint32_t dim, const __half* queries,
                 std::uint32_t query_count, std::uint32_t k, void* workspace, std::int64_t* ids, float* scores);
std::size_t flat_search_workspace(std::size_t n, std::uint32_t query_count, std::uint32_t k);

// ---- top_logits.cu
// top [rows, k]: the k largest finite logits of each row of [rows, vocab] f32, as gritstone::top_logits() gives them
// (model/kernels/top_logits.h). top may be page-locked host memory, which spares a copy: it is written once, in whole lines. REQUIRES: 1 <=
// k <= kMaxTopK, vocab >= 1. workspace: top_logits_workspace(...) bytes.
static_assert(kMaxTopLogits <= kMaxTopK);
void top_logits(Stream stream, const float* logits, std::uint32_t rows, std::uint32_t vocab, std::uint32_t k, void* workspace,
                TopLogit* top);
std::size_t top_logits_workspace(std::uint32_t rows, std::uint32_t vocab, std::uint32_t k);

}  // namespace gritstone::cuda

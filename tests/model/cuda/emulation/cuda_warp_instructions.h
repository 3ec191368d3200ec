// The instructions that model/kernels/cuda/warp.cuh writes in PTX, as documented there. Included inside of its namespace.
#pragma once

// A fixed address with the block's poisoned memory of exactly the bytes asked for at the launch.
#define GS_DYNAMIC_SHARED(name) unsigned char* const name = ::emulation::dynamic_shared()

inline void emulate_mma(bool f16, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], const char* file, int line) {
  std::uint32_t fragments[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const auto instruction = f16 ? ::emulation::Instruction::kMmaF16 : ::emulation::Instruction::kMma;
  ::emulation::Exchange& met = ::emulation::meet_warp(instruction, kAllLanes, fragments, sizeof(fragments), file, line);
  const auto& product = ::emulation::multiply_tiles(met, f16);
  const unsigned g = ::emulation::lane_index() / 4, t = ::emulation::lane_index() % 4;
  d[0] += product[g][2 * t];
  d[1] += product[g][2 * t + 1];
  d[2] += product[g + 8][2 * t];
  d[3] += product[g + 8][2 * t + 1];
}

inline void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], GS_EMULATED_PLACE) {
  emulate_mma(false, d, a, b, file, line);
}
inline void mma_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], GS_EMULATED_PLACE) {
  emulate_mma(true, d, a, b, file, line);
}

inline void check_aligned(const void* p, const char* file, int line) {
  if (reinterpret_cast<std::uintptr_t>(p) % 16 != 0) ::emulation::fail("an address that is no multiple of 16 bytes", file, line);
}

// The four matrices as they are when the last lane arrives.
inline const std::uint16_t (&met_matrices(::emulation::Exchange& met))[32][8] {
  using Rows = std::uint16_t[32][8];
  Rows& rows = *reinterpret_cast<Rows*>(met.result);
  if (!met.combined) {
    met.combined = true;
    for (unsigned lane = 0; lane < 32; ++lane) std::memcpy(rows[lane], met.lane<const void*>(lane), 16);
  }
  return rows;
}

inline void ldmatrix(std::uint32_t (&r)[4], const void* row, GS_EMULATED_PLACE) {
  check_aligned(row, file, line);
  const auto& rows = met_matrices(::emulation::meet_warp(::emulation::Instruction::kLoadMatrix, kAllLanes, &row, sizeof(row), file, line));
  const unsigned g = ::emulation::lane_index() / 4, t = ::emulation::lane_index() % 4;
  for (unsigned m = 0; m < 4; ++m) r[m] = rows[8 * m + g][2 * t] | std::uint32_t{rows[8 * m + g][2 * t + 1]} << 16;
}
inline void ldmatrix_transposed(std::uint32_t (&r)[4], const void* row, GS_EMULATED_PLACE) {
  check_aligned(row, file, line);
  const auto& rows =
      met_matrices(::emulation::meet_warp(::emulation::Instruction::kLoadMatrixTransposed, kAllLanes, &row, sizeof(row), file, line));
  const unsigned g = ::emulation::lane_index() / 4, t = ::emulation::lane_index() % 4;
  for (unsigned m = 0; m < 4; ++m) r[m] = rows[8 * m + 2 * t][g] | std::uint32_t{rows[8 * m + 2 * t + 1][g]} << 16;
}

inline void copy_async(void* shared, const void* global, bool valid, GS_EMULATED_PLACE) {
  check_aligned(shared, file, line);
  if (valid) check_aligned(global, file, line);
  ::emulation::queue_copy(shared, valid ? global : nullptr);
}
inline void copy_async_commit() { ::emulation::commit_copies(); }
template <int N>
void copy_async_wait() {
  ::emulation::wait_for_copies(N);
}

template <int kThreads>
void sync_block(GS_EMULATED_PLACE) {
  if (kThreads != blockDim.x) ::emulation::fail("a barrier of another number of threads than the block has", file, line);
  ::emulation::meet_block(false, file, line);
}

inline uint4 load_once(const void* p, GS_EMULATED_PLACE) {
  check_aligned(p, file, line);
  uint4 value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

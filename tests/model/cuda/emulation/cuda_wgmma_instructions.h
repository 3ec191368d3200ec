// The instructions that model/kernels/cuda/wgmma.cuh writes in PTX, as documented there. Included inside of its namespace. When products
// are made, at once or when they are waited for: emulated_block.h.
#pragma once

inline void wgmma_fence_shared() {}
inline void wgmma_begin() {}
inline void wgmma_commit() { ::emulation::commit_products(); }
// All of the group have made theirs.
template <int N>
void wgmma_wait(GS_EMULATED_PLACE) {
  ::emulation::wait_for_products(N);
  ::emulation::meet_warpgroup(file, line);
}
template <int kTiles>
void wgmma_hold(float (&)[kTiles][4]) {}
template <int kSteps>
void wgmma_hold(std::uint32_t (&)[kSteps][4]) {}

// The two bytes at an offset of a swizzled matrix, as a number.
template <HalfType kType>
float wgmma_element(const void* matrix, std::size_t offset) {
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(matrix) + offset;
  const std::uintptr_t place = address ^ ((address >> 7 & 7) << 4);
  std::uint16_t bits;
  std::memcpy(&bits, reinterpret_cast<const void*>(place), sizeof(bits));
  if constexpr (kType == HalfType::kBF16) return bf16_low(bits);
  return ::emulation::f16_value(bits);
}

template <HalfType kType>
void wgmma_64x256(float (&sums)[32][4], const void* left, const void* right) {
  const auto run = [](void* d, const void* a, const void* b) {
    const unsigned lane = threadIdx.x % 32, first = threadIdx.x / 32 % 4 * 16 + lane / 4;
    for (unsigned j = 0; j < 32; ++j) {
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned row = first + i / 2 * 8, output = 8 * j + 2 * (lane % 4) + i % 2;
        float sum = 0;
        for (unsigned k = 0; k < 16; ++k) {
          sum += wgmma_element<kType>(a, row * 128 + k * 2) * wgmma_element<kType>(b, output * 128 + k * 2);
        }
        static_cast<float(*)[4]>(d)[j][i] += sum;
      }
    }
  };
  ::emulation::queue_product(run, sums, left, right);
}

// d (+)= a b for sixteen columns of a and rows of b, 8 kTiles columns; offset_of(k, column) is the place of b's element.
template <HalfType kType, int kTiles, class Offset>
void wgmma_step(float (*d)[4], const std::uint32_t (&a)[4], const void* b, bool add, const Offset& offset_of) {
  ::emulation::Exchange& met = ::emulation::meet_warp(::emulation::Instruction::kWarpgroup, kAllLanes, a, sizeof(a), __FILE__, __LINE__);
  if (!met.combined) {
    met.combined = true;
    float right[16][128];
    for (unsigned k = 0; k < 16; ++k) {
      for (unsigned column = 0; column < 8 * kTiles; ++column) right[k][column] = wgmma_element<kType>(b, offset_of(k, column));
    }
    ::emulation::multiply_warp(met, kType == HalfType::kF16, right[0], 8 * kTiles);
  }
  const auto& product = *reinterpret_cast<const ::emulation::WarpProduct*>(met.result);
  const unsigned row = ::emulation::lane_index() / 4, column = ::emulation::lane_index() % 4 * 2;
  for (unsigned j = 0; j < kTiles; ++j) {
    for (unsigned i = 0; i < 4; ++i) d[j][i] = (add ? d[j][i] : 0.0f) + product[row + i / 2 * 8][8 * j + column + i % 2];
  }
}

inline void sync_warpgroup(std::uint32_t, GS_EMULATED_PLACE) { ::emulation::meet_warpgroup(file, line); }

template <int kSteps>
void wgmma_by_rows(float (&sums)[16][4], const std::uint32_t (&left)[kSteps][4], const void* right) {
  const auto run = [](void* d, const void* a, const void* b) {
    for (unsigned step = 0; step < kSteps; ++step) {
      // Pieces of 64 columns, each 128 rows of 128 bytes.
      wgmma_step<HalfType::kF16, 16>(static_cast<float(*)[4]>(d), static_cast<const std::uint32_t(*)[4]>(a)[step], b, step > 0,
                                     [&](unsigned k, unsigned column) {
                                       const unsigned element = step * 16 + k;
                                       return element / 64 * 128 * 128 + column * 128 + element % 64 * 2;
                                     });
    }
  };
  ::emulation::queue_product(run, sums, left, right);
}

template <int kTiles>
void wgmma_by_columns(float (&sums)[kTiles][4], const std::uint32_t (&left)[8][4], const void* right) {
  const auto run = [](void* d, const void* a, const void* b) {
    for (unsigned step = 0; step < 8; ++step) {
      // The descriptor's strides: 16384 bytes from 64 columns to the next, 1024 from eight rows to the next.
      wgmma_step<HalfType::kBF16, kTiles>(
          static_cast<float(*)[4]>(d), static_cast<const std::uint32_t(*)[4]>(a)[step], b, true,
          [&](unsigned k, unsigned column) { return column / 64 * 16384 + (step * 2 + k / 8) * 1024 + k % 8 * 128 + column % 64 * 2; });
    }
  };
  ::emulation::queue_product(run, sums, left, right);
}

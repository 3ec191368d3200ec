// The instructions that model/kernels/cuda/wgmma.cuh writes in PTX, as documented there. Included inside of its namespace. Products are
// made at once: a stage that is overwritten while they run shows only on a device.
#pragma once

inline void wgmma_fence_shared() {}
inline void wgmma_begin() {}
inline void wgmma_commit() {}
// All of the group have read what they multiply.
template <int N>
void wgmma_wait(GS_EMULATED_PLACE) {
  ::emulation::meet_warpgroup(file, line);
}

// Element (row, column) of a swizzled matrix.
template <HalfType kType>
float wgmma_element(const void* matrix, unsigned row, unsigned column) {
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(matrix) + row * 128 + column * 2;
  const std::uintptr_t place = address ^ ((address >> 7 & 7) << 4);
  std::uint16_t bits;
  std::memcpy(&bits, reinterpret_cast<const void*>(place), sizeof(bits));
  return unpack_half(bits, kType).x;
}

template <HalfType kType>
void wgmma_64x256(float (&d)[32][4], const void* a, const void* b) {
  const unsigned lane = threadIdx.x % 32, first = threadIdx.x / 32 % 4 * 16 + lane / 4;
  for (unsigned j = 0; j < 32; ++j) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = first + i / 2 * 8, output = 8 * j + 2 * (lane % 4) + i % 2;
      float sum = 0;
      for (unsigned k = 0; k < 16; ++k) sum += wgmma_element<kType>(a, row, k) * wgmma_element<kType>(b, output, k);
      d[j][i] += sum;
    }
  }
}

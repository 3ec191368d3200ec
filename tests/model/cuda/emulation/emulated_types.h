// The language part of CUDA: qualifiers as macros, vector types, the built-in variables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

// A shared variable outlives its block here: one block runs at a time. Its contents at a block's start are those the last block left.
#define __shared__ static
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

#define GS_EMULATED_VECTORS(scalar, name, align2, align4)                           \
  struct name##2 {                                                                  \
    alignas(align2) scalar x;                                                       \
    scalar y;                                                                       \
  };                                                                                \
  struct name##3 {                                                                  \
    scalar x, y, z;                                                                 \
  };                                                                                \
  struct name##4 {                                                                  \
    alignas(align4) scalar x;                                                       \
    scalar y, z, w;                                                                 \
  };                                                                                \
  inline name##2 make_##name##2(scalar x, scalar y) { return {x, y}; }              \
  inline name##3 make_##name##3(scalar x, scalar y, scalar z) { return {x, y, z}; } \
  inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }

GS_EMULATED_VECTORS(signed char, char, 2, 4)
GS_EMULATED_VECTORS(unsigned char, uchar, 2, 4)
GS_EMULATED_VECTORS(short, short, 4, 8)
GS_EMULATED_VECTORS(unsigned short, ushort, 4, 8)
GS_EMULATED_VECTORS(int, int, 8, 16)
GS_EMULATED_VECTORS(unsigned, uint, 8, 16)
GS_EMULATED_VECTORS(float, float, 8, 16)
GS_EMULATED_VECTORS(long long, longlong, 16, 16)
GS_EMULATED_VECTORS(unsigned long long, ulonglong, 16, 16)
GS_EMULATED_VECTORS(double, double, 16, 16)
#undef GS_EMULATED_VECTORS

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// Set by the scheduler before it resumes a thread.
inline uint3 threadIdx;
inline uint3 blockIdx;
inline dim3 blockDim;
inline dim3 gridDim;
inline constexpr int warpSize = 32;

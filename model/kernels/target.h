// Function-level instruction sets: code between GS_TARGET_BEGIN_x and GS_TARGET_END may use ISA x, the rest of the file stays baseline.
// Place BEGIN after all includes, so that no inline function of a header is compiled for an ISA the machine may lack.
#pragma once

#if defined(__x86_64__)
#if defined(__clang__)
#define GS_TARGET_BEGIN_AVX2 _Pragma("clang attribute push(__attribute__((target(\"avx2,fma,f16c\"))), apply_to = function)")
// clang-format off
#define GS_TARGET_BEGIN_AVX512 _Pragma("clang attribute push(__attribute__((target(\"avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni\"))), apply_to = function)")
// clang-format on
#define GS_TARGET_END _Pragma("clang attribute pop")
#else
#define GS_TARGET_BEGIN_AVX2 _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma,f16c\")")
#define GS_TARGET_BEGIN_AVX512 \
  _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni\")")
#define GS_TARGET_END _Pragma("GCC pop_options")
#endif
// A test compiles the AVX-512 kernels over portable intrinsics (tests/model/simde), so that no machine leaves them untested.
#if defined(GRITSTONE_EMULATE_AVX512)
#undef GS_TARGET_BEGIN_AVX512
#undef GS_TARGET_END
#define GS_TARGET_BEGIN_AVX512
#define GS_TARGET_END
#endif
#endif

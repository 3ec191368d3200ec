# Compiler flags every target shares: warnings, hardening, sanitizers, and the floating-point rules determinism rests on.
add_library(gritstone_flags INTERFACE)
target_compile_options(gritstone_flags INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wold-style-cast
  # Contraction would fuse a*b+c differently in different tiles and compilers; kernels ask for FMA explicitly.
  -ffp-contract=off
  -fno-math-errno
  -fstack-protector-strong)
target_compile_definitions(gritstone_flags INTERFACE _GLIBCXX_ASSERTIONS GRITSTONE_VERSION="${PROJECT_VERSION}")
target_include_directories(gritstone_flags INTERFACE ${PROJECT_SOURCE_DIR})
# Values stay usable: SIMD intrinsics return vectors that some ABIs would pass differently (GCC warns once per use).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(gritstone_flags INTERFACE -Wno-psabi)
  if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 takes lengths of inlined std::string functions for negative ones (GCC bugs 105329, 105651): a screen of false warnings in -O3.
    target_compile_options(gritstone_flags INTERFACE -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread)
  endif()
endif()
if(GRITSTONE_FUZZ)
  # Coverage counters in every folder, so that the fuzzer sees which branch of a reader an input reached.
  target_compile_options(gritstone_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
target_link_options(gritstone_flags INTERFACE -pie -Wl,-z,relro,-z,now)

if(GRITSTONE_SANITIZE)
  target_compile_options(gritstone_flags INTERFACE -fsanitize=${GRITSTONE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(gritstone_flags INTERFACE -fsanitize=${GRITSTONE_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL "Release" OR CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  target_compile_options(gritstone_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()

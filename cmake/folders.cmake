# gritstone_precompile(TARGET header...): the standard headers that most files include, parsed once. Only with GRITSTONE_PCH (the presets that
# tests/run.sh builds with g++), so that the other builds, the fuzz targets' among them, still show a file that forgot an include.
option(GRITSTONE_PCH "Precompile standard headers" OFF)
function(gritstone_precompile target)
  if(GRITSTONE_PCH)
    target_precompile_headers(${target} PRIVATE <algorithm> <chrono> <filesystem> <fstream> <functional> <map> <memory> <optional> <random> <span>
      <sstream> <string> <thread> <unordered_map> <vector> ${ARGN})
  endif()
endfunction()

# gritstone_folder(NAME [DEPENDS folder...] [LINK library...]): one static library gs_NAME of all NAME/**/*.cc.
function(gritstone_folder name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${name}/*.cc)
  if(GRITSTONE_HAS_CUDA)
    list(FILTER sources EXCLUDE REGEX "/model/no_cuda\\.cc$")
  else()
    list(FILTER sources EXCLUDE REGEX "/model/(cuda_[^/]*|kernels/cuda/.*)\\.cc$")
  endif()
  if(NOT sources)
    add_library(gs_${name} INTERFACE)
    set(scope INTERFACE)
  else()
    add_library(gs_${name} STATIC ${sources})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # GCC 12's AVX-512 headers start from _mm512_undefined_*(), which it then reports at every use (GCC bug 105593).
      list(FILTER sources INCLUDE REGEX "_avx512.*\\.cc$")
      set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "-Wno-uninitialized;-Wno-maybe-uninitialized")
    endif()
    if(GRITSTONE_SANITIZE)
      # The rest compiles soonest with -Og; the tests' time is in the kernels. (Flags of their own: no header parsed beforehand.)
      file(GLOB kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${name}/kernels/*.cc)
      set_property(SOURCE ${kernels} APPEND PROPERTY COMPILE_OPTIONS -O1)
      set_property(SOURCE ${kernels} PROPERTY SKIP_PRECOMPILE_HEADERS ON)
    endif()
    gritstone_precompile(gs_${name})
    set(scope PUBLIC)
  endif()
  target_link_libraries(gs_${name} ${scope} gritstone_flags ${ARG_LINK})
  foreach(folder ${ARG_DEPENDS})
    target_link_libraries(gs_${name} ${scope} gs_${folder})
  endforeach()
endfunction()

# All test executables, without the command line (the sanitizer run needs no more), and those of optimised kernels, whose bits and speed a
# sanitizer's build does not show.
add_custom_target(unit_tests)
add_custom_target(optimised_tests)

# gritstone_tests(FOLDER library...): one test executable of all tests/FOLDER/*_test.cc, each case a ctest of its own.
function(gritstone_tests folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${folder}/*_test.cc)
  list(FILTER sources EXCLUDE REGEX "/tests/model/cuda/")
  if(NOT sources)
    return()
  endif()
  string(REPLACE "/" "_" target "test_${folder}")
  add_executable(${target} ${sources})
  gritstone_precompile(${target} <gtest/gtest.h> <gmock/gmock.h>)
  target_link_libraries(${target} PRIVATE ${ARGN} gritstone_flags GTest::gtest_main GTest::gmock)
  target_compile_definitions(${target} PRIVATE GRITSTONE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  # Tests compute little themselves, so what compiles soonest is best; those of the model have scalar references of their own.
  if(GRITSTONE_SANITIZE AND NOT folder STREQUAL "model")
    target_compile_options(${target} PRIVATE -O0)
  elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    target_compile_options(${target} PRIVATE -O1)
  endif()
  add_dependencies(unit_tests ${target})
  add_test(NAME ${folder} COMMAND ${target} --gtest_brief=1)
  set_tests_properties(${folder} PROPERTIES LABELS unit TIMEOUT 900)
  if(folder STREQUAL "pipelines")
    set_tests_properties(${folder} PROPERTIES COST 100)  # the longest of one process under the sanitizers: not last and alone
  endif()
  if(folder STREQUAL "model")
    add_dependencies(optimised_tests ${target})
    set_tests_properties(${folder} PROPERTIES LABELS "unit;optimised")
  endif()
endfunction()

# The op tests once more with the AVX-512 kernels compiled over SIMDe's portable intrinsics, which any machine can run. The kernel files
# compiled here take the place of the library's.
function(gritstone_emulated_kernel_tests)
  if(NOT CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    return()
  endif()
  find_path(SIMDE_INCLUDE_DIR simde/x86/avx512.h REQUIRED)
  set(kernels ${PROJECT_SOURCE_DIR}/model/kernels)
  add_executable(test_model_emulated
    ${kernels}/kernel_table.cc ${kernels}/matmul_avx512.cc ${kernels}/matmul_avx512_panels.cc ${kernels}/vector_avx512.cc
    model/kv_codec_test.cc model/matmul_quantize_test.cc model/matmul_test.cc model/vector_kernels_test.cc)
  target_include_directories(test_model_emulated BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/model/simde)
  target_include_directories(test_model_emulated SYSTEM PRIVATE ${SIMDE_INCLUDE_DIR})
  target_compile_definitions(test_model_emulated PRIVATE GRITSTONE_EMULATE_AVX512)
  target_compile_options(test_model_emulated PRIVATE -O1)
  target_link_libraries(test_model_emulated PRIVATE gs_model gritstone_flags GTest::gtest_main GTest::gmock)
  add_dependencies(unit_tests test_model_emulated)
  add_test(NAME model_emulated COMMAND test_model_emulated --gtest_brief=1 --gtest_filter=*avx512*)
  set_tests_properties(model_emulated PROPERTIES LABELS unit TIMEOUT 900)
endfunction()

# The CUDA kernels' tests without a GPU: kernels compiled as C++ over tests/model/cuda/emulation.
function(gritstone_emulated_cuda_tests)
  file(GLOB kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/model/kernels/cuda/*.cu)
  file(GLOB sources CONFIGURE_DEPENDS
    ${PROJECT_SOURCE_DIR}/model/cuda_*.cc ${PROJECT_SOURCE_DIR}/model/kernels/cuda/*.cc ${PROJECT_SOURCE_DIR}/tests/model/cuda/*_test.cc)
  set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX)
  # Most of the tests' time is spent here.
  file(GLOB emulation CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/model/cuda/emulation/*.cc)
  set_source_files_properties(${emulation} PROPERTIES COMPILE_OPTIONS -O3)
  add_executable(test_cuda_emulated ${kernels} ${sources} ${emulation})
  target_include_directories(test_cuda_emulated BEFORE PRIVATE ${PROJECT_SOURCE_DIR}/tests/model/cuda/emulation)
  target_compile_definitions(test_cuda_emulated PRIVATE GRITSTONE_EMULATE_CUDA GRITSTONE_WGMMA GRITSTONE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_compile_options(test_cuda_emulated PRIVATE -O1 -Wno-unknown-pragmas)
  target_link_libraries(test_cuda_emulated PRIVATE gs_model gritstone_flags GTest::gtest_main GTest::gmock)
  add_dependencies(unit_tests test_cuda_emulated)
  # The longest of all under the sanitizers: in two halves, for two cores.
  foreach(half 0 1)
    add_test(NAME cuda_emulated_${half} COMMAND test_cuda_emulated --gtest_brief=1)
    set_tests_properties(cuda_emulated_${half} PROPERTIES LABELS unit TIMEOUT 900 COST 100
      ENVIRONMENT "GTEST_TOTAL_SHARDS=2;GTEST_SHARD_INDEX=${half}")
  endforeach()
endfunction()

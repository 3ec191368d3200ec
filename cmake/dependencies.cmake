# Debian 12 packages only; apps/install_packages.sh lists them.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto SSL)
find_package(ICU REQUIRED COMPONENTS uc i18n)
find_package(SQLite3 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(tomlplusplus REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)

# Debian ships FAISS and libstemmer without CMake files.
find_path(FAISS_INCLUDE_DIR faiss/IndexFlat.h REQUIRED)
find_library(FAISS_LIBRARY faiss REQUIRED)
# Debian's FAISS brings libgomp itself; clang has no omp.h without libomp, and the fuzz targets use no FAISS.
find_package(OpenMP COMPONENTS CXX)
find_package(BLAS REQUIRED)
find_package(LAPACK REQUIRED)
add_library(faiss INTERFACE)
target_include_directories(faiss SYSTEM INTERFACE ${FAISS_INCLUDE_DIR})
target_link_libraries(faiss INTERFACE ${FAISS_LIBRARY} LAPACK::LAPACK BLAS::BLAS)
if(OpenMP_CXX_FOUND)
  target_link_libraries(faiss INTERFACE OpenMP::OpenMP_CXX)
endif()

find_path(STEMMER_INCLUDE_DIR libstemmer.h REQUIRED)
find_library(STEMMER_LIBRARY stemmer REQUIRED)
add_library(stemmer INTERFACE)
target_include_directories(stemmer SYSTEM INTERFACE ${STEMMER_INCLUDE_DIR})
target_link_libraries(stemmer INTERFACE ${STEMMER_LIBRARY})

# Headers only; compiled once in apps/server/boost_impl.cc. Included as system headers, because they do not keep our warnings.
if(GRITSTONE_SERVER)
  find_path(BOOST_181_INCLUDE_DIR boost/beast/http.hpp REQUIRED)
  add_library(boost_http INTERFACE)
  target_include_directories(boost_http SYSTEM INTERFACE ${BOOST_181_INCLUDE_DIR})
  target_compile_definitions(boost_http INTERFACE BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED)
endif()

if(GRITSTONE_TESTS)
  find_package(GTest REQUIRED)
endif()
if(GRITSTONE_BENCH)
  find_package(benchmark REQUIRED)
endif()

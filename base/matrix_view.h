// A borrowed row-major matrix: what crosses folders instead of pointer-and-size pairs.
#pragma once

#include <cstddef>
#include <span>

namespace gritstone {

// [rows, cols] elements of T, row i at data + i * stride (stride in elements, >= cols). Borrows; never owns.
template <typename T>
struct MatrixView {
  T* data = nullptr;
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::size_t stride = 0;

  MatrixView() = default;
  MatrixView(T* data_, std::size_t rows_, std::size_t cols_) : data(data_), rows(rows_), cols(cols_), stride(cols_) {}
  MatrixView(T* data_, std::size_t rows_, std::size_t cols_, std::size_t stride_)
      : data(data_), rows(rows_), cols(cols_), stride(stride_) {}

  std::span<T> row(std::size_t i) const { return {data + i * stride, cols}; }
  operator MatrixView<const T>() const { return {data, rows, cols, stride}; }
};

}  // namespace gritstone

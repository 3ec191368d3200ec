// The tile shapes behind gemm and the experts' products (ops.h), for tests and measurements. Those before kWarpgroupVariant give the same
// bits.
#pragma once

#include "model/kernels/cuda/ops.h"

namespace gritstone::cuda {

inline constexpr int kGemmVariants = 6;  // from few rows to many
inline constexpr int kWarpgroupVariant = 4, kClusterVariant = 5;

bool has_gemm_variant(int variant, WeightFormat format);  // on this device and in this build

void gemm_variant(Stream stream, int variant, const DeviceMatrix& w, const half_bits* x, std::uint32_t rows, float* y, bool add);
void experts_gate_up_variant(Stream stream, int variant, const DeviceMatrix& gate_up, const half_bits* x, const ExpertPairs& pairs,
                             half_bits* h, HalfType h_type);
void experts_down_variant(Stream stream, int variant, const DeviceMatrix& down, const half_bits* h, const ExpertPairs& pairs, half_bits* y);

}  // namespace gritstone::cuda

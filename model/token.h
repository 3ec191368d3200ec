#pragma once

#include <cstdint>

namespace gritstone {

// Index into the model's vocabulary, >= 0. Signed, because file formats use -1 for "none".
using TokenId = std::int32_t;

}  // namespace gritstone

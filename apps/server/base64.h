// Base64 (RFC 4648, with padding), for embeddings.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace gritstone {

std::string base64_encode(std::span<const std::uint8_t> bytes);

}  // namespace gritstone

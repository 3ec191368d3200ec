// Base64 (RFC 4648, with padding), for embeddings.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gritstone {

std::string base64_encode(std::span<const std::uint8_t> bytes);
// Absent for anything else, missing padding and bits behind the end included.
std::optional<std::vector<std::uint8_t>> base64_decode(std::string_view text);

}  // namespace gritstone

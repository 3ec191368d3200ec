// Bytes of unknown encoding -> UTF-8 with a way back.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "index/document.h"

namespace gritstone {

// UTF-8 (BOM dropped); UTF-16 by its BOM; otherwise Windows-1252, of which Latin-1's printable part is a subset. UTF-8 with a few damaged
// bytes stays UTF-8 (they become U+FFFD). Absent and `reason` if this is no text: empty, NUL bytes, many control characters.
std::optional<DecodedText> decode_text(std::string_view bytes, std::string& reason);

}  // namespace gritstone

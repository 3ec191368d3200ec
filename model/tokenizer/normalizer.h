// Unicode normalisation form C over text that may hold malformed bytes.
#pragma once

#include <string>
#include <string_view>

namespace gritstone {

// NFC of every well-formed stretch of `text`; malformed bytes stay as they are. Returns `text` itself where nothing changes (the common
// case), else a view of `storage`. Throws Error(kModelRejected) if ICU lacks its normalisation data.
std::string_view nfc(std::string_view text, std::string& storage);

}  // namespace gritstone

#include "index/text_encoding.h"

#include <array>
#include <cstdint>

#include "base/utf8.h"

namespace gritstone {
namespace {

// source_offset() scans at most this many characters from an anchor.
constexpr std::size_t kAnchorEvery = 512;

// Windows-1252 0x80..0x9F; 0 = not assigned.
constexpr std::array<char16_t, 32> kWindows1252 = {0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
                                                   0x2039, 0x0152, 0,      0x017D, 0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
                                                   0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

bool is_text_control(unsigned char c) { return c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == 0x1B; }

struct ByteCounts {
  std::size_t nul = 0;
  std::size_t control = 0;
  std::size_t unassigned = 0;  // in Windows-1252
};

ByteCounts count_bytes(std::string_view bytes) {
  ByteCounts counts;
  for (const char byte : bytes) {
    const auto c = static_cast<unsigned char>(byte);
    if (c == 0) {
      ++counts.nul;
    } else if ((c < 0x20 && !is_text_control(c)) || c == 0x7F) {
      ++counts.control;
    } else if (c >= 0x80 && c < 0xA0 && kWindows1252[c - 0x80] == 0) {
      ++counts.unassigned;
    }
  }
  return counts;
}

DecodedText from_utf16(std::string_view bytes, bool big_endian) {
  DecodedText out;
  out.encoding = DecodedText::Encoding::kUtf16;
  const auto unit_at = [&](std::size_t i) {
    const auto a = static_cast<unsigned char>(bytes[i]);
    const auto b = static_cast<unsigned char>(bytes[i + 1]);
    return static_cast<char32_t>(big_endian ? (a << 8 | b) : (b << 8 | a));
  };
  std::size_t characters = 0;
  std::size_t i = 2;  // behind the BOM
  while (i + 1 < bytes.size()) {
    if (characters++ % kAnchorEvery == 0) out.anchors.push_back({out.text.size(), i});
    char32_t c = unit_at(i);
    i += 2;
    if (c >= 0xD800 && c < 0xDC00 && i + 1 < bytes.size() && unit_at(i) >= 0xDC00 && unit_at(i) < 0xE000) {
      c = 0x10000 + ((c - 0xD800) << 10) + (unit_at(i) - 0xDC00);
      i += 2;
    } else if (c >= 0xD800 && c < 0xE000) {
      c = 0xFFFD;
      ++out.replaced;
    }
    append_utf8(out.text, c);
  }
  if (out.anchors.empty()) out.anchors.push_back({0, 2});
  return out;
}

DecodedText from_windows1252(std::string_view bytes) {
  DecodedText out;
  out.encoding = DecodedText::Encoding::kSingleByte;
  out.text.reserve(bytes.size() + bytes.size() / 8);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i % kAnchorEvery == 0) out.anchors.push_back({out.text.size(), i});
    const auto byte = static_cast<unsigned char>(bytes[i]);
    char32_t c = byte;
    if (byte >= 0x80 && byte < 0xA0) {
      c = kWindows1252[byte - 0x80];
      if (c == 0) {
        c = 0xFFFD;
        ++out.replaced;
      }
    }
    append_utf8(out.text, c);
  }
  return out;
}

DecodedText from_utf8(std::string_view bytes, std::size_t bom) {
  DecodedText out;
  out.anchors.push_back({0, bom});
  if (is_valid_utf8(bytes.substr(bom))) {
    out.text = bytes.substr(bom);
    return out;
  }
  for (std::size_t i = bom; i < bytes.size();) {
    const Utf8Decoded c = decode_utf8(bytes, i);
    if (c.valid) {
      out.text.append(bytes, i, c.length);
    } else {
      // Both ends of the replacement get an anchor, since one byte became three.
      out.anchors.push_back({out.text.size(), i});
      append_utf8(out.text, 0xFFFD);
      out.anchors.push_back({out.text.size(), i + 1});
      ++out.replaced;
    }
    i += c.length;
  }
  return out;
}

// Damaged UTF-8 rather than an 8-bit encoding: whole multi-byte characters clearly outnumber the malformed bytes. In Windows-1252 text
// accented letters stand between ASCII ones and hardly ever form one.
bool looks_like_utf8(std::string_view bytes) {
  std::size_t whole = 0;
  std::size_t malformed = 0;
  for (std::size_t i = 0; i < bytes.size();) {
    const Utf8Decoded c = decode_utf8(bytes, i);
    if (!c.valid) {
      ++malformed;
    } else if (c.length > 1) {
      ++whole;
    }
    i += c.length;
  }
  return malformed == 0 || whole >= 4 * malformed;
}

}  // namespace

std::optional<DecodedText> decode_text(std::string_view bytes, std::string& reason) {
  if (bytes.empty()) {
    reason = "empty";
    return std::nullopt;
  }
  if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF")) return from_utf16(bytes, bytes.front() == '\xFE');
  const ByteCounts counts = count_bytes(bytes);
  if (counts.nul > 0) {
    reason = "binary (" + std::to_string(counts.nul) + " NUL bytes)";
    return std::nullopt;
  }
  // Text has next to no control characters; a stray one must not lose a document. 1 in 50 is far above any log file and far below any
  // binary.
  if (counts.control > 4 && counts.control * 50 > bytes.size()) {
    reason = "binary (" + std::to_string(counts.control) + " control characters in " + std::to_string(bytes.size()) + " bytes)";
    return std::nullopt;
  }
  const std::size_t bom = bytes.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  if (bom > 0 || looks_like_utf8(bytes)) return from_utf8(bytes, bom);
  if (counts.unassigned > 4 && counts.unassigned * 50 > bytes.size()) {
    reason = "unknown encoding (neither UTF-8 nor Windows-1252)";
    return std::nullopt;
  }
  return from_windows1252(bytes);
}

}  // namespace gritstone

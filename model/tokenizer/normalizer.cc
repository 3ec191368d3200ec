#include "model/tokenizer/normalizer.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/utf8.h"

namespace gritstone {
namespace {

const icu::Normalizer2& normalizer() {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* instance = icu::Normalizer2::getNFCInstance(status);
  if (U_FAILURE(status) || instance == nullptr) {
    throw Error(ErrorCode::kModelRejected, std::string("tokenizer: no NFC data in ICU: ") + u_errorName(status));
  }
  return *instance;
}

icu::StringPiece piece(std::string_view text) { return {text.data(), static_cast<std::int32_t>(text.size())}; }

}  // namespace

std::string_view nfc(std::string_view text, std::string& storage) {
  // Code points below U+0300 are in NFC and do not combine: no lead byte from 0xCC on, nothing to do.
  if (std::all_of(text.begin(), text.end(), [](char byte) { return static_cast<std::uint8_t>(byte) < 0xC0 + 0x0C; })) return text;
  const icu::Normalizer2& form_c = normalizer();
  storage.clear();
  storage.reserve(text.size());
  icu::StringByteSink<std::string> sink(&storage);
  // ICU counts in int32 and replaces malformed bytes, so it gets well-formed stretches of bounded size, cut where NFC cannot reach across.
  constexpr std::size_t kStretch = std::size_t{1} << 20;
  // ICU sorts a run of combining marks by insertion: a megabyte of them would take minutes. No script stacks more than a handful (Unicode's
  // Stream-Safe Text Format allows 30), so a longer run is cut, which leaves its parts normalised each on its own.
  constexpr std::size_t kMaxMarks = 1024;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = begin;
    for (std::size_t marks = 0; end < text.size();) {
      const Utf8Decoded decoded = decode_utf8(text, end);
      if (!decoded.valid) break;
      marks = u_getCombiningClass(static_cast<UChar32>(decoded.code_point)) == 0 ? 0 : marks + 1;
      if (marks > kMaxMarks) break;
      if (end - begin >= kStretch && form_c.hasBoundaryBefore(static_cast<UChar32>(decoded.code_point))) break;
      end += decoded.length;
      if (end - begin > std::numeric_limits<std::int32_t>::max() - 8) break;
    }
    if (end > begin) {
      UErrorCode status = U_ZERO_ERROR;
      form_c.normalizeUTF8(0, piece(text.substr(begin, end - begin)), sink, nullptr, status);
      if (U_FAILURE(status)) throw Error(ErrorCode::kModelRejected, std::string("tokenizer: NFC failed: ") + u_errorName(status));
    }
    begin = end;
    while (begin < text.size() && !decode_utf8(text, begin).valid) storage += text[begin++];
  }
  return storage;
}

}  // namespace gritstone

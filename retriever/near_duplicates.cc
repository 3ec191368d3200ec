#include "retriever/near_duplicates.h"

#include <algorithm>
#include <array>

namespace gritstone {
namespace {

bool is_word_byte(char c) {
  const auto b = static_cast<unsigned char>(c);
  return b >= 0x80 || (b >= '0' && b <= '9') || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z');
}

}  // namespace

TextSketch::TextSketch(std::string_view text) {
  std::array<std::uint64_t, 3> last{};
  std::size_t words = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (!is_word_byte(text[i])) {
      ++i;
      continue;
    }
    std::uint64_t word = 0xCBF29CE484222325u;  // FNV-1a
    for (; i < text.size() && is_word_byte(text[i]); ++i) {
      char c = text[i];
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      word = (word ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    }
    last = {last[1], last[2], word};
    ++words;
    // Texts of one or two words are one shingle each.
    if (words >= 3) shingles_.push_back((last[0] * 31 + last[1]) * 31 + last[2]);
  }
  if (shingles_.empty() && words > 0) shingles_.push_back((last[0] * 31 + last[1]) * 31 + last[2]);
  std::sort(shingles_.begin(), shingles_.end());
  shingles_.erase(std::unique(shingles_.begin(), shingles_.end()), shingles_.end());
}

double TextSketch::containment(const TextSketch& other) const noexcept {
  const std::size_t smaller = std::min(shingles_.size(), other.shingles_.size());
  if (smaller == 0) return 0;
  std::size_t common = 0;
  for (auto a = shingles_.begin(), b = other.shingles_.begin(); a != shingles_.end() && b != other.shingles_.end();) {
    if (*a == *b) {
      ++common;
      ++a;
      ++b;
    } else if (*a < *b) {
      ++a;
    } else {
      ++b;
    }
  }
  return static_cast<double>(common) / static_cast<double>(smaller);
}

}  // namespace gritstone

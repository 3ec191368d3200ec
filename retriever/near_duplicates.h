// Passages that say the same in almost the same words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gritstone {

// Sketch of a text for comparing it with others: sorted hashes of its runs of three words (ASCII case folded).
class TextSketch {
 public:
  explicit TextSketch(std::string_view text);
  // Share of the smaller sketch that the other holds too, 0..1; equal texts give 1.
  double containment(const TextSketch& other) const noexcept;

 private:
  std::vector<std::uint64_t> shingles_;
};

// From this on the later hit adds nothing to a context: one changed word breaks three shingles, so about one word in fifteen may differ.
inline constexpr double kNearDuplicate = 0.8;

}  // namespace gritstone

// Which passage stands behind each sentence of an answer.
//
// First cut: the passage numbers that the model writes ([1]) are checked against lexical overlap; a sentence without a valid one gets the
// passage that shares most of its words. Measured influence (docs/ARCHITECTURE.md) replaces the overlap later behind the same result.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "index/document.h"

namespace gritstone {

// A passage as it was numbered in the prompt: passage n is element n - 1.
struct GroundPassage {
  std::string path;
  std::string heading;
  std::optional<std::size_t> page;
  std::string text;
};

struct Citation {
  std::size_t n = 0;  // passage number
  std::string path;
  std::string heading;
  std::optional<std::size_t> page;
  std::size_t start = 0;  // bytes of the source (of the stored extracted text, for formats whose source is not text)
  std::size_t end = 0;
  std::string text;     // the passage's sentence that supports best
  double strength = 0;  // share of the answer sentence's terms that the passage holds, 0..1
};

struct AnswerSentence {
  std::size_t start = 0;  // bytes of GroundedAnswer::text
  std::size_t end = 0;
  bool supported = false;              // false: mark it as not from the documents
  std::vector<std::size_t> citations;  // indexes into GroundedAnswer::citations, at most kMaxCitationsPerSentence
};

struct GroundedAnswer {
  std::string text;                 // with the markers that hold, "[2]" before a sentence's final punctuation
  std::string plain;                // without any marker
  std::vector<Citation> citations;  // in order of first use; one per (passage, quoted sentence)
  std::vector<AnswerSentence> sentences;
};

inline constexpr std::size_t kMaxCitationsPerSentence = 2;
// A passage that the model names itself needs less overlap than one we choose: its choice is evidence, too.
inline constexpr double kMinOverlapNamed = 0.25;
inline constexpr double kMinOverlapChosen = 0.5;

// Source bytes of passages[passage].text[from, to).
using SourceSpanOf = std::function<ByteSpan(std::size_t passage, std::size_t from, std::size_t to)>;

// language: Snowball algorithm of the collection. Thread-safe. Throws Error(kInvalidArgument) for an unknown language, and what
// `source_span` throws.
GroundedAnswer cite(std::string_view answer, std::string_view question, std::span<const GroundPassage> passages,
                    const std::string& language, const SourceSpanOf& source_span);

}  // namespace gritstone

#include "index/document.h"

#include <algorithm>

#include "base/utf8.h"

namespace gritstone {
namespace {

// Run that text[offset] belongs to. REQUIRES: runs not empty and runs[0].text == 0.
const TextRun& run_of(const Block& block, std::size_t offset) {
  auto next =
      std::upper_bound(block.runs.begin(), block.runs.end(), offset, [](std::size_t at, const TextRun& run) { return at < run.text; });
  return *std::prev(next);
}

}  // namespace

std::string_view document_type_name(DocumentType type) noexcept {
  switch (type) {
    case DocumentType::kMarkdown:
      return "markdown";
    case DocumentType::kHtml:
      return "html";
    case DocumentType::kText:
      break;
  }
  return "text";
}

std::size_t DecodedText::source_offset(std::size_t offset) const noexcept {
  const auto next =
      std::upper_bound(anchors.begin(), anchors.end(), offset, [](std::size_t at, const Anchor& anchor) { return at < anchor.text; });
  if (next == anchors.begin()) return offset;
  const Anchor& anchor = *std::prev(next);
  if (encoding == Encoding::kUtf8) return anchor.source + (offset - anchor.text);
  std::size_t source = anchor.source;
  for (std::size_t at = anchor.text; at < offset;) {
    const Utf8Decoded c = decode_utf8(text, at);
    at += c.length;
    source += encoding == Encoding::kSingleByte ? 1 : (c.code_point > 0xFFFF ? 4 : 2);
  }
  return source;
}

ByteSpan Document::source_span(const Block& block, std::size_t from, std::size_t to) const noexcept {
  if (block.runs.empty() || from >= to) return {};
  const TextRun& first = run_of(block, from);
  const std::size_t start = first.kind == TextRun::Kind::kCopied ? first.decoded + (from - first.text) : first.decoded;
  const TextRun& last = run_of(block, to - 1);
  const std::size_t end = last.kind == TextRun::Kind::kCopied ? last.decoded + (to - last.text) : last.decoded + last.decoded_length;
  const std::size_t source_start = decoded.source_offset(start);
  return {source_start, std::max(source_start, decoded.source_offset(end))};
}

}  // namespace gritstone

#include "pipelines/source_spans.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "base/hash.h"
#include "index/document_reader.h"
#include "index/file_walker.h"

namespace gritstone {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\n')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

}  // namespace

ByteSpan SourceSpans::locate(const ChunkRecord& chunk, std::size_t from, std::size_t to) {
  if (from < chunk.context_bytes || from >= to || to > chunk.text.size()) return chunk.span;
  const Document* source = document(chunk);
  if (source == nullptr) return chunk.span;
  const std::string_view wanted = trimmed(std::string_view(chunk.text).substr(from, to - from));
  if (wanted.empty()) return chunk.span;
  // The same words can stand in several places of a chunk: take the one whose place in the chunk fits best.
  const std::size_t expected = chunk.span.start + (chunk.span.end - chunk.span.start) * from / chunk.text.size();
  ByteSpan best = chunk.span;
  std::size_t best_distance = static_cast<std::size_t>(-1);
  for (const Block& block : source->blocks) {
    for (std::size_t at = block.text.find(wanted); at != std::string::npos; at = block.text.find(wanted, at + 1)) {
      const ByteSpan span = source->source_span(block, at, at + wanted.size());
      if (span.start < chunk.span.start || span.end > chunk.span.end) continue;
      const std::size_t distance = span.start > expected ? span.start - expected : expected - span.start;
      if (distance >= best_distance) continue;
      best_distance = distance;
      best = span;
    }
  }
  return best;
}

const Document* SourceSpans::document(const ChunkRecord& chunk) {
  const auto known = documents_.find(chunk.document);
  if (known != documents_.end()) return known->second ? &*known->second : nullptr;
  std::optional<Document>& entry = documents_[chunk.document];
  try {
    const DocumentRecord record = snapshot_.document(chunk.document);
    const SourceFile file = read_source_file(record.path, true);
    if (sha256(as_bytes(file.bytes)) != record.sha256) return nullptr;
    ReadResult content = read_document(file.bytes, document_type_of(record.path).value_or(DocumentType::kText));
    if (content.document) entry = std::move(content.document);
  } catch (const Error& error) {
    // The source is only needed for a narrower span.
    if (error.code() == ErrorCode::kCancelled) throw;
  }
  return entry ? &*entry : nullptr;
}

}  // namespace gritstone

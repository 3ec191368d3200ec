// From a stretch of a chunk's text back to the bytes of its source file.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "index/document.h"
#include "index/store.h"

namespace gritstone {

// Reads the source files again (each once) and finds the text in their blocks. Not thread-safe; one per answer.
class SourceSpans {
 public:
  explicit SourceSpans(const Snapshot& snapshot) : snapshot_(snapshot) {}

  // Source bytes of chunk.text[from, to). If the file is gone or changed since it was indexed, or the text spans blocks, the chunk's whole
  // span, which is always right though wider. Never throws for what the file system says.
  ByteSpan locate(const ChunkRecord& chunk, std::size_t from, std::size_t to);

 private:
  const Document* document(const ChunkRecord& chunk);

  const Snapshot& snapshot_;
  std::map<DocumentId, std::optional<Document>> documents_;
};

}  // namespace gritstone

// Bytes of one file -> Document. Never hangs, never throws on content: what cannot be read is skipped with a reason.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "index/document.h"

namespace gritstone {

struct ReadResult {
  std::optional<Document> document;  // absent = skipped
  std::string skip_reason;           // "empty", "binary (12 NUL bytes in the first 4096)", ...; set when skipped
};

// Detects the encoding (UTF-8, UTF-16 with BOM, else Windows-1252) and extracts blocks. Time and memory are linear in bytes.size().
// Thread-safe. Throws nothing but std::bad_alloc.
ReadResult read_document(std::string_view bytes, DocumentType type);

// By extension (.md .markdown .txt .text .html .htm, any case); absent = unknown.
std::optional<DocumentType> document_type_of(std::string_view path);

}  // namespace gritstone

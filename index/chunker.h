// Cuts a document into the passages that are embedded, searched and cited.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/token_counter.h"
#include "index/document.h"

namespace gritstone {

struct ChunkerOptions {
  std::size_t max_tokens = 256;
};

struct Chunk {
  std::string text;               // what is embedded and quoted: valid UTF-8, blocks separated by newlines
  std::string heading_path;       // "Title > Section > Subsection"; empty where there is no heading
  ByteSpan span;                  // source bytes of text[context_bytes..]
  std::size_t context_bytes = 0;  // leading bytes of `text` that repeat a table's header row and are not part of `span`
  std::size_t tokens = 0;         // counter.count(text), <= max_tokens
};

// Deterministic; no overlap; every block's text is in exactly one chunk (headings: in heading_path, or as text where nothing stands below).
// Cuts at headings, then between blocks, sentences, words, characters; a table row only where a single row exceeds the limit. Chunks of a
// long section are of similar size, so no short tail remains.
// Throws Error(kInvalidArgument) if max_tokens < 16. Thread-safe if `counter` is.
std::vector<Chunk> chunk_document(const Document& document, const TokenCounter& counter, const ChunkerOptions& options = {});

}  // namespace gritstone

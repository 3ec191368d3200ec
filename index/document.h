// What a file becomes once it is read: text in blocks, every byte of which knows where it came from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gritstone {

enum class DocumentType { kText, kMarkdown, kHtml };

// "text", "markdown", "html": what the store keeps and `type:` filters compare.
std::string_view document_type_name(DocumentType type) noexcept;

// Half-open byte range of the source file, its byte order mark included in the counting.
struct ByteSpan {
  std::size_t start = 0;
  std::size_t end = 0;
  bool operator==(const ByteSpan&) const = default;
};

enum class BlockKind { kHeading, kParagraph, kListItem, kTableRow, kCode };

// Where a stretch of a block's text, from `text` to the next run, comes from in the decoded file.
struct TextRun {
  std::size_t text = 0;
  std::size_t decoded = 0;
  std::size_t decoded_length = 0;  // kReplaced: bytes it stands for (an entity: its whole spelling; an inserted separator: 0)
  enum class Kind : std::uint8_t { kCopied, kReplaced } kind = Kind::kCopied;  // kCopied: byte for byte
};

// One structural unit. `text` is valid UTF-8 without markup, hidden characters (bidi controls, tags, zero-width) or surrounding blanks.
// Table cells are joined by " | ".
struct Block {
  BlockKind kind = BlockKind::kParagraph;
  int level = 0;              // kHeading: 1..6; otherwise 0
  std::uint32_t table = 0;    // kTableRow: rows of one table share it (1, 2, ...); otherwise 0
  bool table_header = false;  // kTableRow: repeated when the table continues in a later chunk
  std::string text;
  std::vector<TextRun> runs;  // ascending; the first has text == 0
};

// A file's bytes as UTF-8, with the way back to the bytes.
class DecodedText {
 public:
  enum class Encoding { kUtf8, kUtf16, kSingleByte };

  std::string text;  // valid UTF-8, no BOM
  Encoding encoding = Encoding::kUtf8;
  std::size_t replaced = 0;  // malformed bytes that became U+FFFD

  // Offset in the file of the character at text[offset]; offset == text.size() gives the file's end.
  // Cost: a binary search and, for transcoded text, a scan of at most 512 characters.
  std::size_t source_offset(std::size_t offset) const noexcept;

  struct Anchor {
    std::size_t text = 0;
    std::size_t source = 0;
  };
  std::vector<Anchor> anchors;  // ascending; the first has text == 0
};

// Immutable after reading; safe to read from many threads.
struct Document {
  DocumentType type = DocumentType::kText;
  std::string title;  // from the document itself (front matter, <title>, first heading or line); may be empty
  std::vector<Block> blocks;
  DecodedText decoded;

  // Source bytes of block.text[from, to). REQUIRES: from < to <= block.text.size(). For HTML the range starts and ends at the text's own
  // characters (entities count as written) and includes any tags in between.
  ByteSpan source_span(const Block& block, std::size_t from, std::size_t to) const noexcept;
};

}  // namespace gritstone

#include "index/document_reader.h"

#include <algorithm>
#include <utility>

#include "index/readers.h"
#include "index/text_encoding.h"

namespace gritstone {

std::optional<DocumentType> document_type_of(std::string_view path) {
  const std::size_t slash = path.find_last_of('/');
  const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  const std::size_t dot = name.find_last_of('.');
  if (dot == std::string_view::npos) return std::nullopt;
  std::string extension(name.substr(dot + 1));
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (extension == "md" || extension == "markdown") return DocumentType::kMarkdown;
  if (extension == "txt" || extension == "text") return DocumentType::kText;
  if (extension == "html" || extension == "htm") return DocumentType::kHtml;
  return std::nullopt;
}

ReadResult read_document(std::string_view bytes, DocumentType type) {
  ReadResult result;
  auto decoded = decode_text(bytes, result.skip_reason);
  if (!decoded) return result;
  Document document;
  document.type = type;
  document.decoded = std::move(*decoded);
  switch (type) {
    case DocumentType::kText:
      read_text(document);
      break;
    case DocumentType::kMarkdown:
      read_markdown(document);
      break;
    case DocumentType::kHtml:
      read_html(document);
      break;
  }
  if (document.blocks.empty()) {
    result.skip_reason = "empty (no text in it)";
    return result;
  }
  result.document = std::move(document);
  return result;
}

std::vector<LineSpan> split_lines(std::string_view text) {
  std::vector<LineSpan> lines;
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t end = std::min(text.find_first_of("\r\n", start), text.size());
    lines.push_back({start, end});
    start = end + 1;
    if (end < text.size() && text[end] == '\r' && start < text.size() && text[start] == '\n') ++start;
  }
  return lines;
}

void add_block(Document& document, Block block) {
  if (!block.text.empty()) document.blocks.push_back(std::move(block));
}

}  // namespace gritstone

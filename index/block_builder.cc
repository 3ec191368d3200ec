#include "index/block_builder.h"

#include <utility>

#include "base/utf8.h"

namespace gritstone {

bool is_hidden_character(char32_t c) noexcept {
  if (c < 0x20) return c != '\t' && c != '\n' && c != '\r' && c != '\f';
  if (c < 0x7F) return false;
  return (c < 0xA0 && c != 0x85) || c == 0xAD || c == 0x61C || (c >= 0x200B && c <= 0x200F) || (c >= 0x202A && c <= 0x202E) ||
         (c >= 0x2060 && c <= 0x206F) || (c >= 0xFE00 && c <= 0xFE0F) || c == 0xFEFF || (c >= 0xE0000 && c <= 0xE0FFF);
}

void BlockBuilder::copied(std::size_t from, std::size_t length) {
  const bool joins = !block_.runs.empty() && block_.runs.back().kind == TextRun::Kind::kCopied && next_decoded_ == from;
  if (!joins) block_.runs.push_back({block_.text.size(), from, 0, TextRun::Kind::kCopied});
  block_.text.append(decoded_.substr(from, length));
  next_decoded_ = from + length;
}

void BlockBuilder::replaced(std::string_view text, std::size_t from, std::size_t length) {
  block_.runs.push_back({block_.text.size(), from, length, TextRun::Kind::kReplaced});
  block_.text.append(text);
}

void BlockBuilder::copy(std::size_t from, std::size_t to) {
  std::size_t start = from;  // of the stretch not copied yet
  const auto flush = [&](std::size_t end) {
    if (end > start) copied(start, end - start);
  };
  for (std::size_t i = from; i < to;) {
    const auto byte = static_cast<unsigned char>(decoded_[i]);
    if (byte > 0x20 && byte < 0x7F) {
      ++i;
      continue;
    }
    const Utf8Decoded c = decode_utf8(decoded_, i);
    const bool blank = c.code_point == ' ' || (c.code_point >= 9 && c.code_point <= 13) || c.code_point == 0x85 || c.code_point == 0xA0 ||
                       c.code_point == 0x2028 || c.code_point == 0x2029;
    const bool plain = c.code_point == ' ' || (!collapse_ && (c.code_point == '\n' || c.code_point == '\t'));
    if (!blank && !is_hidden_character(c.code_point)) {
      i += c.length;
      continue;
    }
    flush(i);
    start = i + c.length;
    if (blank && !(collapse_ && ends_with_space())) {
      if (plain) {
        copied(i, 1);
      } else if (c.code_point != '\r' || collapse_) {
        replaced(" ", i, c.length);
      }
    }
    i += c.length;
  }
  flush(to);
}

void BlockBuilder::put(std::string_view text, std::size_t from, std::size_t to) {
  const bool blank = text == " " || text == "\n" || text == "\t" || text == "\xC2\xA0";
  if (blank) {
    if (!(collapse_ && ends_with_space())) replaced(collapse_ ? " " : text, from, to - from);
    return;
  }
  if (!text.empty() && text.size() <= 4 && is_hidden_character(decode_utf8(text, 0).code_point)) return;
  replaced(text, from, to - from);
}

Block BlockBuilder::finish(BlockKind kind) {
  Block block = std::exchange(block_, {});
  next_decoded_ = 0;
  block.kind = kind;
  const auto is_edge = [&](char c) { return c == ' ' || c == '\n' || (c == '\t' && collapse_); };
  while (!block.text.empty() && (is_edge(block.text.back()) || block.text.back() == '\t')) block.text.pop_back();
  std::size_t lead = 0;
  // Code keeps the indentation of its first line, so only whole blank lines go.
  for (std::size_t i = 0; i < block.text.size() && (is_edge(block.text[i]) || block.text[i] == '\t'); ++i) {
    if (collapse_ || block.text[i] == '\n') lead = i + 1;
  }
  if (lead > 0) {
    block.text.erase(0, lead);
    std::size_t keep = 0;  // the last run that starts at or before the new beginning
    for (std::size_t i = 0; i < block.runs.size() && block.runs[i].text <= lead; ++i) keep = i;
    block.runs.erase(block.runs.begin(), block.runs.begin() + static_cast<std::ptrdiff_t>(keep));
    for (TextRun& run : block.runs) {
      if (run.text < lead && run.kind == TextRun::Kind::kCopied) run.decoded += lead - run.text;
      run.text = run.text < lead ? 0 : run.text - lead;
    }
  }
  while (!block.runs.empty() && block.runs.back().text >= block.text.size()) block.runs.pop_back();
  return block;
}

}  // namespace gritstone

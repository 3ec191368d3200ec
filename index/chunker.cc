#include "index/chunker.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "index/passage_units.h"

namespace gritstone {
namespace {

constexpr std::size_t kMinTokens = 16;
// A "heading" longer than this is a paragraph in large type; it would repeat in the heading path of every chunk below.
constexpr std::size_t kMaxHeadingBytes = 400;
// A cut between blocks is taken instead of one between sentences if it costs no more than this share of the intended size.
constexpr double kBlockCutShare = 0.6;

class Chunker {
 public:
  Chunker(const Document& document, const TokenCounter& counter, std::size_t max_tokens)
      : document_(document), counter_(counter), max_tokens_(max_tokens) {}

  std::vector<Chunk> run() {
    for (std::size_t i = 0; i < document_.blocks.size(); ++i) {
      const Block& block = document_.blocks[i];
      if (block.kind == BlockKind::kHeading && block.text.size() <= kMaxHeadingBytes) {
        finish_section();
        // The heading before this one has nothing below it, unless this one is its subsection.
        if (bare_heading_ && document_.blocks[*bare_heading_].level >= block.level) heading_as_text();
        push_heading(i);
      } else {
        bare_heading_.reset();
        append_units(document_, i, counter_, max_tokens_, units_);
      }
    }
    finish_section();
    if (bare_heading_) heading_as_text();
    return std::move(chunks_);
  }

 private:
  void push_heading(std::size_t block) {
    while (!headings_.empty() && document_.blocks[headings_.back()].level >= document_.blocks[block].level) headings_.pop_back();
    headings_.push_back(block);
    bare_heading_ = block;
  }

  std::string heading_path() const {
    std::string path;
    const Block* top = headings_.empty() ? nullptr : &document_.blocks[headings_.front()];
    // A document that starts below level 1 (or has no heading) is still about its title.
    if ((top == nullptr || (top->level > 1 && top->text != document_.title)) && document_.title.size() <= kMaxHeadingBytes)
      path = document_.title;
    for (const std::size_t heading : headings_) {
      if (!path.empty()) path += " > ";
      path += document_.blocks[heading].text;
    }
    return path;
  }

  void heading_as_text() {
    append_units(document_, *bare_heading_, counter_, max_tokens_, units_);
    bare_heading_.reset();
    finish_section();
  }

  // Units [first, last) as one text; consecutive units of a block keep what stands between them.
  std::string join(std::size_t first, std::size_t last) const {
    std::string text;
    for (std::size_t i = first; i < last;) {
      std::size_t end = i + 1;
      while (end < last && units_[end].block == units_[i].block) ++end;
      const Block& block = document_.blocks[units_[i].block];
      if (i > first) {
        const Block& before = document_.blocks[units_[i - 1].block];
        const bool close =
            before.kind == block.kind && before.table == block.table && (block.kind == BlockKind::kListItem || block.table > 0);
        text += close ? "\n" : "\n\n";
      }
      text += std::string_view(block.text).substr(units_[i].from, units_[end - 1].to - units_[i].from);
      i = end;
    }
    return text;
  }

  // Header row to repeat before a chunk that begins inside a table; empty = none.
  std::string table_context(std::size_t first) const {
    const Block& block = document_.blocks[units_[first].block];
    if (block.table == 0 || block.table_header) return {};
    for (std::size_t i = units_[first].block; i-- > 0;) {
      const Block& above = document_.blocks[i];
      if (above.table != block.table) break;
      if (above.table_header) return above.text + "\n";
    }
    return {};
  }

  // End of the chunk that starts at unit `first`, by summed counts: about `target` tokens, preferably between blocks.
  std::size_t choose_end(std::size_t first, double target, std::size_t context_tokens) const {
    std::size_t sum = context_tokens;
    std::size_t end = first;
    std::size_t block_cut = first;
    std::size_t block_cut_sum = 0;
    while (end < units_.size()) {
      const std::size_t next = units_[end].tokens;
      if (end > first && (sum + next > max_tokens_ || static_cast<double>(sum) + static_cast<double>(next) / 2 > target)) break;
      if (end > first && units_[end].block != units_[end - 1].block) {
        block_cut = end;
        block_cut_sum = sum;
      }
      sum += next;
      ++end;
    }
    const bool inside = end < units_.size() && units_[end].block == units_[end - 1].block;
    if (inside && block_cut > first && static_cast<double>(block_cut_sum) >= kBlockCutShare * target) return block_cut;
    return end;
  }

  void finish_section() {
    std::size_t left = 0;
    for (const PassageUnit& unit : units_) left += unit.tokens;
    const std::string path = units_.empty() ? std::string() : heading_path();
    for (std::size_t first = 0; first < units_.size();) {
      // Equal shares of what is left: no short tail at the end of a section.
      const std::size_t parts = (left + max_tokens_ - 1) / max_tokens_;
      const double target = parts <= 1 ? static_cast<double>(max_tokens_) : static_cast<double>(left) / static_cast<double>(parts);
      std::string context = table_context(first);
      std::size_t context_tokens = context.empty() ? 0 : counter_.count(context);
      if (context_tokens + units_[first].tokens >= max_tokens_) {
        context.clear();
        context_tokens = 0;
      }
      std::size_t end = choose_end(first, target, context_tokens);
      Chunk chunk;
      for (;; --end) {
        chunk.text = context + join(first, end);
        chunk.tokens = counter_.count(chunk.text);
        // Sums of counts are an estimate: the separators count, and joining can change how a word is cut.
        if (chunk.tokens <= max_tokens_ || end == first + 1) break;
      }
      if (chunk.tokens > max_tokens_ && !context.empty()) {
        context.clear();
        chunk.text = join(first, end);
        chunk.tokens = counter_.count(chunk.text);
      }
      chunk.context_bytes = context.size();
      chunk.heading_path = path;
      const PassageUnit& last = units_[end - 1];
      chunk.span.start = document_.source_span(document_.blocks[units_[first].block], units_[first].from, units_[first].to).start;
      chunk.span.end = document_.source_span(document_.blocks[last.block], last.from, last.to).end;
      chunks_.push_back(std::move(chunk));
      for (; first < end; ++first) left -= units_[first].tokens;
    }
    units_.clear();
  }

  const Document& document_;
  const TokenCounter& counter_;
  const std::size_t max_tokens_;
  std::vector<std::size_t> headings_;        // blocks, outermost first
  std::optional<std::size_t> bare_heading_;  // the last heading while nothing stands below it
  std::vector<PassageUnit> units_;           // of the section being read
  std::vector<Chunk> chunks_;
};

}  // namespace

std::vector<Chunk> chunk_document(const Document& document, const TokenCounter& counter, const ChunkerOptions& options) {
  if (options.max_tokens < kMinTokens) {
    throw Error(ErrorCode::kInvalidArgument,
                "chunks of " + std::to_string(options.max_tokens) + " tokens, at least " + std::to_string(kMinTokens));
  }
  return Chunker(document, counter, options.max_tokens).run();
}

}  // namespace gritstone

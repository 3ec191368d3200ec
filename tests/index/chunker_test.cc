#include "index/chunker.h"

#include <gmock/gmock.h>

#include <chrono>

#include "base/checked_file.h"
#include "base/utf8.h"
#include "tests/index/fixtures.h"

namespace gritstone {
namespace {

using ::testing::ElementsAre;
using testing::expect_error;
using ::testing::HasSubstr;
using testing::must_read;
using testing::WordCounter;

std::vector<Chunk> cut(std::string_view bytes, DocumentType type, std::size_t max_tokens) {
  const Document document = must_read(bytes, type);
  const WordCounter counter;
  const auto chunks = chunk_document(document, counter, {max_tokens});
  std::size_t last_end = 0;
  for (const Chunk& chunk : chunks) {
    EXPECT_EQ(chunk.tokens, counter.count(chunk.text));
    EXPECT_LE(chunk.tokens, max_tokens) << chunk.text;
    EXPECT_FALSE(chunk.text.empty());
    EXPECT_TRUE(is_valid_utf8(chunk.text));
    EXPECT_LT(chunk.span.start, chunk.span.end);
    EXPECT_LE(chunk.span.end, bytes.size());
    EXPECT_GE(chunk.span.start, last_end) << "overlap";
    last_end = chunk.span.end;
  }
  return chunks;
}

std::string sentences(int count, const std::string& word) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "The " + word + " number " + std::to_string(i) + " is a good one. ";
  return text;
}

TEST(Chunker, SmallSectionsStayWholeUnderTheirHeadings) {
  const std::string text =
      "# Tea\n\nIntro.\n\n## Green\n\nNot fermented.\n\n- Sencha\n- Matcha\n\n### Matcha\n\nPowder.\n\n## Black\n\nOxidised.\n";
  const auto chunks = cut(text, DocumentType::kMarkdown, 64);
  ASSERT_EQ(chunks.size(), 4u);
  EXPECT_EQ(chunks[0].heading_path, "Tea");
  EXPECT_EQ(chunks[0].text, "Intro.");
  EXPECT_EQ(chunks[1].heading_path, "Tea > Green");
  EXPECT_EQ(chunks[1].text, "Not fermented.\n\nSencha\nMatcha");
  EXPECT_EQ(text.substr(chunks[1].span.start, chunks[1].span.end - chunks[1].span.start), "Not fermented.\n\n- Sencha\n- Matcha");
  EXPECT_EQ(chunks[2].heading_path, "Tea > Green > Matcha");
  EXPECT_EQ(chunks[3].heading_path, "Tea > Black");
}

TEST(Chunker, HeadingsWithoutTextAreNotLost) {
  const auto chunks = cut("# A\n\n## B\n\n## C\n\ntext\n\n# D\n", DocumentType::kMarkdown, 64);
  ASSERT_EQ(chunks.size(), 3u);
  EXPECT_EQ(chunks[0].text, "B");
  EXPECT_EQ(chunks[0].heading_path, "A > B");
  EXPECT_EQ(chunks[1].text, "text");
  EXPECT_EQ(chunks[2].text, "D");
}

TEST(Chunker, TheTitleLeadsWhereHeadingsBeginLower) {
  const auto chunks = cut("---\ntitle: Manual\n---\nbefore\n\n## Part\n\nafter", DocumentType::kMarkdown, 64);
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks[0].heading_path, "Manual");
  EXPECT_EQ(chunks[1].heading_path, "Manual > Part");
}

TEST(Chunker, LongSectionsAreCutAtSentencesIntoSimilarParts) {
  const std::string text = sentences(40, "apple");  // 320 tokens
  const auto chunks = cut(text, DocumentType::kText, 100);
  ASSERT_EQ(chunks.size(), 4u);
  std::string joined;
  for (const Chunk& chunk : chunks) {
    EXPECT_GE(chunk.tokens, 64u) << "a short tail";
    EXPECT_TRUE(chunk.text.starts_with("The apple")) << chunk.text;
    EXPECT_TRUE(chunk.text.ends_with("one."));
    EXPECT_EQ(text.substr(chunk.span.start, chunk.span.end - chunk.span.start), chunk.text);
    joined += chunk.text + " ";
  }
  EXPECT_EQ(joined, text);
}

TEST(Chunker, ParagraphBoundariesAreBetterThanSentences) {
  std::string text;
  for (int i = 0; i < 6; ++i) text += sentences(8, "p" + std::to_string(i)) + "\n\n";  // 64 tokens each
  for (const Chunk& chunk : cut(text, DocumentType::kText, 100)) EXPECT_THAT(chunk.text, HasSubstr("number 0 "));
}

TEST(Chunker, TablesRepeatTheirHeaderOutsideTheSpan) {
  std::string text = "| City | Height |\n|---|---|\n";
  for (int i = 0; i < 40; ++i) text += "| Town" + std::to_string(i) + " | " + std::to_string(i * 10) + " m |\n";
  const auto chunks = cut(text, DocumentType::kMarkdown, 50);
  ASSERT_GT(chunks.size(), 3u);
  EXPECT_EQ(chunks[0].context_bytes, 0u);
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    EXPECT_TRUE(chunks[i].text.starts_with("City | Height\n"));
    if (i == 0) continue;
    EXPECT_EQ(chunks[i].context_bytes, std::string("City | Height\n").size());
    const std::string own = chunks[i].text.substr(chunks[i].context_bytes);
    EXPECT_TRUE(own.starts_with("Town"));
    EXPECT_TRUE(own.ends_with(" m"));  // no row is cut
    EXPECT_TRUE(text.substr(chunks[i].span.start).starts_with(own.substr(0, own.find('\n'))));
  }
}

TEST(Chunker, CodeIsCutAtLines) {
  std::string text = "```\n";
  for (int i = 0; i < 60; ++i) text += "    call(" + std::to_string(i) + ");\n";
  text += "```\n";
  const auto chunks = cut(text, DocumentType::kMarkdown, 40);
  ASSERT_GT(chunks.size(), 2u);
  for (const Chunk& chunk : chunks) {
    EXPECT_TRUE(chunk.text.ends_with(");"));
    EXPECT_TRUE(chunk.text.starts_with("    call("));
  }
}

TEST(Chunker, GiantWordsAndSentencesAreCutBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "漢";
  text += " " + std::string(5000, 'x') + " " + sentences(1, std::string(3000, 'y'));
  std::string joined;
  for (const Chunk& chunk : cut(text, DocumentType::kText, 64)) joined += chunk.text;
  std::string expected = text;
  std::erase(expected, ' ');
  std::erase(joined, ' ');
  EXPECT_EQ(joined, expected);
}

TEST(Chunker, EveryWordOfTheSampleCorpusIsInOneChunk) {
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(GRITSTONE_SOURCE_DIR) / "data" / "sample" / "docs")) {
    SCOPED_TRACE(entry.path().filename().string());
    const std::string bytes = read_file(entry.path(), 1 << 20);
    const Document document = must_read(bytes, document_type_of(entry.path().string()).value_or(DocumentType::kText));
    EXPECT_FALSE(document.title.empty());
    std::size_t words = 0;
    std::size_t heading_words = 0;
    const WordCounter counter;
    for (const Block& block : document.blocks) (block.kind == BlockKind::kHeading ? heading_words : words) += counter.count(block.text);
    std::size_t chunked = 0;
    for (const Chunk& chunk : cut(bytes, document.type, 100))
      chunked += counter.count(std::string_view(chunk.text).substr(chunk.context_bytes));
    EXPECT_GE(chunked, words);
    EXPECT_LE(chunked, words + heading_words);
  }
}

TEST(Chunker, CountsEachTextAboutTwice) {
  const std::string text = sentences(4000, "thing");
  const Document document = must_read(text, DocumentType::kText);
  const WordCounter counter;
  chunk_document(document, counter, {256});
  EXPECT_LE(counter.bytes(), text.size() * 5 / 2);
}

TEST(Chunker, OneLineOf50MegabytesTakesLinearTime) {
  std::string text;
  text.reserve(50 << 20);
  while (text.size() < (50u << 20)) text += "lorem ipsum dolor sit amet ";
  const Document document = must_read(text, DocumentType::kText);
  const auto started = std::chrono::steady_clock::now();
  const auto chunks = chunk_document(document, WordCounter(), {256});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  EXPECT_LT(seconds, 60.0);
  EXPECT_GT(chunks.size(), 30000u);
  EXPECT_EQ(chunks.back().span.end, text.find_last_not_of(' ') + 1);
}

TEST(Chunker, RefusesALimitThatHoldsNothing) {
  const Document document = must_read("text", DocumentType::kText);
  expect_error(ErrorCode::kInvalidArgument, [&] { chunk_document(document, WordCounter(), {15}); });
}

}  // namespace
}  // namespace gritstone

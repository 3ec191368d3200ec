#include <gmock/gmock.h>

#include <chrono>

#include "base/utf8.h"
#include "tests/index/fixtures.h"

namespace gritstone {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::must_read;

// "kind level text" of every block.
std::vector<std::string> outline(const Document& document) {
  constexpr const char* kNames[] = {"heading", "paragraph", "item", "row", "code"};
  std::vector<std::string> lines;
  for (const Block& block : document.blocks) {
    std::string line = kNames[static_cast<int>(block.kind)];
    if (block.level > 0) line += std::to_string(block.level);
    if (block.table_header) line += "*";
    lines.push_back(line + ": " + block.text);
  }
  return lines;
}

std::string source_of(std::string_view bytes, const Document& document, std::size_t block) {
  const Block& b = document.blocks.at(block);
  const ByteSpan span = document.source_span(b, 0, b.text.size());
  return std::string(bytes.substr(span.start, span.end - span.start));
}

// Whatever the input: blocks are valid UTF-8 with runs in order, and every character's range lies inside the file, in order for the types
// that copy text in order.
void expect_sound(std::string_view bytes, const Document& document) {
  for (const Block& block : document.blocks) {
    ASSERT_FALSE(block.text.empty());
    EXPECT_TRUE(is_valid_utf8(block.text));
    ASSERT_FALSE(block.runs.empty());
    EXPECT_EQ(block.runs.front().text, 0u);
    for (std::size_t i = 1; i < block.runs.size(); ++i) EXPECT_LT(block.runs[i - 1].text, block.runs[i].text);
    EXPECT_LT(block.runs.back().text, block.text.size());
    std::size_t last = 0;
    for (std::size_t i = 0; i < block.text.size() && i < 2000;) {
      const std::size_t length = decode_utf8(block.text, i).length;
      const ByteSpan span = document.source_span(block, i, i + length);
      EXPECT_LE(span.start, span.end);
      EXPECT_LE(span.end, bytes.size());
      EXPECT_GE(span.start, last);
      last = span.start;
      i += length;
    }
  }
}

TEST(TextReader, ParagraphsHeadingsAndItems) {
  const std::string text =
      "THE BEAUFORT SCALE\n\nFrancis Beaufort drew up\nhis scale in 1805.\n\nLater use\n=========\n\n- item one\n  goes on\n- item "
      "two\n\nplain end";
  const Document document = must_read(text, DocumentType::kText);
  EXPECT_EQ(document.title, "THE BEAUFORT SCALE");
  EXPECT_THAT(outline(document),
              ElementsAre("heading1: THE BEAUFORT SCALE", "paragraph: Francis Beaufort drew up his scale in 1805.", "heading1: Later use",
                          "item: - item one goes on", "item: - item two", "paragraph: plain end"));
  EXPECT_EQ(source_of(text, document, 1), "Francis Beaufort drew up\nhis scale in 1805.");
  EXPECT_EQ(source_of(text, document, 5), "plain end");
  expect_sound(text, document);
}

TEST(TextReader, HeadingsInCapitals) {
  const std::string text =
      "VERSION 5.3, \"Wren\"\n\nNew: it works.\n\nABC DEF,\n\nA 1 2 3 4 5 B\n\nNATO was founded in 1949\n\nUSA\nNOT ALONE\n";
  EXPECT_THAT(outline(must_read(text, DocumentType::kText)),
              ElementsAre("heading1: VERSION 5.3, \"Wren\"", "paragraph: New: it works.", "paragraph: ABC DEF,", "paragraph: A 1 2 3 4 5 B",
                          "paragraph: NATO was founded in 1949", "paragraph: USA NOT ALONE"));
}

TEST(TextReader, WindowsLineEndsKeepOffsets) {
  const std::string text = "one\r\ntwo\r\n\r\nthree\r\n";
  const Document document = must_read(text, DocumentType::kText);
  EXPECT_THAT(outline(document), ElementsAre("paragraph: one two", "paragraph: three"));
  EXPECT_EQ(source_of(text, document, 0), "one\r\ntwo");
  EXPECT_EQ(source_of(text, document, 1), "three");
}

TEST(MarkdownReader, Structure) {
  const std::string text =
      "---\ntitle: \"From the front matter\"\n---\n# Title #\n\nIntro *with* **bold** and `code`.\nSecond line.\n\n## Lists\n\n- one\n  "
      "more\n- [link](http://x.org/a_b)\n"
      "1. first\n2) second\n\n> quoted\n> text\n\n```cpp\nint a;\n\n  int b;\n```\n\nUnder\n-----\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n| | "
      "x \\| y |\n\n<!-- hidden\nhidden -->\nlast\n***\n"
      "    indented code\n";
  const Document document = must_read(text, DocumentType::kMarkdown);
  EXPECT_EQ(document.title, "From the front matter");
  EXPECT_THAT(outline(document),
              ElementsAre("heading1: Title", "paragraph: Intro with bold and code. Second line.", "heading2: Lists", "item: one more",
                          "item: link", "item: 1. first", "item: 2) second", "paragraph: quoted text", "code: int a;\n\n  int b;",
                          "heading2: Under", "row*: a | b", "row: 1 | 2", "row: | x | y", "paragraph: last", "code:     indented code"));
  EXPECT_EQ(source_of(text, document, 1), "Intro *with* **bold** and `code`.\nSecond line.");
  EXPECT_EQ(source_of(text, document, 4), "link");
  EXPECT_EQ(source_of(text, document, 11), "1 | 2");
  expect_sound(text, document);
}

TEST(MarkdownReader, InlineMarksThatMeanNothingStay) {
  const std::string text =
      "2 * 3 * 4, snake_case_name, a*b, \\*star\\*, 5 < 6 &amp; 7 > 2, [not a link], ![alt text](x.png), <b>tag</b>, <https://a.b/c>, "
      "note[^1].";
  const Document document = must_read(text, DocumentType::kMarkdown);
  EXPECT_THAT(outline(document),
              ElementsAre("paragraph: 2 * 3 * 4, snake_case_name, a*b, *star*, 5 < 6 & 7 > 2, [not a link], alt text, tag, "
                          "<https://a.b/c>, note."));
  expect_sound(text, document);
}

TEST(MarkdownReader, TitleIsTheFirstHeading) {
  EXPECT_EQ(must_read("text\n\n## Sub *heading*\n", DocumentType::kMarkdown).title, "Sub heading");
  EXPECT_EQ(must_read("no heading", DocumentType::kMarkdown).title, "");
}

TEST(HtmlReader, Structure) {
  const std::string html =
      "<!DOCTYPE html><html><head><title>Page &amp; title</title><style>p{}</style><script>var a='</p>';</script></head><body>"
      "<nav><ul><li>Menu</li></ul></nav><h1>Cheese</h1><p>Made from\n   <b>milk</b>, caf&eacute; &#x2013; &#8212; &unknown; AT&T.</p>"
      "<ul><li>one<li>two <i>three</i></ul><table><tr><th>Name</th><th>Fat</th></tr><tr><td>Brie</td><td><p>60&nbsp;%</p></td></tr></table>"
      "<pre>line 1\n  line 2</pre><blockquote>Said</blockquote><footer>imprint</footer><p>a<br>b</p>tail</body></html>";
  const Document document = must_read(html, DocumentType::kHtml);
  EXPECT_EQ(document.title, "Page & title");
  EXPECT_THAT(outline(document), ElementsAre("heading1: Cheese", "paragraph: Made from milk, café – — &unknown; AT&T.", "item: one",
                                             "item: two three", "row*: Name | Fat", "row: Brie | 60 %", "code: line 1\n  line 2",
                                             "paragraph: Said", "paragraph: a b", "paragraph: tail"));
  EXPECT_EQ(source_of(html, document, 1), "Made from\n   <b>milk</b>, caf&eacute; &#x2013; &#8212; &unknown; AT&T.");
  EXPECT_EQ(source_of(html, document, 3), "two <i>three");
  const Block& p = document.blocks[1];
  const std::size_t at = p.text.find("é");
  const ByteSpan e = document.source_span(p, at, at + 2);
  EXPECT_EQ(html.substr(e.start, e.end - e.start), "&eacute;");
  expect_sound(html, document);
}

TEST(HtmlReader, UnclosedElementsLoseNothing) {
  EXPECT_THAT(outline(must_read("<p>before<nav>menu<p>after", DocumentType::kHtml)),
              ElementsAre("paragraph: before", "paragraph: menu", "paragraph: after"));
  EXPECT_THAT(outline(must_read("<table><tr><td>a<td>b", DocumentType::kHtml)), ElementsAre("row: a | b"));
  EXPECT_THAT(outline(must_read("a < b and c<d", DocumentType::kHtml)), ElementsAre("paragraph: a < b and c"));
  EXPECT_THAT(outline(must_read("x<p title='a>b' hidden>y", DocumentType::kHtml)), ElementsAre("paragraph: x", "paragraph: y"));
}

TEST(Readers, HiddenCharactersAreStrippedAndSpansStayRight) {
  // Zero-width space, right-to-left override, tag letters spelling an instruction, a soft hyphen.
  const std::string text =
      "pass\xE2\x80\x8Bword \xE2\x80\xAE"
      "txt\xE2\x80\xAC\xF3\xA0\x81\x81\xF3\xA0\x81\x82 co\xC2\xADop end";
  for (const DocumentType type : {DocumentType::kText, DocumentType::kMarkdown, DocumentType::kHtml}) {
    const Document document = must_read(text, type);
    ASSERT_EQ(document.blocks.size(), 1u);
    EXPECT_EQ(document.blocks[0].text, "password txt coop end");
    const ByteSpan end = document.source_span(document.blocks[0], 18, 21);
    EXPECT_EQ(text.substr(end.start, end.end - end.start), "end");
    expect_sound(text, document);
  }
  EXPECT_EQ(must_read("a&#x202E;b&#8203;c", DocumentType::kHtml).blocks[0].text, "abc");
}

TEST(Encoding, Utf8WithBom) {
  const std::string text = "\xEF\xBB\xBF# Über\n\ntext";
  const Document document = must_read(text, DocumentType::kMarkdown);
  EXPECT_EQ(document.title, "Über");
  EXPECT_EQ(source_of(text, document, 1), "text");
}

TEST(Encoding, Utf16BothWays) {
  const std::u16string text = u"Größe 𝄞 naïve\n\nzweiter Absatz";
  for (const bool big : {false, true}) {
    std::string bytes = big ? "\xFE\xFF" : "\xFF\xFE";
    for (const char16_t unit : text) {
      const char high = static_cast<char>(unit >> 8);
      const char low = static_cast<char>(unit & 0xFF);
      bytes += big ? high : low;
      bytes += big ? low : high;
    }
    const Document document = must_read(bytes, DocumentType::kText);
    EXPECT_THAT(outline(document), ElementsAre("paragraph: Größe 𝄞 naïve", "paragraph: zweiter Absatz"));
    const ByteSpan span = document.source_span(document.blocks[1], 0, 7);
    EXPECT_EQ(span.start, 2 + 2 * text.find(u"zweiter"));
    EXPECT_EQ(span.end, span.start + 14);
    expect_sound(bytes, document);
  }
}

TEST(Encoding, Windows1252) {
  std::string text = "Caf\xE9 \x93quoted\x94 5 \x80, na\xEFve.\n\nNext \xFC\n";
  text += std::string(2000, 'x');  // past an anchor
  text += " \xE4 tail";
  const Document document = must_read(text, DocumentType::kText);
  EXPECT_EQ(document.blocks[0].text, "Café “quoted” 5 €, naïve.");
  const Block& second = document.blocks[1];
  const std::size_t at = second.text.find("tail");
  const ByteSpan span = document.source_span(second, at, at + 4);
  EXPECT_EQ(text.substr(span.start, span.end - span.start), "tail");
  expect_sound(text, document);
}

TEST(Encoding, DamagedUtf8StaysUtf8) {
  const std::string text = "Größe, Maße, Füße, Öl\xFF und Käse";
  const Document document = must_read(text, DocumentType::kText);
  EXPECT_EQ(document.blocks[0].text, "Größe, Maße, Füße, Öl\xEF\xBF\xBD und Käse");
  const std::size_t at = document.blocks[0].text.find("Käse");
  const ByteSpan span = document.source_span(document.blocks[0], at, at + 5);
  EXPECT_EQ(text.substr(span.start, span.end - span.start), "Käse");
  EXPECT_EQ(document.decoded.replaced, 1u);
}

TEST(Encoding, SkipsWhatIsNoText) {
  EXPECT_EQ(read_document("", DocumentType::kText).skip_reason, "empty");
  EXPECT_THAT(read_document(std::string_view("PK\x03\x04\0\0", 6), DocumentType::kText).skip_reason, HasSubstr("binary"));
  EXPECT_THAT(read_document(std::string(100, '\x01') + "text", DocumentType::kText).skip_reason, HasSubstr("binary"));
  EXPECT_THAT(read_document(std::string(100, '\x81'), DocumentType::kText).skip_reason, HasSubstr("unknown encoding"));
  EXPECT_THAT(read_document("  \n\t\n", DocumentType::kMarkdown).skip_reason, HasSubstr("empty"));
  EXPECT_THAT(read_document("<script>x</script>", DocumentType::kHtml).skip_reason, HasSubstr("empty"));
  EXPECT_THAT(read_document("\xFF\xFE", DocumentType::kText).skip_reason, HasSubstr("empty"));
  EXPECT_THAT(read_document("\xFF\xFE"
                            "a",
                            DocumentType::kText)
                  .skip_reason,
              HasSubstr("empty"));  // half a unit
}

// Shapes that take quadratic time or deep recursion in careless readers; each must take time in proportion to its size.
TEST(Readers, HostileInputsTakeLinearTime) {
  const auto repeat = [](std::string_view piece, std::size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += piece;
    return text;
  };
  constexpr std::size_t kBytes = 1 << 20;
  const std::string inputs[] = {repeat("<div>", 500'000) + "deep" + repeat("</div>", 600'000),  // 100,000 levels
                                repeat("<", kBytes),
                                repeat("<!--", kBytes),
                                repeat("<a href=\"", kBytes),
                                repeat("<nav>", kBytes),
                                repeat("<script>", kBytes),
                                repeat("</", kBytes),
                                repeat("&", kBytes),
                                repeat("&#", kBytes),
                                repeat("[", kBytes),
                                repeat("![", kBytes),
                                repeat("`", kBytes),
                                repeat("` `` ", kBytes),
                                repeat("*a", kBytes),
                                repeat("[a](", kBytes),
                                repeat("> ", kBytes),
                                repeat("> \n", kBytes),
                                repeat("|", kBytes),
                                repeat("|a\n|-|-\n", kBytes),
                                repeat("- ", kBytes),
                                repeat("<!-- \n", kBytes),
                                repeat("# \n", kBytes),
                                repeat("~~~\n", kBytes),
                                repeat("<table><tr><td>", kBytes),
                                repeat("<title>", kBytes),
                                repeat("a", kBytes),
                                repeat("\n", kBytes) + "x",
                                repeat("<svg><script>", kBytes),
                                repeat("\\", kBytes)};
  for (const std::string& input : inputs) {
    for (const DocumentType type : {DocumentType::kText, DocumentType::kMarkdown, DocumentType::kHtml}) {
      const auto started = std::chrono::steady_clock::now();
      const ReadResult result = read_document(input, type);
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
      EXPECT_LT(seconds, 10.0) << input.substr(0, 20) << " as " << document_type_name(type);
      EXPECT_EQ(result.document.has_value(), result.skip_reason.empty());
    }
  }
}

TEST(Readers, RandomMarkupIsReadSoundly) {
  const char* pieces[] = {"<p>",   "</p>",         "<li>",  "<td>", "<tr>", "<table>", "<pre>", "</pre>", "<nav>", "</nav>",
                          "&amp;", "&#8203;",      "<!--",  "-->",  "|",    "|-|\n",   "\n",    "\n\n",   "    ",  "# ",
                          "```\n", "- ",           "> ",    "*",    "_",    "`",       "[",     "](",     ")",     "é",
                          "漢",    "\xE2\x80\x8B", "word ", "\xFF", "<",    ">",       "'",     "\"",     "---\n"};
  std::uint64_t state = 12345;
  for (int i = 0; i < 600; ++i) {
    std::string text = "a";
    for (int j = 0; j < 40; ++j) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      text += pieces[(state >> 33) % std::size(pieces)];
    }
    for (const DocumentType type : {DocumentType::kText, DocumentType::kMarkdown, DocumentType::kHtml}) {
      const ReadResult result = read_document(text, type);
      if (result.document) expect_sound(text, *result.document);
    }
  }
}

TEST(Readers, TypesByExtension) {
  EXPECT_EQ(document_type_of("a/b.MD"), DocumentType::kMarkdown);
  EXPECT_EQ(document_type_of("x.htm"), DocumentType::kHtml);
  EXPECT_EQ(document_type_of("x.text"), DocumentType::kText);
  EXPECT_FALSE(document_type_of("x.pdf").has_value());
  EXPECT_FALSE(document_type_of("dir.md/file").has_value());
}

}  // namespace
}  // namespace gritstone

// Full-text search as a user meets it: languages, filters, and queries that are no query.
#include <gmock/gmock.h>

#include "index/stop_words.h"
#include "index/text_analysis.h"
#include "tests/index/fixtures.h"

namespace gritstone {
namespace {

using ::testing::ElementsAre;
using testing::expect_error;
using ::testing::IsEmpty;
using testing::make_chunk;
using testing::make_meta;
using testing::TempDir;
using ::testing::UnorderedElementsAre;

std::vector<std::string> terms_of(const std::string& text, const std::string& language = "english") {
  Analyzer analyzer(language);
  std::vector<std::string> terms;
  analyzer.terms(text, [&](std::string_view term, std::size_t, std::size_t) {
    terms.emplace_back(term);
    return true;
  });
  return terms;
}

TEST(Analyzer, FoldsAndStems) {
  EXPECT_THAT(terms_of("Running RUNNER'S caf\xC3\xA9s, na\xC3\xAFve"), ElementsAre("run", "runner", "cafe", "naiv"));
  EXPECT_THAT(terms_of("snake_case_name 3.14 C3PO"), ElementsAre("snake", "case", "name", "3.14", "c3po"));
  EXPECT_THAT(terms_of("ﬁne Ｆｕｌｌ ２"), ElementsAre("fine", "full", "2"));
  EXPECT_THAT(terms_of("Straße Häuser", "german"), ElementsAre("strass", "haus"));
  EXPECT_THAT(terms_of("Running", "none"), ElementsAre("running"));
  EXPECT_THAT(terms_of("... !? \xE2\x80\x94"), IsEmpty());
  EXPECT_THAT(terms_of(std::string("a\xFF"
                                   "b\0c",
                                   5)),
              ElementsAre("a", "b", "c"));
}

TEST(Analyzer, ScriptsWithoutSpaces) {
  const auto chinese = terms_of("我们在北京大学学习");
  EXPECT_GT(chinese.size(), 3u);
  EXPECT_THAT(chinese, ::testing::Contains("大学"));
  EXPECT_GT(terms_of("東京都に住んでいます").size(), 3u);
  EXPECT_GT(terms_of("ภาษาไทยไม่มีช่องว่าง").size(), 3u);
  EXPECT_THAT(terms_of("한국어 검색"), ElementsAre("한국어", "검색"));  // composed again after folding
}

TEST(Analyzer, OffsetsAndWindows) {
  Analyzer analyzer("english");
  std::string text;
  while (text.size() < 300000) text += "word" + std::to_string(text.size()) + " ";
  std::size_t count = 0;
  analyzer.terms(text, [&](std::string_view term, std::size_t start, std::size_t end) {
    EXPECT_EQ(text.substr(start, end - start), term);
    EXPECT_EQ(term, "word" + std::to_string(start));
    ++count;
    return true;
  });
  EXPECT_EQ(count, static_cast<std::size_t>(std::count(text.begin(), text.end(), ' ')));
}

TEST(Analyzer, QueryTerms) {
  Analyzer analyzer("english");
  EXPECT_THAT(analyzer.query_terms("What is the speed of the fastest train, the speed?"), ElementsAre("speed", "fastest", "train"));
  EXPECT_THAT(analyzer.query_terms("to be or not to be"), ElementsAre("to", "be", "or", "not"));
  EXPECT_THAT(analyzer.query_terms("?!"), IsEmpty());
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "w" + std::to_string(i) + " ";
  EXPECT_EQ(analyzer.query_terms(many).size(), 256u);
  EXPECT_TRUE(is_stop_word("the", "english"));
  EXPECT_FALSE(is_stop_word("the", "german"));
  EXPECT_TRUE(is_known_language("french"));
  EXPECT_FALSE(is_known_language("klingon"));
}

class SearchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = Store::open(dir_ / "store", Store::Mode::kReadWrite);
    auto job = store_->begin_write();
    job->create_collection({.name = "c"});
    add(*job, "docs/tea.md", "markdown", 100, {{"author", "Ada"}}, "Tea", "Green tea is not fermented. Brew it gently.");
    add(*job, "docs/sub/coffee.html", "html", 200, {{"author", "Bo"}}, "Coffee", "Coffee beans are roasted. Brewing takes minutes.");
    add(*job, "notes/water.txt", "text", 300, {{"author", "Ada"}, {"draft", "yes"}}, "Water", "Soft water brews better drinks.");
    add(*job, "zh.txt", "text", 400, {}, "北京", "北京大学是中国的一所大学。");
    add(*job, "docs-old/x.md", "markdown", 500, {}, "Old", "Nothing about drinks.");
    job->commit();
  }

  static void add(WriteJob& job, const std::string& path, const std::string& type, std::int64_t mtime,
                  const std::map<std::string, std::string>& attributes, const std::string& title, const std::string& text) {
    DocumentMeta meta = make_meta(path, title);
    meta.type = type;
    meta.mtime_ns = mtime;
    meta.attributes = attributes;
    job.put_document("c", meta, std::vector<Chunk>{make_chunk(text, title)});
  }

  std::vector<std::string> paths(const std::string& query, const std::string& filter = "") const {
    const auto snapshot = store_->snapshot("c");
    std::vector<std::string> found;
    for (const ScoredChunk& hit : snapshot->bm25(query, 10, parse_filter(filter))) {
      EXPECT_GT(hit.score, 0.0f);
      found.push_back(snapshot->chunk(hit.id).path);
    }
    return found;
  }

  std::vector<std::string> filtered(const std::string& filter) const {
    const auto snapshot = store_->snapshot("c");
    std::vector<std::string> found;
    for (const ChunkId id : snapshot->matching_chunks(parse_filter(filter))) found.push_back(snapshot->chunk(id).path);
    return found;
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
};

TEST_F(SearchTest, StemsTitlesAndOtherScripts) {
  EXPECT_THAT(paths("brewed"), UnorderedElementsAre("docs/tea.md", "docs/sub/coffee.html", "notes/water.txt"));
  EXPECT_THAT(paths("old"), ElementsAre("docs-old/x.md"));  // in the title only
  EXPECT_THAT(paths("大学"), ElementsAre("zh.txt"));
  EXPECT_THAT(paths("中国 tea"), UnorderedElementsAre("zh.txt", "docs/tea.md"));
}

TEST_F(SearchTest, AnyStringIsAQuery) {
  const std::string hostile[] = {"",
                                 "\"",
                                 "\"\"\"",
                                 "*",
                                 "tea*",
                                 "title:tea",
                                 "NEAR(tea coffee)",
                                 "tea AND",
                                 "OR",
                                 "NOT",
                                 "(",
                                 ")",
                                 "^tea",
                                 "-tea",
                                 "{title}:",
                                 "tea + + coffee",
                                 "'; DROP TABLE chunks; --",
                                 std::string("a\0b", 3),
                                 "\xFF\xFE",
                                 std::string(100000, 'a'),
                                 std::string(100000, '"'),
                                 "%s%n",
                                 "fts_1",
                                 "\\"};
  for (const std::string& query : hostile) EXPECT_NO_THROW(store_->snapshot("c")->bm25(query, 10)) << query.substr(0, 20);
  EXPECT_THAT(paths("\"tea\" AND NOT coffee*"), UnorderedElementsAre("docs/tea.md", "docs/sub/coffee.html"));
  std::string many;
  for (int i = 0; i < 5000; ++i) many += "word" + std::to_string(i) + " ";
  EXPECT_THAT(paths("tea " + many), ElementsAre("docs/tea.md"));
  EXPECT_EQ(testing::describe(store_->verify()), "");
}

TEST_F(SearchTest, Filters) {
  EXPECT_THAT(paths("brew", "path:docs"), UnorderedElementsAre("docs/tea.md", "docs/sub/coffee.html"));
  EXPECT_THAT(paths("brew", "path:docs/"), UnorderedElementsAre("docs/tea.md", "docs/sub/coffee.html"));
  EXPECT_THAT(filtered("path:docs"), UnorderedElementsAre("docs/tea.md", "docs/sub/coffee.html"));  // not docs-old
  EXPECT_THAT(filtered("path:docs*"), UnorderedElementsAre("docs/tea.md", "docs/sub/coffee.html", "docs-old/x.md"));
  EXPECT_THAT(filtered("path:*.html path:zh.txt"), UnorderedElementsAre("docs/sub/coffee.html", "zh.txt"));
  EXPECT_THAT(filtered("type:md"), UnorderedElementsAre("docs/tea.md", "docs-old/x.md"));
  EXPECT_THAT(filtered("type:html type:md path:docs"), UnorderedElementsAre("docs/tea.md", "docs/sub/coffee.html"));
  EXPECT_THAT(filtered("author=Ada"), UnorderedElementsAre("docs/tea.md", "notes/water.txt"));
  EXPECT_THAT(filtered("author=Ada draft=yes"), ElementsAre("notes/water.txt"));
  EXPECT_THAT(filtered("author=ada"), IsEmpty());
  EXPECT_THAT(filtered("author=\"' OR 1=1 --\""), IsEmpty());
  EXPECT_EQ(filtered("").size(), 5u);
  Filter time;
  time.modified_from_ns = 200;
  time.modified_before_ns = 400;
  EXPECT_EQ(store_->snapshot("c")->matching_chunks(time).size(), 2u);
}

TEST_F(SearchTest, ScoresOfGivenChunks) {
  const auto snapshot = store_->snapshot("c");
  const auto hits = snapshot->bm25("brew tea", 10);
  std::vector<ChunkId> ids{99999};
  for (const ScoredChunk& hit : hits) ids.push_back(hit.id);
  const auto scores = snapshot->bm25_scores("brew tea", ids);
  ASSERT_EQ(scores.size(), hits.size() + 1);
  EXPECT_EQ(scores[0], 0.0f);
  for (std::size_t i = 0; i < hits.size(); ++i) EXPECT_EQ(scores[i + 1], hits[i].score);
  EXPECT_THAT(snapshot->bm25_scores("brew", {}), IsEmpty());
}

TEST_F(SearchTest, EqualScoresGoById) {
  auto job = store_->begin_write();
  for (int i = 0; i < 20; ++i)
    job->put_document("c", make_meta("same" + std::to_string(i)), std::vector<Chunk>{make_chunk("identical twins")});
  job->commit();
  const auto hits = store_->snapshot("c")->bm25("twins", 7);
  ASSERT_EQ(hits.size(), 7u);
  for (std::size_t i = 1; i < hits.size(); ++i) {
    EXPECT_EQ(hits[i].score, hits[0].score);
    EXPECT_EQ(hits[i].id, hits[i - 1].id + 1);
  }
}

// The score against the formula, computed here from scratch on words that no stemmer changes.
TEST(Bm25, EqualsTheFormula) {
  TempDir dir;
  const auto store = Store::open(dir / "store", Store::Mode::kReadWrite);
  const std::vector<std::vector<std::string>> bodies = {{"fox", "dog"}, {"fox", "fox", "cat", "owl"}, {"dog", "dog", "dog"}, {"owl"}};
  auto job = store->begin_write();
  job->create_collection({.name = "c", .language = "none"});
  std::size_t total = 0;
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    std::string text;
    for (const std::string& word : bodies[i]) text += word + " ";
    job->put_document("c", make_meta(std::to_string(i)), std::vector<Chunk>{make_chunk(text)});
    total += bodies[i].size();
  }
  job->commit();
  const double average = static_cast<double>(total) / 4.0;
  const auto snapshot = store->snapshot("c");
  for (const ScoredChunk& hit : snapshot->bm25("fox dog", 10)) {
    const auto& words = bodies[static_cast<std::size_t>(std::stoi(snapshot->chunk(hit.id).path))];
    double want = 0.0;
    for (const std::string term : {"fox", "dog"}) {
      const auto f = static_cast<double>(std::count(words.begin(), words.end(), term));
      const double idf = std::log(1.0 + (4.0 - 2.0 + 0.5) / (2.0 + 0.5));  // each is in two of four
      want += idf * f * 1.9 / (f + 0.9 * (0.6 + 0.4 * static_cast<double>(words.size()) / average));
    }
    EXPECT_NEAR(hit.score, want, 1e-6);
  }
}

TEST(Filter, Parses) {
  const Filter filter = parse_filter("path:\"my docs/*\" type:txt  after:2024-01-31 before:2024-02-01 key=\"two words\" url=a:b empty=");
  EXPECT_THAT(filter.paths, ElementsAre("my docs/*"));
  EXPECT_THAT(filter.types, ElementsAre("text"));
  EXPECT_EQ(filter.modified_from_ns, 1706659200ll * 1'000'000'000);
  EXPECT_EQ(filter.modified_before_ns.value() - filter.modified_from_ns.value(), 86400ll * 1'000'000'000);
  EXPECT_EQ(filter.attributes.size(), 3u);
  EXPECT_EQ(filter.attributes[0].second, "two words");
  EXPECT_EQ(filter.attributes[1].second, "a:b");
  EXPECT_TRUE(parse_filter("  ").empty());
  for (const char* bad : {"word", ":x", "=x", "path:", "size:3", "type:pdf", "after:2024-13-01", "after:2024-02-30", "after:yesterday",
                          "after:20240101", "path:\"open", "\xFF=1"}) {
    expect_error(ErrorCode::kInvalidArgument, [&] { parse_filter(bad); });
  }
}

}  // namespace
}  // namespace gritstone

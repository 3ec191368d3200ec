// A budget for the first token: what is chosen, what is said before, and that the choice is the prompt that stands before the model.
#include <algorithm>
#include <fstream>

#include "base/checked_file.h"
#include "pipelines/answer.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/fixtures.h"

namespace gritstone {
namespace {

QualityEntry entry(SearchMode mode, std::size_t k, std::size_t passage_tokens, const std::string& reuse, double value) {
  return {mode, k, passage_tokens, parse_reuse(reuse), KvType::kInt8, PromptLayout::kDocsFirst, value, 100};
}

TEST(ChooseStart, TheBestOfThoseInTimeElseTheFastest) {
  const std::vector<QualityEntry> entries{entry(SearchMode::kBm25, 1, 0, "exact", 0.1), entry(SearchMode::kBm25, 2, 0, "exact", 0.3),
                                          entry(SearchMode::kBm25, 3, 0, "exact", 0.3), entry(SearchMode::kBm25, 5, 0, "exact", 0.5)};
  const std::vector<StartOption> options{{&entries[0], 1}, {&entries[1], 3}, {&entries[2], 2}, {&entries[3], 9}};
  const auto choose = [&](double seconds) { return choose_start(options, seconds); };
  EXPECT_EQ(choose(10).option, 3u);
  EXPECT_EQ(choose(9).option, 3u);
  EXPECT_EQ(choose(8.9).option, 2u) << "the faster of equally good ones";
  EXPECT_EQ(choose(1.5).option, 0u);
  EXPECT_TRUE(choose(1.5).fits);
  EXPECT_EQ(choose(0.5).option, 0u);
  EXPECT_FALSE(choose(0.5).fits);
  EXPECT_FALSE(choose(-1).fits);
}

class Budget : public ::testing::Test {
 protected:
  Budget() {
    const std::string filler = "The sea was calm that day and nobody spoke for hours.";
    for (int i = 0; i < 6; ++i) {
      const std::string n = std::to_string(i);
      f.write("octopus" + n + ".txt", filler + " Octopus " + n + " has three hearts in number " + n + ". " + filler + " " + filler + "\n");
    }
    f.index();
    f.engine.set_script("Octopus 1 has three hearts in number 1.");
    options.max_new_tokens = 60;
    options.reuse = parse_reuse("auto");
    options.search.mode = SearchMode::kBm25;
  }

  // A pass takes one second for every hundred tokens; the byte tokenizer makes about 240 of a passage.
  AnswerResult ask(double ms, QualityTable table, const std::string& question = "How many hearts has octopus 1?") {
    const std::filesystem::path file = f.directory / "start.json";
    std::ofstream(file)
        << R"({"pass_tokens":[1,10001],"pass_seconds":[0.01,100.01],"context_seconds":0,"search_seconds":[0,0,0],"ratios":[]})";
    StartCosts costs(file);
    options.budget = StartBudget{ms, &costs, std::move(table)};
    const auto snapshot = f.store->snapshot("notes");
    const auto embedder = open_collection_embedder(f.parts, snapshot->info());
    AnswerResult result = answer(*snapshot, embedder.get(), f.parts, question, options);
    options.budget.reset();
    return result;
  }

  static QualityTable table() {
    QualityTable t;
    t.entries = {entry(SearchMode::kBm25, 1, 60, "exact", 0.1), entry(SearchMode::kBm25, 1, 0, "exact", 0.2),
                 entry(SearchMode::kBm25, 3, 0, "exact", 0.3), entry(SearchMode::kBm25, 5, 0, "exact", 0.4),
                 entry(SearchMode::kBm25, 9, 0, "exact", 0.9)};
    return t;
  }

  PipelineFixture f;
  AnswerOptions options;
};

TEST_F(Budget, TakesAsMuchAsFits) {
  // What each way takes, alone.
  std::vector<double> cautious;
  for (std::size_t i = 0; i < 4; ++i) {
    QualityTable alone;
    alone.entries = {table().entries[i]};
    cautious.push_back(ask(1e9, alone).budget->cautious_ms);
  }
  ASSERT_TRUE(std::ranges::is_sorted(cautious));
  const std::vector<std::size_t> passages{1, 1, 3, 5};
  for (std::size_t i = 0; i < 4; ++i) {
    // Enough for way i, too little for the next.
    const double ms = i == 3 ? 2 * cautious[3] : (cautious[i] + cautious[i + 1]) / 2;
    const AnswerResult a = ask(ms, table());
    ASSERT_TRUE(a.budget);
    EXPECT_TRUE(a.budget->fits) << ms;
    EXPECT_EQ(a.budget->chosen.value, table().entries[i].value);
    EXPECT_LE(a.budget->cautious_ms, ms);
    EXPECT_NEAR(a.budget->cautious_ms, 1.25 * a.budget->expected_ms, 0.05 * ms);
    EXPECT_EQ(a.passages.size(), passages[i]);
    EXPECT_EQ(a.budget->passages, passages[i]);
    EXPECT_EQ(a.passages.size() + a.dropped.size(), 5u) << "what was found and not used is listed";
    EXPECT_EQ(a.budget->considered, 4u) << "more passages than asked for are no choice";
    EXPECT_TRUE(a.budget->kept);
    EXPECT_GT(a.budget->actual_ms, 0);
  }
}

TEST_F(Budget, SaysBeforehandThatNothingFits) {
  std::optional<BudgetReport> said;
  bool text = false;
  options.on_text = [&](std::string_view) { text = true; };
  options.on_budget = [&](const BudgetReport& report) {
    EXPECT_FALSE(text);
    said = report;
  };
  const AnswerResult a = ask(50, table());
  ASSERT_TRUE(said);
  EXPECT_FALSE(said->fits);
  EXPECT_EQ(said->actual_ms, 0);
  EXPECT_GT(said->expected_ms, 50);
  EXPECT_EQ(said->chosen.passage_tokens, 60u) << "the fastest";
  EXPECT_EQ(a.answer.find("Octopus 1 has three hearts"), 0u) << "it is answered all the same";
}

TEST_F(Budget, ACutPassageIsCitedWhereItStands) {
  const AnswerResult a = ask(6'500, table());
  ASSERT_EQ(a.passages.size(), 1u);
  EXPECT_EQ(a.passages[0].text, "Octopus 1 has three hearts in number 1.");
  const std::string source = read_file(a.passages[0].path, 4096);
  EXPECT_EQ(source.substr(a.passages[0].start, a.passages[0].end - a.passages[0].start), a.passages[0].text);
  ASSERT_EQ(a.citations.size(), 1u);
  EXPECT_EQ(source.substr(a.citations[0].start, a.citations[0].end - a.citations[0].start), a.citations[0].text);
}

TEST_F(Budget, ThePolicyIsTheCallersUnlessLeftToUs) {
  SpanCache cache(*f.store, SpanCacheOptions{});
  options.cache = &cache;
  QualityTable t = table();
  t.entries.push_back(entry(SearchMode::kBm25, 5, 0, "chunks", 0.5));
  EXPECT_EQ(ask(200'000, t).reuse.policy, "exact") << "an approximation that nobody measured here";
  t.own = true;
  EXPECT_EQ(ask(200'000, t).reuse.policy, "chunks");
  options.reuse = parse_reuse("exact");
  EXPECT_EQ(ask(200'000, t).reuse.policy, "exact");
  options.reuse = parse_reuse("none");
  EXPECT_EQ(ask(200'000, t).reuse.policy, "none");
  options.reuse = parse_reuse("chunks");
  t.own = false;
  EXPECT_EQ(ask(200'000, t).reuse.policy, "chunks");
  options.reuse = parse_reuse("first=9");
  EXPECT_EQ(ask(200'000, t).reuse.policy, "first=9") << "a borrowed table knows no policies";
  t.own = true;
  EXPECT_EQ(ask(200'000, t).reuse.policy, "exact") << "an own one says nothing of this one";
  t.own = false;
  options.reuse = parse_reuse("chunks");
  // Its passages' states are there now, so five of them start sooner than one that is read.
  const AnswerResult warm = ask(5'000, t);
  EXPECT_TRUE(warm.budget->fits);
  EXPECT_EQ(warm.passages.size(), 5u);
}

TEST_F(Budget, ATableWithoutAWayLeavesThePromptAsItIs) {
  QualityTable t;
  t.own = true;
  t.entries = {entry(SearchMode::kDense, 1, 0, "exact", 0.2)};
  const AnswerResult a = ask(1000, t);
  EXPECT_FALSE(a.budget);
  EXPECT_EQ(a.passages.size(), 5u);
}

TEST_F(Budget, RetrievalLeavesTimeForTheAnswer) {
  const std::filesystem::path file = f.directory / "costs.json";
  std::ofstream(file)
      << R"({"pass_tokens":[1,10001],"pass_seconds":[0.01,100.01],"context_seconds":0,"search_seconds":[0.1,0.1,0.05],"ratios":[]})";
  StartCosts costs(file);
  const auto fitted = [&](double ms, SearchMode mode, bool has_all) {
    SearchOptions search;
    search.mode = mode;
    search.embed_on_demand = 12;
    search.rerank = 20;
    fit_retrieval(search, StartBudget{ms, &costs, {}}, 20, 100, has_all);
    return search;
  };
  // A third of the budget over the margin of 1.25, less 0.1 s of searching and 0.2 s for the question.
  EXPECT_EQ(fitted(60'000, SearchMode::kFused, false).embed_on_demand, 12u);
  EXPECT_EQ(fitted(15'000, SearchMode::kFused, false).embed_on_demand, 3u);
  EXPECT_EQ(fitted(15'000, SearchMode::kFused, true).embed_on_demand, 12u) << "nothing is to be embedded";
  EXPECT_EQ(fitted(1'000, SearchMode::kFused, false).mode, SearchMode::kBm25);
  // Reranking reads a passage and the question for 1.2 seconds; what embedding took is gone.
  EXPECT_EQ(fitted(60'000, SearchMode::kFused, true).rerank, 13u);
  EXPECT_EQ(fitted(15'000, SearchMode::kFused, true).rerank, 3u);
  EXPECT_EQ(fitted(15'000, SearchMode::kFused, false).rerank, 0u);
  EXPECT_EQ(fitted(15'000, SearchMode::kBm25, true).rerank, 3u);
  EXPECT_EQ(fitted(1'000, SearchMode::kDense, true).mode, SearchMode::kDense) << "asked for by name";
}

TEST_F(Budget, TheCollectionsOwnTableIsKeptApartFromCertificates) {
  const CollectionInfo info = *f.store->find_collection("notes");
  EXPECT_FALSE(quality_table_for(*f.store, info, f.parts, PromptLayout::kDocsFirst).own);
  EXPECT_FALSE(default_quality_table().entries.empty());
  QualityTable t = table();
  t.source = "a test";
  t.entries[1].reuse = parse_reuse("blend=0.15");
  t.entries[1].span_type = KvType::kInt4;
  f.store->begin_write()->put_quality_table("notes", f.model_hash, quality_table_to_json(t));
  EXPECT_TRUE(f.store->certificates(info.id).empty());
  const QualityTable kept = quality_table_for(*f.store, info, f.parts, PromptLayout::kDocsFirst);
  EXPECT_TRUE(kept.own);
  EXPECT_EQ(kept.source, "a test");
  EXPECT_EQ(quality_table_to_json(kept), quality_table_to_json(t));
  EXPECT_FALSE(quality_table_for(*f.store, info, f.parts, PromptLayout::kQueryFirst).own) << "measured with the other layout";
  f.model_hash = "hash-2";
  EXPECT_FALSE(quality_table_for(*f.store, info, f.parts, PromptLayout::kDocsFirst).own) << "of another model";
  EXPECT_GS_ERROR(quality_table_from_json(R"({"source":"x","entries":[{"mode":"bm25"}]})"), ErrorCode::kDamagedData, "quality table");
  EXPECT_GS_ERROR(quality_table_from_json("{"), ErrorCode::kDamagedData, "quality table");
}

TEST(QualityTable, RunsWithTheSameQuestionsAddUp) {
  QualityTable before;
  before.source = "10 questions";
  before.entries = {{SearchMode::kBm25, 1, 0, {ReuseKind::kExact}, KvType::kInt8, PromptLayout::kDocsFirst, 0.5, 10},
                    {SearchMode::kFused, 1, 0, {ReuseKind::kExact}, KvType::kInt8, PromptLayout::kDocsFirst, 0.6, 10},
                    {SearchMode::kFused, 1, 0, {ReuseKind::kExact}, KvType::kInt8, PromptLayout::kQueryFirst, 0.7, 10}};
  QualityTable measured = before;
  measured.entries = {{SearchMode::kFused, 1, 0, {ReuseKind::kExact}, KvType::kInt8, PromptLayout::kDocsFirst, 0.8, 10}};
  const QualityTable merged = merge_quality_tables(measured, before);
  ASSERT_EQ(merged.entries.size(), 3u);
  EXPECT_EQ(merged.entries[0].value, 0.8) << "measured again";
  EXPECT_EQ(merged.entries[1].value, 0.5);
  EXPECT_EQ(merged.entries[2].value, 0.7);
  measured.source = "20 questions";
  EXPECT_EQ(merge_quality_tables(measured, before).entries.size(), 1u) << "figures of other questions are not comparable";
}

}  // namespace
}  // namespace gritstone

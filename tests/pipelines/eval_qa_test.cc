// What an evaluation measures, keeps, and goes on from.
#include "pipelines/eval_qa.h"

#include <algorithm>
#include <fstream>

#include "pipelines/qa_metrics.h"
#include "pipelines/qa_quality.h"
#include "pipelines/qa_run_file.h"
#include "pipelines/statistics.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/tiny_collection.h"

namespace gritstone {
namespace {

class EvalQa : public TinyCollection {
 protected:
  EvalQaOptions options(const std::vector<std::string>& policies) {
    EvalQaOptions o;
    for (std::size_t i = 0; i < 6; ++i) {
      QaQuestion q;
      q.id = "q" + std::to_string(i);
      q.question = "What does Passage " + std::to_string(i) + " say?";
      if (i < 4) q.answers = {texts_[i].substr(11)};
      q.kind = i < 4 ? "single" : "unanswerable";
      o.questions.push_back(std::move(q));
    }
    std::vector<ReusePolicy> reuse;
    for (const std::string& policy : policies) reuse.push_back(parse_reuse(policy));
    o.grid = qa_grid({.reuse = reuse,
                      .types = {KvType::kInt8},
                      .ks = {2},
                      .layouts = {PromptLayout::kDocsFirst},
                      .retrievals = {{"", SearchMode::kBm25}}});
    o.answer.max_new_tokens = 10;
    o.answer.abstain = false;
    o.answer.cache = cache_.get();
    return o;
  }
  std::vector<QaRow> run(const EvalQaOptions& o) {
    const auto snapshot = store_->snapshot("notes");
    const std::vector<QaSource> sources{{"", snapshot.get(), nullptr, 0}};
    return eval_qa(sources, parts_, o);
  }
  std::vector<std::string> lines(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }
};

TEST_F(EvalQa, GridNamesEachConfigOnce) {
  const auto grid = qa_grid({.reuse = {parse_reuse("none"), parse_reuse("exact"), parse_reuse("chunks")},
                             .types = {KvType::kInt8, KvType::kInt4},
                             .ks = {1, 3},
                             .layouts = {PromptLayout::kDocsFirst}});
  std::vector<std::string> names;
  for (const QaConfig& config : grid) names.push_back(config.name());
  EXPECT_EQ(names, (std::vector<std::string>{"none/k1/docs-first", "none/k3/docs-first", "exact/k1/docs-first", "exact/k3/docs-first",
                                             "chunks/int8/k1/docs-first", "chunks/int8/k3/docs-first", "chunks/int4/k1/docs-first",
                                             "chunks/int4/k3/docs-first"}));
  EXPECT_EQ(reference_of(grid, 5), 1u);
  EXPECT_EQ(reference_of(grid, 1), 1u);
}

TEST_F(EvalQa, ExactIsTheReferenceAndBlendOfEverythingToo) {
  EvalQaOptions o = options({"none", "exact", "blend=1", "chunks"});
  o.kl = true;
  const std::vector<QaRow> rows = run(o);
  ASSERT_EQ(rows.size(), 24u);
  const auto summaries = summarise(rows, o.grid);
  ASSERT_EQ(summaries.size(), 4u);
  EXPECT_EQ(summaries[0].compared, 0u);
  for (const std::size_t i : {1u, 2u}) {
    SCOPED_TRACE(summaries[i].config);
    EXPECT_EQ(summaries[i].compared, 6u);
    EXPECT_EQ(summaries[i].same_tokens, 6u);
    EXPECT_EQ(summaries[i].flipped, 0u);
    EXPECT_EQ(summaries[i].kl_tokens, 60u);
    EXPECT_EQ(summaries[i].kl_mean, 0);
    EXPECT_EQ(summaries[i].top1_agreement, 1);
  }
  EXPECT_GT(summaries[1].reused_share, 0);
  EXPECT_GT(summaries[3].reused_share, summaries[1].reused_share);
  EXPECT_GT(summaries[3].kl_mean, 0);
  EXPECT_LT(summaries[3].top1_agreement, 1);
  EXPECT_EQ(summaries[0].questions, 6u);
  EXPECT_EQ(summaries[0].answerable, 4u);
  EXPECT_EQ(summaries[0].hit_rate, 1) << "each question names its passage";
  const auto singles = summarise(rows, o.grid, "single");
  EXPECT_EQ(singles[0].questions, 4u);
}

TEST_F(EvalQa, GoesOnFromItsRunFile) {
  EvalQaOptions o = options({"none", "chunks"});
  o.run = directory_ / "run.jsonl";
  EvalQaOptions some = o;
  some.questions.resize(2);
  run(some);
  ASSERT_EQ(lines(o.run).size(), 1u + 4u);
  // A crash in the middle of a line.
  std::ofstream(o.run, std::ios::app) << "{\"config\":\"none";
  const std::vector<QaRow> rows = run(o);
  EXPECT_EQ(lines(o.run).size(), 1u + 12u);
  EvalQaOptions fresh = o;
  fresh.run.clear();
  const std::vector<QaRow> again = run(fresh);
  ASSERT_EQ(again.size(), rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].config, again[i].config);
    EXPECT_EQ(rows[i].answer, again[i].answer);
    EXPECT_EQ(rows[i].fingerprint, again[i].fingerprint);
  }
  const auto before = lines(o.run);
  run(o);
  EXPECT_EQ(lines(o.run), before) << "nothing is asked twice";
  o.answer.max_new_tokens = 11;
  EXPECT_GS_ERROR(run(o), ErrorCode::kInvalidArgument, "another evaluation");
  EXPECT_EQ(lines(o.run), before);
  std::ofstream(o.run, std::ios::app) << "{}\n";
  o.answer.max_new_tokens = 10;
  EXPECT_GS_ERROR(run(o), ErrorCode::kInvalidArgument, "line 14");
}

TEST_F(EvalQa, SummaryCountsWhatStaysRight) {
  const std::vector<QaConfig> grid = qa_grid(
      {.reuse = {parse_reuse("none"), parse_reuse("chunks")}, .types = {KvType::kInt8}, .ks = {1}, .layouts = {PromptLayout::kDocsFirst}});
  std::vector<QaRow> rows;
  for (int i = 0; i < 20; ++i) {
    QaRow row;
    row.id = std::to_string(i);
    row.answerable = i < 18;
    row.config = grid[0].name();
    row.contained = i < 10;  // right under none: ten
    row.f1 = i < 10 ? 0.5 : 0;
    row.completion_tokens = i < 12 ? 16 : 15;
    rows.push_back(row);
    row.config = grid[1].name();
    row.contained = i >= 1 && i < 12;  // nine of them stay right
    row.answer = i % 2 == 0 ? "" : "Other";
    row.fingerprint = i % 4 == 0 ? "" : "ab";
    row.completion_tokens = 20;
    row.kl = {0.0f, 0.2f};
    row.same_top = 1;
    rows.push_back(row);
  }
  const auto s = summarise(rows, grid);
  EXPECT_EQ(s[1].reference_right, 10u);
  EXPECT_EQ(s[1].stayed_right, 9u);
  EXPECT_NEAR(s[1].stayed_right_lower, lower_bound_95(9, 10), 1e-12);
  EXPECT_EQ(s[1].flipped, 10u);
  EXPECT_EQ(s[1].same_tokens, 5u);
  EXPECT_EQ(s[1].of_16, 12u) << "as long as the reference's";
  EXPECT_EQ(s[1].same_tokens_of_16, 3u);
  EXPECT_NEAR(s[0].f1, 5.0 / 18, 1e-12);
  EXPECT_NEAR(s[1].contained, 11.0 / 18, 1e-12);
  EXPECT_NEAR(s[1].kl_mean, 0.1, 1e-6);
  EXPECT_EQ(s[1].top1_agreement, 0.5);
}

TEST_F(EvalQa, BaselinesStandBesideWithReferencesOfTheirOwn) {
  EvalQaOptions o = options({"none", "chunks"});
  o.grid = qa_grid({.reuse = {parse_reuse("none"), parse_reuse("chunks")},
                    .types = {KvType::kInt8},
                    .ks = {2},
                    .layouts = {PromptLayout::kDocsFirst},
                    .retrievals = {{"", SearchMode::kBm25}, {"small", SearchMode::kBm25}}});
  std::vector<std::string> names;
  for (const QaConfig& config : o.grid) names.push_back(config.name());
  EXPECT_EQ(names, (std::vector<std::string>{"bm25+none/k2/docs-first", "bm25+chunks/int8/k2/docs-first", "small:bm25+none/k2/docs-first",
                                             "small:bm25+chunks/int8/k2/docs-first"}));
  EXPECT_EQ(reference_of(o.grid, 3), 2u);
  EXPECT_EQ(reference_of(o.grid, 1), 0u);
  EXPECT_EQ(parse_config_name(names[3]).policy, "chunks/int8");
  EXPECT_EQ(parse_config_name("blend=0.1/int4/k3/query-first").rest, "k3/query-first");
  // The baseline holds one of the eight passages only.
  {
    auto job = store_->begin_write();
    job->create_collection({.name = "few"});
    Chunk chunk;
    chunk.text = texts_[0];
    chunk.span = {0, texts_[0].size()};
    DocumentMeta meta;
    meta.path = "0.txt";
    const std::vector<Chunk> chunks{chunk};
    job->put_document("few", meta, chunks);
    job->commit();
  }
  o.kl = true;
  o.run = directory_ / "run.jsonl";
  const auto notes = store_->snapshot("notes"), few = store_->snapshot("few");
  const std::vector<QaSource> sources{{"", notes.get(), nullptr, 0}, {"small", few.get(), nullptr, 0}};
  EXPECT_GS_ERROR(eval_qa(std::vector<QaSource>{sources[0]}, parts_, o), ErrorCode::kInvalidArgument, "\"small\"");
  const std::vector<QaRow> rows = eval_qa(sources, parts_, o);
  const auto s = summarise(rows, o.grid);
  EXPECT_EQ(s[0].hit_rate, 1);
  EXPECT_EQ(s[2].hit_rate, 0.25);
  EXPECT_EQ(s[2].compared, 0u) << "a reference is compared with nothing";
  EXPECT_EQ(s[3].compared, 6u);
  EXPECT_GT(s[3].kl_tokens, 0u);
  EXPECT_GT(s[0].stages_mean.at("prefill_ms"), 0);
  const QaRow& row = rows[0];
  EXPECT_EQ(row.question, "What does Passage 0 say?");
  EXPECT_EQ(row.gold, std::vector<std::string>{texts_[0].substr(11)});
  ASSERT_EQ(row.passages.size(), 2u);
  EXPECT_EQ(row.passages[0].path, "0.txt");
  EXPECT_EQ(row.passages[0].text, texts_[0]);
  EXPECT_EQ(row.passages[0].end, texts_[0].size());
  // The run goes on only with the same baselines.
  EXPECT_EQ(eval_qa(sources, parts_, o).size(), rows.size());
  o.grid.resize(2);
  EXPECT_GS_ERROR(eval_qa(std::vector<QaSource>{sources[0]}, parts_, o), ErrorCode::kInvalidArgument, "another evaluation");
}

TEST_F(EvalQa, BudgetsAreAskedBesideAndWhatTheyChoseIsKept) {
  EvalQaOptions o = options({"none"});
  o.grid = qa_grid({.reuse = {parse_reuse("none"), parse_reuse("chunks")},
                    .ks = {1, 3},
                    .retrievals = {{"", SearchMode::kBm25}},
                    .passage_tokens = {0, 40},
                    .ttft_budgets = {0.001, 60000}});
  std::vector<std::string> names;
  for (const QaConfig& config : o.grid) names.push_back(config.name());
  ASSERT_EQ(names.size(), 10u);
  EXPECT_EQ(names[1], "bm25+none/k1p40/docs-first");
  EXPECT_EQ(names[8], "bm25+ttft=0.001/k3/docs-first");
  EXPECT_EQ(names[9], "bm25+ttft=60000/k3/docs-first");
  EXPECT_EQ(names[reference_of(o.grid, 9)], "bm25+none/k3/docs-first");
  EXPECT_EQ(names[reference_of(o.grid, 5)], "bm25+none/k1p40/docs-first");

  // What four ways were worth, by an earlier evaluation.
  const std::vector<QaConfig> ways(o.grid.begin(), o.grid.begin() + 8);
  std::vector<QaSummary> figures;
  for (const QaConfig& way : ways) {
    QaSummary s;
    s.config = way.name();
    s.answerable = 10;
    s.f1 = 0.1 * static_cast<double>(way.k) + (way.passage_tokens == 0 ? 0.05 : 0) + (way.reuse.composes() ? -0.01 : 0);
    figures.push_back(s);
  }
  const QualityTable table = quality_table_from(figures, ways, "a test");
  ASSERT_EQ(table.entries.size(), 8u);
  EXPECT_EQ(table.entries[0].reuse.kind, ReuseKind::kExact) << "none, and what gives the same answers";
  EXPECT_TRUE(table.own);

  StartCosts costs;
  costs.measure(*engine_);
  o.start_budget = [&](const CollectionInfo&, PromptLayout) { return StartBudget{0, &costs, table}; };
  std::size_t caches = 0;
  o.new_cache = [&] {
    ++caches;
    return std::make_unique<SpanCache>(*store_, SpanCacheOptions{std::uint64_t{1} << 24, 0, {}, false});
  };
  o.run = directory_ / "run.jsonl";
  const std::vector<QaRow> rows = run(o);
  EXPECT_EQ(caches, 10u);
  const auto s = summarise(rows, o.grid);
  EXPECT_EQ(s[0].budgeted, 0u);
  EXPECT_EQ(s[8].budgeted, 6u);
  EXPECT_EQ(s[8].fitted, 0u) << "a microsecond is in nobody's reach";
  EXPECT_EQ(s[8].kept, 0u);
  EXPECT_EQ(s[9].fitted, 6u);
  EXPECT_EQ(s[9].kept, 6u);
  EXPECT_EQ(s[9].nearly_kept, 6u);
  const QaRun kept = read_qa_run(o.run);
  const auto last = std::ranges::find(kept.rows, names[9], &QaRow::config);
  ASSERT_NE(last, kept.rows.end());
  EXPECT_EQ(last->budget_ms, 60000);
  EXPECT_TRUE(last->budget_fits);
  EXPECT_GE(last->cautious_ms, last->expected_ms);
  EXPECT_EQ(last->chosen, "exact, 3 passages, bm25") << "the best of all";
  EXPECT_EQ(last->passages.size(), 3u);
  // The same prompt as without a budget, so the same answer.
  const auto fixed = std::ranges::find(kept.rows, "bm25+none/k3/docs-first", &QaRow::config);
  EXPECT_EQ(last->fingerprint, fixed->fingerprint);
}

// One question is too long for the context; the others are asked, and it is asked again by the next run.
TEST_F(EvalQa, AQuestionThatFailsIsCountedApart) {
  EvalQaOptions o = options({"none", "exact"});
  o.questions[1].question = "What does Passage 1 say? " + std::string(5000, 'x');
  o.run = directory_ / "run.jsonl";
  const std::vector<QaRow> rows = run(o);
  ASSERT_EQ(rows.size(), 12u);
  EXPECT_NE(rows[2].error, "");
  EXPECT_EQ(rows[2].id, "q1");
  EXPECT_EQ(rows[4].error, "");
  const auto s = summarise(rows, o.grid);
  EXPECT_EQ(s[1].failed, 1u);
  EXPECT_EQ(s[1].questions, 5u);
  EXPECT_EQ(s[1].answerable, 3u);
  EXPECT_EQ(s[1].compared, 5u);
  ASSERT_EQ(lines(o.run).size(), 1u + 12u);
  o.questions[1].question = "What does Passage 1 say?";
  const std::vector<QaRow> again = run(o);
  EXPECT_EQ(lines(o.run).size(), 1u + 14u) << "the two that failed";
  EXPECT_EQ(summarise(again, o.grid)[1].failed, 0u);
  const QaRun kept = read_qa_run(o.run);
  EXPECT_EQ(kept.rows.size(), 12u) << "the later row counts";
  EXPECT_EQ(summarise(kept.rows, kept.configs)[1].failed, 0u);
}

// Version 2 had one mode, which no name says, and rows without what is kept now.
TEST_F(EvalQa, OldRunFilesAreGoneOnWithWhereTheyCanBe) {
  EvalQaOptions o = options({"none"});
  const auto path = directory_ / "old.jsonl";
  const auto write = [&](const std::string& mode) {
    std::ofstream(path, std::ios::trunc) << "{\"gritstone_qa_run\":2,\"model\":\"hash\",\"numerics\":\"" << engine_->numerics_id()
                                         << "\",\"collection\":\"notes\",\"generation\":" << store_->snapshot("notes")->generation()
                                         << ",\"mode\":\"" << mode << "\",\"tokens\":10,\"abstain\":false,\"kl\":false}\n";
  };
  o.run = path;
  write("bm25");
  EXPECT_GS_ERROR(run(o), ErrorCode::kInvalidArgument, "modes in names");
  // Without an embedder, fused search finds by words.
  o.grid = qa_grid({.reuse = {parse_reuse("none")}, .types = {KvType::kInt8}, .ks = {2}, .layouts = {PromptLayout::kDocsFirst}});
  EXPECT_GS_ERROR(run(o), ErrorCode::kInvalidArgument, "another evaluation");
  write("fused");
  EXPECT_EQ(run(o).size(), 6u);
  EXPECT_EQ(read_qa_run(path).rows.size(), 6u);
  EXPECT_EQ(lines(path)[0].find("{\"gritstone_qa_run\":2"), 0u) << "its head stays";
}

TEST_F(EvalQa, RowsKeepTheirFields) {
  QaRow row;
  row.config = "c";
  row.id = "é\n";
  row.kind = "single";
  row.answer = "a \"b\"";
  row.f1 = 0.25;
  row.contained = row.hit = true;
  row.citations = 3;
  row.kl = {0.5f, 0.001f};
  row.fingerprint = "00ff";
  row.same_top = 1;
  row.ttft_ms = 12.5;
  row.question = "a\tb";
  row.gold = {"x", ""};
  row.error = "no";
  row.stages = {{"prefill_ms", 2.5}};
  row.passages = {{"p/\xC3\xA9.md", 1, 9, 0.5, "text"}};
  row.cited = {{1, "p", 2, 3}};
  EXPECT_EQ(qa_row_to_json(qa_row_from_json(qa_row_to_json(row), "here")), qa_row_to_json(row));
  const QaRow back = qa_row_from_json(qa_row_to_json(row), "here");
  EXPECT_EQ(back.gold, row.gold);
  EXPECT_EQ(back.stages, row.stages);
  EXPECT_EQ(back.passages[0].end, 9u);
  EXPECT_EQ(back.cited[0].start, 2u);
  row.passages[0].path = "broken\xFF";
  EXPECT_NE(qa_row_from_json(qa_row_to_json(row), "here").passages[0].path, "")
      << "what is no UTF-8 does not end in a file that cannot be read";
  EXPECT_GS_ERROR(qa_row_from_json("{\"config\":\"c\"}", "here"), ErrorCode::kInvalidArgument, "here: no \"id\"");
}

}  // namespace
}  // namespace gritstone

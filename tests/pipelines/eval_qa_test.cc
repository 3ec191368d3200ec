// What an evaluation measures, keeps, and goes on from.
#include "pipelines/eval_qa.h"

#include <algorithm>
#include <fstream>

#include "pipelines/qa_metrics.h"
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
    o.grid = qa_grid(reuse, {KvType::kInt8}, {2}, {PromptLayout::kDocsFirst});
    o.answer.search.mode = SearchMode::kBm25;
    o.answer.max_new_tokens = 10;
    o.answer.abstain = false;
    o.answer.cache = cache_.get();
    return o;
  }
  std::vector<QaRow> run(const EvalQaOptions& o) { return eval_qa(*store_->snapshot("notes"), nullptr, parts_, o); }
  std::vector<std::string> lines(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }
};

TEST_F(EvalQa, GridNamesEachConfigOnce) {
  const auto grid = qa_grid({parse_reuse("none"), parse_reuse("exact"), parse_reuse("chunks")}, {KvType::kInt8, KvType::kInt4}, {1, 3},
                            {PromptLayout::kDocsFirst});
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
  const std::vector<QaConfig> grid =
      qa_grid({parse_reuse("none"), parse_reuse("chunks")}, {KvType::kInt8}, {1}, {PromptLayout::kDocsFirst});
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
  EXPECT_EQ(qa_row_to_json(qa_row_from_json(qa_row_to_json(row), "here")), qa_row_to_json(row));
  EXPECT_GS_ERROR(qa_row_from_json("{\"config\":\"c\"}", "here"), ErrorCode::kInvalidArgument, "here: no \"id\"");
}

}  // namespace
}  // namespace gritstone

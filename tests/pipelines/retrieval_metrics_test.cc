// Metrics against trec_eval's own code, and the files rankings come in.
#include "pipelines/retrieval_metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/checked_file.h"
#include "base/hash.h"
#include "base/json.h"
#include "pipelines/trec_files.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"

namespace gritstone {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(GRITSTONE_SOURCE_DIR) / "tests" / "golden" / "retrieval";

// Ties (some only as float), unjudged documents, negative judgements, a run deeper than the cutoffs, queries without a run and without
// anything relevant: tests/reference/compare_trec_eval.py made the files with pytrec_eval.
TEST(RetrievalMetrics, EqualTrecEvalsOnEveryQuery) {
  const rapidjson::Document expected = parse_json(read_file(kGolden / "expected.json", 1 << 20), "expected.json");
  std::vector<Metric> metrics;
  for (const auto& metric : expected["q1"].GetObject()) metrics.push_back(parse_metric(metric.name.GetString()));
  const RunScore score = score_run(read_judgements(kGolden / "qrels.txt"), read_trec_run(kGolden / "run.trec"), metrics);
  std::size_t compared = 0, distinct = 0;
  for (const auto& query : expected.GetObject()) {
    const auto ours = score.per_query.find(query.name.GetString());
    for (std::size_t m = 0; m < metrics.size(); ++m) {
      const double theirs = query.value[metrics[m].name()].GetDouble();
      if (ours == score.per_query.end()) {
        EXPECT_EQ(theirs, 0) << "left out because nothing is relevant: " << query.name.GetString();
        continue;
      }
      EXPECT_NEAR(ours->second[m], theirs, 1e-9) << query.name.GetString() << " " << metrics[m].name();
      ++compared;
      distinct += theirs > 0 && theirs < 1 ? 1 : 0;
    }
  }
  EXPECT_EQ(score.per_query.size(), 14u);
  EXPECT_FALSE(score.per_query.contains("nothing"));
  EXPECT_FALSE(score.per_query.contains("negative"));
  EXPECT_EQ(score.per_query.at("missing"), std::vector<double>(metrics.size(), 0.0));
  EXPECT_EQ(compared, 14 * metrics.size());
  EXPECT_GT(distinct, 80u) << "a golden of zeros and ones would show little";
}

TEST(RetrievalMetrics, ByHand) {
  const Judgements judged{{"q1", {{"d1", 2}, {"d2", 1}, {"d3", 0}, {"d9", 1}}}, {"q2", {{"d5", 1}}}, {"none", {{"d1", 0}}}};
  // Equal scores, one of them only as float: the higher document id comes first.
  const TrecRun run{{"q1", {{"d3", 5}, {"d1", 4.00000001}, {"d2", 4}, {"d7", 1}}}};
  const RunScore score = score_run(judged, run, default_metrics());
  ASSERT_EQ(score.per_query.size(), 2u);  // "none" has nothing to find
  const auto value = [&](std::string_view metric) { return score.per_query.at("q1")[score.index_of(parse_metric(metric))]; };
  // Ranking d3, d2, d1, d7.
  const double dcg = 1 / std::log2(3.0) + 2 / std::log2(4.0);
  const double ideal = 2 / std::log2(2.0) + 1 / std::log2(3.0) + 1 / std::log2(4.0);
  EXPECT_NEAR(value("ndcg@10"), dcg / ideal, 1e-12);
  EXPECT_NEAR(value("map"), (1.0 / 2 + 2.0 / 3) / 3, 1e-12);
  EXPECT_NEAR(value("rr"), 0.5, 1e-12);
  EXPECT_NEAR(value("rr@10"), 0.5, 1e-12);
  EXPECT_NEAR(value("p@5"), 0.4, 1e-12);
  EXPECT_NEAR(value("recall@100"), 2.0 / 3, 1e-12);
  EXPECT_NEAR(value("success@5"), 1, 1e-12);
  EXPECT_NEAR(score.mean_of(parse_metric("map")), value("map") / 2, 1e-12);  // q2 counts 0
  EXPECT_GS_ERROR(score.mean_of(parse_metric("map@7")), ErrorCode::kInvalidArgument, "map@7 was not measured");
}

TEST(Metric, NamesAreReadAndWritten) {
  for (const char* name : {"ndcg@10", "ndcg", "recall@100", "p@5", "success@1", "rr", "rr@10", "map", "map@100"}) {
    EXPECT_EQ(parse_metric(name).name(), name);
  }
  EXPECT_EQ(parse_metric("ndcg@10").title(), "nDCG@10");
  for (const char* name : {"", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@1x", "p", "success", "mrr", "NDCG@10", "@10"}) {
    EXPECT_GS_ERROR(parse_metric(name), ErrorCode::kInvalidArgument, "unknown metric \"" + std::string(name) + "\"");
  }
}

TEST(TrecRun, RoundTripKeepsTheOrderWithFallingScores) {
  const TempDirectory directory;
  const TrecRun run{{"q", {{"a", 0.5}, {"b", 0.50000000001}, {"c", 0.7}, {"z", 0.5}}}};
  write_trec_run(directory / "run", run, "tag");
  const TrecRun back = read_trec_run(directory / "run");
  ASSERT_EQ(back.at("q").size(), 4u);
  std::string order;
  double previous = 1;
  for (const RunEntry& e : back.at("q")) {
    order += e.document;
    EXPECT_LT(e.score, previous);
    previous = e.score;
  }
  std::vector<RunEntry> sorted = run.at("q");
  sort_ranking(sorted);
  EXPECT_EQ(order, "czba");
  EXPECT_EQ(order, sorted[0].document + sorted[1].document + sorted[2].document + sorted[3].document);
  EXPECT_GS_ERROR(write_trec_run(directory / "run", {{"q", {{"a b", 1}}}}, "tag"), ErrorCode::kInvalidArgument, "\"a b\"");
}

TEST(TrecRun, ErrorsNameFileAndLine) {
  const TempDirectory directory;
  const auto put = [&](const std::string& text) {
    write_file_atomically(directory / "f", as_bytes(text));
    return directory / "f";
  };
  EXPECT_GS_ERROR(read_trec_run(put("q Q0 d 1 x tag\n")), ErrorCode::kInvalidArgument, "f, line 1: the score \"x\"");
  EXPECT_GS_ERROR(read_trec_run(put("q Q0 d 1 nan tag\n")), ErrorCode::kInvalidArgument, "line 1");
  EXPECT_GS_ERROR(read_trec_run(put("q Q0 d 1 0.5 tag\n\nq d 3\n")), ErrorCode::kInvalidArgument, "line 3: 3 fields");
  EXPECT_GS_ERROR(read_trec_run(put("q Q0 d 1 0.5 t\nr Q0 d 1 1 t\nq Q0 d 2 0.4 t\n")), ErrorCode::kInvalidArgument,
                  "line 3: document \"d\" stands there twice for query \"q\", first in line 1");
  std::string many;
  for (int i = 1; i < 10000; ++i) many += "q Q0 d" + std::to_string(i) + " 1 0.5 t\n";
  EXPECT_GS_ERROR(read_trec_run(put(many + "q Q0 d\n")), ErrorCode::kInvalidArgument, "f, line 10000: 3 fields");
  EXPECT_EQ(read_judgements(put("query-id\tcorpus-id\tscore\nq\td\t2\n")).at("q").at("d"), 2);
  EXPECT_EQ(read_judgements(put("q 0 d -1\n")).at("q").at("d"), -1);
  EXPECT_GS_ERROR(read_judgements(put("q d 1\nq d 0\n")), ErrorCode::kInvalidArgument, "line 2: document \"d\" stands there twice");
  EXPECT_GS_ERROR(read_judgements(put("q d 1\nq e high\n")), ErrorCode::kInvalidArgument, "line 2: the relevance \"high\"");
  EXPECT_GS_ERROR(read_judgements(put("query-id\tcorpus-id\tscore\n")), ErrorCode::kInvalidArgument, "no judgements");
  EXPECT_GS_ERROR(read_judgements(directory / "absent"), ErrorCode::kNotFound, "absent");
}

}  // namespace
}  // namespace gritstone

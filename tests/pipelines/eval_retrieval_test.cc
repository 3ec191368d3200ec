#include "pipelines/eval_retrieval.h"

#include <cmath>
#include <cstdlib>

#include "base/checked_file.h"
#include "base/hash.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/fixtures.h"

namespace gritstone {
namespace {

TEST(RetrievalMetrics, FollowTrecEval) {
  const Judgements judged{{"q1", {{"d1", 2}, {"d2", 1}, {"d3", 0}, {"d9", 1}}}, {"q2", {{"d5", 1}}}, {"none", {{"d1", 0}}}};
  // Equal scores: the higher document id comes first.
  const TrecRun run{{"q1", {{"d3", 5}, {"d1", 4}, {"d2", 4}, {"d7", 1}}}};
  const RunScore score = score_run(judged, run);
  ASSERT_EQ(score.per_query.size(), 2u);  // "none" has nothing to find
  const RetrievalMetrics& m = score.per_query.at("q1");
  // Ranking d3, d2, d1, d7.
  const double dcg = 1 / std::log2(3.0) + 2 / std::log2(4.0);
  const double ideal = 2 / std::log2(2.0) + 1 / std::log2(3.0) + 1 / std::log2(4.0);
  EXPECT_NEAR(m.ndcg_at_10, dcg / ideal, 1e-12);
  EXPECT_NEAR(m.map, (1.0 / 2 + 2.0 / 3) / 3, 1e-12);
  EXPECT_NEAR(m.rr, 0.5, 1e-12);
  EXPECT_NEAR(m.p_at_5, 0.4, 1e-12);
  EXPECT_NEAR(m.recall_at_100, 2.0 / 3, 1e-12);
  EXPECT_NEAR(score.mean.map, m.map / 2, 1e-12);  // q2 counts 0
}

TEST(RetrievalMetrics, CutOffsAreAtTheirRanks) {
  Judgements judged;
  TrecRun run;
  for (int i = 0; i < 150; ++i) {
    const std::string id = "d" + std::to_string(1000 + i);
    run["q"].push_back({id, 1000.0 - i});
    if (i == 4 || i == 5 || i == 9 || i == 10 || i == 99 || i == 100) judged["q"][id] = 1;
  }
  const RetrievalMetrics m = score_run(judged, run).mean;
  EXPECT_NEAR(m.p_at_5, 1.0 / 5, 1e-12);
  EXPECT_NEAR(m.recall_at_100, 5.0 / 6, 1e-12);
  double ideal = 0;
  for (int i = 0; i < 6; ++i) ideal += 1 / std::log2(i + 2.0);
  EXPECT_NEAR(m.ndcg_at_10, (1 / std::log2(6.0) + 1 / std::log2(7.0) + 1 / std::log2(11.0)) / ideal, 1e-12);
}

TEST(TrecRun, RoundTripKeepsTheOrderWithFallingScores) {
  const TempDirectory directory;
  const TrecRun run{{"q", {{"a", 0.5}, {"b", 0.5}, {"c", 0.7}, {"z", 0.5}}}};
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
  EXPECT_EQ(order, "czba");
  write_file_atomically(directory / "bad", as_bytes("q Q0 d 1 x tag\n"));
  EXPECT_GS_ERROR(read_trec_run(directory / "bad"), ErrorCode::kInvalidArgument, "line 1");
  write_file_atomically(directory / "short", as_bytes("q Q0 d 1 0.5 tag\n\nq d 3\n"));
  EXPECT_GS_ERROR(read_trec_run(directory / "short"), ErrorCode::kInvalidArgument, "line 3: 3 fields");
  write_file_atomically(directory / "qrels", as_bytes("query-id\tcorpus-id\tscore\nq\td\t2\n"));
  EXPECT_EQ(read_judgements(directory / "qrels").at("q").at("d"), 2);
  write_file_atomically(directory / "trec", as_bytes("q 0 d 1\n"));
  EXPECT_EQ(read_judgements(directory / "trec").at("q").at("d"), 1);
}

class MiniBeir : public ::testing::Test {
 protected:
  MiniBeir() {
    std::filesystem::create_directories(f.directory / "beir" / "qrels");
    put("corpus.jsonl",
        "{\"_id\": \"d1\", \"title\": \"Octopus\", \"text\": \"It has three hearts and blue blood.\"}\n"
        "{\"_id\": \"d2\", \"title\": \"Tea\", \"text\": \"Green tea is not oxidised at all.\"}\n"
        "{\"_id\": \"q3\", \"title\": \"\", \"text\": \"zinc harbour crane\"}\n"
        "{\"_id\": \"d4\", \"title\": \"Harbour\", \"text\": \"The crane moves zinc.\"}\n");
    put("queries.jsonl",
        "{\"_id\": \"q1\", \"text\": \"hearts of an octopus\"}\n{\"_id\": \"q2\", \"text\": \"oxidised tea\"}\n"
        "{\"_id\": \"q3\", \"text\": \"zinc harbour crane\"}\n{\"_id\": \"q9\", \"text\": \"not judged\"}\n");
    put("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\nq3\td4\t1\n");
    options.data = f.directory / "beir";
    options.k = 10;
  }
  void put(const std::string& name, const std::string& text) { write_file_atomically(f.directory.path() / "beir" / name, as_bytes(text)); }

  PipelineFixture f;
  EvalRetrievalOptions options;
};

TEST_F(MiniBeir, Bm25NeedsNoModelAndItsRunScoresTheSame) {
  options.mode = SearchMode::kBm25;
  options.run_out = f.directory / "run.trec";
  const EvalRetrievalResult r = eval_retrieval(*f.store, nullptr, options);
  EXPECT_EQ(r.documents, 4u);
  EXPECT_EQ(r.queries, 3u);
  EXPECT_DOUBLE_EQ(r.score.mean.ndcg_at_10, 1.0);  // q3 does not find itself
  const EvalRetrievalResult again = eval_run(options, f.directory / "run.trec");
  EXPECT_DOUBLE_EQ(again.score.mean.ndcg_at_10, r.score.mean.ndcg_at_10);
  EXPECT_EQ(read_trec_run(f.directory / "run.trec").count("q9"), 0u);
}

TEST_F(MiniBeir, DenseAndFusedEmbedOnce) {
  EXPECT_GS_ERROR(eval_retrieval(*f.store, nullptr, options), ErrorCode::kInvalidArgument, "needs a model");
  const EvalRetrievalResult r = eval_retrieval(*f.store, &f.parts, options);
  EXPECT_GT(r.score.mean.ndcg_at_10, 0.5);
  const std::size_t jobs = f.engine.jobs();
  options.mode = SearchMode::kDense;
  eval_retrieval(*f.store, &f.parts, options);
  EXPECT_EQ(f.engine.jobs(), jobs + 3);  // the queries
}

TEST_F(MiniBeir, ErrorsNameFileAndLine) {
  options.mode = SearchMode::kBm25;
  options.split = "dev";
  EXPECT_GS_ERROR(eval_retrieval(*f.store, nullptr, options), ErrorCode::kNotFound, "there is: test");
  options.split.clear();
  put("corpus.jsonl", "{\"_id\": \"d1\", \"text\": \"x\"}\n{broken\n");
  EXPECT_GS_ERROR(eval_retrieval(*f.store, nullptr, options), ErrorCode::kInvalidArgument, "corpus.jsonl, line 2");
  put("corpus.jsonl", "{\"title\": \"x\"}\n");
  EXPECT_GS_ERROR(eval_retrieval(*f.store, nullptr, options), ErrorCode::kInvalidArgument, "line 1 has no \"_id\"");
}

// SciFact is not in the repository: GRITSTONE_SHARED_DATA names a folder with retrieval/scifact (BEIR layout).
TEST(SciFact, Bm25AloneReachesWhatIsPublished) {
  const char* shared = std::getenv("GRITSTONE_SHARED_DATA");
  if (shared == nullptr) GTEST_SKIP() << "GRITSTONE_SHARED_DATA is not set";
  const TempDirectory directory;
  const auto store = Store::open(directory / "store", Store::Mode::kReadWrite);
  EvalRetrievalOptions options;
  options.data = std::filesystem::path(shared) / "retrieval" / "scifact";
  options.mode = SearchMode::kBm25;
  const EvalRetrievalResult r = eval_retrieval(*store, nullptr, options);
  EXPECT_EQ(r.documents, 5183u);
  EXPECT_EQ(r.queries, 300u);
  EXPECT_GE(r.score.mean.ndcg_at_10, 0.65);
  EXPECT_GE(r.score.mean.recall_at_100, 0.88);
}

}  // namespace
}  // namespace gritstone

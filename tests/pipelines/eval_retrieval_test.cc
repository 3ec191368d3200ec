#include "pipelines/eval_retrieval.h"

#include <cstdlib>

#include "base/checked_file.h"
#include "base/hash.h"
#include "pipelines/trec_files.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/fixtures.h"

namespace gritstone {
namespace {

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
    options.k = 10;
    options.configs = retrieval_grid("eval", {}, {"fused"}, {0});
  }
  void put(const std::string& name, const std::string& text) { write_file_atomically(f.directory.path() / "beir" / name, as_bytes(text)); }
  std::vector<RetrievalRow> run(const ModelParts* model, const std::string& split = {}) {
    const RetrievalData data = open_retrieval_data(f.directory / "beir", split);
    return eval_retrieval(*f.store, model, data.task, &data, options);
  }
  void bm25_only() { options.configs = retrieval_grid("eval", {}, {"bm25"}, {0}); }

  PipelineFixture f;
  EvalRetrievalOptions options;
};

double ndcg(const RetrievalRow& row) { return row.score.mean_of({MetricKind::kNdcg, 10}); }

TEST_F(MiniBeir, Bm25NeedsNoModelAndItsRunScoresTheSame) {
  bm25_only();
  options.run_out = f.directory / "run.trec";
  const RetrievalRow r = run(nullptr).at(0);
  EXPECT_EQ(r.documents, 4u);
  EXPECT_EQ(r.queries, 3u);
  EXPECT_DOUBLE_EQ(ndcg(r), 1.0);  // q3 does not find itself
  const RetrievalRow again = eval_run(open_retrieval_data(f.directory / "beir", "").task, f.directory / "run.trec", {});
  EXPECT_EQ(again.config, "run");
  EXPECT_EQ(again.score.per_query, r.score.per_query);
  EXPECT_EQ(read_trec_run(f.directory / "run.trec").count("q9"), 0u);
}

TEST_F(MiniBeir, DenseAndFusedEmbedOnce) {
  EXPECT_GS_ERROR(run(nullptr), ErrorCode::kInvalidArgument, "fused search needs a model");
  EXPECT_GT(ndcg(run(&f.parts).at(0)), 0.5);
  const std::size_t jobs = f.engine.jobs();
  options.configs = retrieval_grid("eval", {}, {"dense"}, {0});
  run(&f.parts);
  EXPECT_EQ(f.engine.jobs(), jobs + 3);  // the queries
}

TEST_F(MiniBeir, EveryPoolingHasACollectionAndEveryRowARun) {
  options.configs = retrieval_grid("eval", {"mean", "last"}, {"bm25", "dense"}, {0});
  options.run_out = f.directory / "run.trec";
  options.metrics = {parse_metric("success@1"), parse_metric("recall@2")};
  const std::vector<RetrievalRow> rows = run(&f.parts);
  std::vector<std::string> names;
  for (const RetrievalRow& row : rows) names.push_back(row.config);
  EXPECT_EQ(names, (std::vector<std::string>{"bm25", "dense/mean", "dense/last"}));
  EXPECT_EQ(rows[1].score.metrics, options.metrics);
  for (const char* file : {"run.bm25.trec", "run.dense-mean.trec", "run.dense-last.trec"}) {
    EXPECT_EQ(read_trec_run(f.directory / file).size(), 3u) << file;
  }
  const auto pooling = [&](const std::string& collection) {
    return manifest_from_json(f.store->find_collection(collection)->manifest)->options.pooling;
  };
  EXPECT_EQ(pooling("eval-mean"), Pooling::kMean);
  EXPECT_EQ(pooling("eval-last"), Pooling::kLast);
  // A run of the collection's own kind again, and one pooling alone keeps the plain name.
  EXPECT_EQ(retrieval_grid("eval", {"mean"}, {"fused"}, {0, 20}).at(1).name, "fused+rerank20");
  EXPECT_EQ(retrieval_grid("eval", {"mean"}, {"fused"}, {0}).at(0).collection, "eval");
  EXPECT_EQ(retrieval_grid(std::string(64, 'x'), {"mean", "last"}, {"dense"}, {0}).at(0).collection.size(), 64u);
  EXPECT_GS_ERROR(retrieval_grid("eval", {"median"}, {"dense"}, {0}), ErrorCode::kInvalidArgument, "median");
}

TEST_F(MiniBeir, ErrorsNameFileAndLine) {
  bm25_only();
  EXPECT_GS_ERROR(run(nullptr, "dev"), ErrorCode::kNotFound, "there is: test");
  const std::string good = "{\"_id\": \"d1\", \"text\": \"x\"}\n";
  put("corpus.jsonl", good + "{broken\n");
  EXPECT_GS_ERROR(run(nullptr), ErrorCode::kInvalidArgument, "corpus.jsonl, line 2");
  put("corpus.jsonl", "{\"title\": \"x\"}\n");
  EXPECT_GS_ERROR(run(nullptr), ErrorCode::kInvalidArgument, "line 1 has no \"_id\"");
  put("corpus.jsonl", good + "{\"_id\": \"d2\", \"text\": 5}\n");
  EXPECT_GS_ERROR(run(nullptr), ErrorCode::kInvalidArgument, "corpus.jsonl, line 2: ");
  put("corpus.jsonl", good + "\n" + good);
  EXPECT_GS_ERROR(run(nullptr), ErrorCode::kInvalidArgument, "corpus.jsonl, line 3: the id \"d1\" stands there twice, first in line 1");
  EXPECT_FALSE(f.store->find_collection("eval")) << "half a corpus was kept";
  std::string many;
  for (int i = 1; i < 10000; ++i) many += "{\"_id\": \"d" + std::to_string(i) + "\", \"text\": \"x\"}\n";
  put("corpus.jsonl", many + "{\"_id\": \n");
  EXPECT_GS_ERROR(run(nullptr), ErrorCode::kInvalidArgument, "corpus.jsonl, line 10000: ");
  put("corpus.jsonl", good);
  put("queries.jsonl", "{\"_id\": \"q1\", \"text\": \"x\"}\n{\"_id\": \"q1\", \"text\": \"y\"}\n");
  EXPECT_GS_ERROR(run(nullptr), ErrorCode::kInvalidArgument, "queries.jsonl, line 2: the id \"q1\" stands there twice, first in line 1");
  put("queries.jsonl", "{\"_id\": \"q1\", \"text\": \"x\"}\n");
  EXPECT_GS_ERROR(run(nullptr), ErrorCode::kInvalidArgument, "query \"q2\" is judged, but it is not in queries.jsonl");
  put("qrels/test.tsv", "q1\td1\t0\n");
  EXPECT_GS_ERROR(run(nullptr), ErrorCode::kInvalidArgument, "no query has a relevant document");
  std::filesystem::remove_all(f.directory / "beir" / "qrels");
  EXPECT_GS_ERROR(run(nullptr), ErrorCode::kNotFound, "qrels has no test.tsv");
}

TEST_F(MiniBeir, NobodysFilesAreReplaced) {
  f.write("a.md", "# Mine\n\nStays.\n");
  f.index();
  bm25_only();
  options.configs[0].collection = "notes";
  EXPECT_GS_ERROR(run(nullptr), ErrorCode::kInvalidArgument, "collection \"notes\" holds files (");
  EXPECT_EQ(f.store->find_collection("notes")->documents, 1u);
}

TEST_F(MiniBeir, SquadParagraphsAreTheDocuments) {
  const auto squad = [&](const std::string& second) {
    write_file_atomically(
        f.directory / "squad.json",
        as_bytes(R"({"version":"v2.0","data":[{"title":"Sea_life","paragraphs":[)"
                 R"({"context":"The octopus has three hearts.","qas":[{"id":"s1","question":"How many hearts has an octopus?",)"
                 R"("answers":[{"text":"three","answer_start":16}]}]},)"
                 R"({"context":"Coral grows slowly in warm water.","qas":[)" +
                 second +
                 R"(]},)"
                 R"({"context":"The octopus has three hearts.","qas":[{"id":"s3","question":"Which animal has three hearts?",)"
                 R"("answers":[{"text":"octopus","answer_start":4}],"is_impossible":false}]}]}]})"));
    return open_retrieval_data(f.directory / "squad.json", "");
  };
  const RetrievalData data = squad(R"({"id":"s2","question":"Who eats coral?","answers":[],"is_impossible":true})");
  EXPECT_EQ(data.task.unanswerable, 1u);
  EXPECT_EQ(data.task.judgements, (Judgements{{"s1", {{"1.1", 1}}}, {"s3", {{"1.1", 1}}}}));  // the third paragraph is the first again
  bm25_only();
  const RetrievalRow row = eval_retrieval(*f.store, nullptr, data.task, &data, options).at(0);
  EXPECT_EQ(row.documents, 2u);
  EXPECT_EQ(row.queries, 2u);
  EXPECT_DOUBLE_EQ(ndcg(row), 1.0);
  EXPECT_EQ(f.store->snapshot("eval")->documents().at(0).title, "Sea life");
  EXPECT_GS_ERROR(squad(R"({"id":"s2","question":"Who?","answers":[]})"), ErrorCode::kInvalidArgument,
                  "squad.json, article 1, paragraph 2, question 1: no answer, and it is not marked is_impossible");
  EXPECT_GS_ERROR(squad(R"({"id":"s1","question":"Who?","answers":[{"text":"x"}]})"), ErrorCode::kInvalidArgument,
                  "paragraph 2, question 1: the id \"s1\" stands there twice, first in question 1");
  EXPECT_GS_ERROR(squad(R"({"id":"s2","question":" ","answers":[{"text":"x"}]})"), ErrorCode::kInvalidArgument, "\"question\" is empty");
  EXPECT_GS_ERROR(open_retrieval_data(f.directory / "absent.json", ""), ErrorCode::kNotFound, "absent.json");
}

// SciFact is not in the repository: GRITSTONE_SHARED_DATA names a folder with retrieval/scifact (BEIR layout).
TEST(SciFact, Bm25AloneReachesWhatIsPublished) {
  const char* shared = std::getenv("GRITSTONE_SHARED_DATA");
  if (shared == nullptr) GTEST_SKIP() << "GRITSTONE_SHARED_DATA is not set";
  const TempDirectory directory;
  const auto store = Store::open(directory / "store", Store::Mode::kReadWrite);
  EvalRetrievalOptions options;
  options.configs = retrieval_grid("scifact", {}, {"bm25"}, {0});
  const RetrievalData data = open_retrieval_data(std::filesystem::path(shared) / "retrieval" / "scifact", "");
  const RetrievalRow r = eval_retrieval(*store, nullptr, data.task, &data, options).at(0);
  EXPECT_EQ(r.documents, 5183u);
  EXPECT_EQ(r.queries, 300u);
  EXPECT_GE(ndcg(r), 0.65);
  EXPECT_GE(r.score.mean_of({MetricKind::kRecall, 100}), 0.88);
}

}  // namespace
}  // namespace gritstone

// BM25 on BEIR's SciFact, where the numbers of other systems are known (BM25 of the BEIR paper: nDCG@10 0.665). The data is not in the
// repository: GRITSTONE_SHARED_DATA names the directory that holds retrieval/scifact; without it the test is skipped.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <map>

#include "base/json.h"
#include "tests/index/fixtures.h"

namespace gritstone {
namespace {

using testing::TempDir;

using Qrels = std::map<std::string, std::map<std::string, int>>;

Qrels read_qrels(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  Qrels qrels;
  std::string query, document;
  int grade = 0;
  while (file >> query >> document >> grade) qrels[query][document] = grade;
  return qrels;
}

// trec_eval's ndcg_cut_10: gain = grade, discount log2(rank + 1).
double ndcg10(const std::vector<std::string>& ranked, const std::map<std::string, int>& relevant) {
  double dcg = 0.0;
  for (std::size_t i = 0; i < ranked.size() && i < 10; ++i) {
    const auto found = relevant.find(ranked[i]);
    if (found != relevant.end()) dcg += found->second / std::log2(static_cast<double>(i) + 2.0);
  }
  std::vector<int> grades;
  for (const auto& [id, grade] : relevant) grades.push_back(grade);
  std::sort(grades.rbegin(), grades.rend());
  double ideal = 0.0;
  for (std::size_t i = 0; i < grades.size() && i < 10; ++i) ideal += grades[i] / std::log2(static_cast<double>(i) + 2.0);
  return ideal > 0.0 ? dcg / ideal : 0.0;
}

TEST(SciFact, Bm25ReachesThePublishedLevel) {
  const char* shared = std::getenv("GRITSTONE_SHARED_DATA");
  if (shared == nullptr) GTEST_SKIP() << "GRITSTONE_SHARED_DATA is not set";
  const std::filesystem::path data = std::filesystem::path(shared) / "retrieval" / "scifact";
  TempDir dir;
  const auto store = Store::open(dir / "store", Store::Mode::kReadWrite);
  const auto started = std::chrono::steady_clock::now();
  {
    auto job = store->begin_write();
    job->create_collection({.name = "scifact"});
    std::ifstream corpus(data / "corpus.jsonl");
    for (std::string line; std::getline(corpus, line);) {
      const auto json = parse_json(line, "corpus");
      const std::string title = json["title"].GetString();
      const std::vector<Chunk> chunks{testing::make_chunk(json["text"].GetString())};
      job->put_document("scifact", testing::make_meta(json["_id"].GetString(), title), chunks);
    }
    job->commit();
  }
  const double index_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  const Qrels qrels = read_qrels(data / "qrels" / "test.tsv");
  const auto snapshot = store->snapshot("scifact");
  ASSERT_EQ(snapshot->info().chunks, 5183u);
  double ndcg_sum = 0.0;
  double recall_sum = 0.0;
  double query_seconds = 0.0;
  std::ifstream queries(data / "queries.jsonl");
  for (std::string line; std::getline(queries, line);) {
    const auto json = parse_json(line, "queries");
    const auto judged = qrels.find(json["_id"].GetString());
    if (judged == qrels.end()) continue;
    const auto from = std::chrono::steady_clock::now();
    const auto hits = snapshot->bm25(json["text"].GetString(), 100);
    query_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
    std::vector<std::string> ranked;
    double found = 0.0;
    for (const ScoredChunk& hit : hits) {
      ranked.push_back(snapshot->chunk(hit.id).path);
      found += judged->second.contains(ranked.back()) ? 1.0 : 0.0;
    }
    ndcg_sum += ndcg10(ranked, judged->second);
    recall_sum += found / static_cast<double>(judged->second.size());
  }
  const auto n = static_cast<double>(qrels.size());
  ASSERT_EQ(qrels.size(), 300u);
  std::printf("scifact BM25: nDCG@10 %.4f, recall@100 %.4f, %.2f ms a query, index %.1f s\n", ndcg_sum / n, recall_sum / n,
              1000.0 * query_seconds / n, index_seconds);
  EXPECT_GE(ndcg_sum / n, 0.65);
}

}  // namespace
}  // namespace gritstone

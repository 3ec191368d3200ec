// The sweep of dense weights, and what it takes to recommend one.
#include "pipelines/tune_fusion.h"

#include <random>

#include "pipelines/embedder_setup.h"
#include "pipelines/eval_retrieval.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/fixtures.h"

namespace gritstone {
namespace {

// The scripted model sees letters, not words, so a question whose words are spelt backwards is near its document, while its one real word
// leads BM25 to another.
class Tuning : public ::testing::Test {
 protected:
  static constexpr int kDocuments = 40;

  Tuning() {
    std::mt19937 random(11);
    std::vector<std::vector<std::string>> words(kDocuments);
    for (auto& document : words) {
      // Few letters a document, so that documents differ.
      std::string letters = "abcdefghijklmnopqrstuvwxyz";
      std::shuffle(letters.begin(), letters.end(), random);
      for (int w = 0; w < 8; ++w) {
        std::string word;
        for (int c = 0; c < 6; ++c) word += letters[random() % 5];
        document.push_back(word);
      }
    }
    std::vector<CorpusDocument> corpus;
    for (int d = 0; d < kDocuments; ++d) {
      std::string text, question;
      for (const std::string& word : words[static_cast<std::size_t>(d)]) {
        text += word + " ";
        question += std::string(word.rbegin(), word.rend()) + " ";
      }
      const std::string id = "d" + std::to_string(d), query = "q" + std::to_string(d);
      corpus.push_back({id, "", text});
      // Every fourth question asks in the document's own word instead.
      const int named = d % 4 == 0 ? d : (d + 1) % kDocuments;
      data.task.queries[query] = question + words[static_cast<std::size_t>(named)][0];
      data.task.judgements[query][id] = 1;
    }
    data.for_each_document = [corpus](const std::function<void(const CorpusDocument&)>& visit) {
      for (const CorpusDocument& document : corpus) visit(document);
    };
    eval.configs = retrieval_grid("eval", {}, {"fused"}, {0});
    eval.k = 20;
    EvalCorpusOptions into;
    into.collection = "eval";
    index_corpus(*f.store, &f.parts, data, into);
  }

  TuneResult tune(double in_use) {
    TuneOptions options;
    options.weight_in_use = in_use;
    options.k = eval.k;
    const auto snapshot = f.store->snapshot("eval");
    return tune_fusion(*snapshot, *open_collection_embedder(f.parts, snapshot->info()), data.task, options);
  }

  PipelineFixture f;
  RetrievalData data;
  EvalRetrievalOptions eval;
};

TEST_F(Tuning, TheCurveIsWhatFusedSearchGives) {
  const TuneResult result = tune(0.33);
  ASSERT_EQ(result.curve.size(), 22u);
  std::set<double> distinct;
  for (const TunePoint& point : result.curve) {
    distinct.insert(point.mean);
    eval.dense_weight = point.weight;
    const RetrievalRow row = eval_retrieval(*f.store, &f.parts, data.task, &data, eval).at(0);
    EXPECT_EQ(row.score.mean_of(result.metric), point.mean) << point.weight;
  }
  EXPECT_GT(distinct.size(), 3u) << "a flat curve would show nothing";
  // Weight 0 is BM25 alone.
  eval.dense_weight.reset();
  eval.configs = retrieval_grid("eval", {}, {"bm25"}, {0});
  EXPECT_EQ(eval_retrieval(*f.store, nullptr, data.task, &data, eval).at(0).score.mean_of(result.metric), result.curve.front().mean);
}

TEST_F(Tuning, RecommendsWhatIsBetterAndKeepsWhatIsNot) {
  const TuneResult low = tune(0.05);
  EXPECT_TRUE(low.recommended);
  EXPECT_GT(low.over_in_use.lower, 0);
  EXPECT_GT(low.best_weight, 0.3);
  EXPECT_NEAR(low.over_in_use.difference, low.cross_validated - low.over_in_use.mean_a, 1e-12);
  EXPECT_NEAR(low.over_in_use.mean_a, low.curve[1].mean, 1e-12);
  EXPECT_NEAR(low.over_bm25.mean_a, low.curve[0].mean, 1e-12);
  EXPECT_EQ(low.fold_weights.size(), 5u);
  const TuneResult best = tune(low.best_weight);
  EXPECT_FALSE(best.recommended);
  EXPECT_EQ(best.best_weight, low.best_weight);
  const TuneResult again = tune(0.05);
  EXPECT_EQ(again.over_in_use.lower, low.over_in_use.lower);
}

TEST_F(Tuning, TheWeightIsKeptInTheCollectionUntilItsVectorsGo) {
  const CollectionInfo before = *f.store->find_collection("eval");
  const double own = default_dense_weight(before);
  keep_dense_weight(*f.store, before, 0.85);
  const CollectionInfo after = *f.store->find_collection("eval");
  EXPECT_EQ(default_dense_weight(after), 0.85);
  EXPECT_EQ(manifest_from_json(after.manifest)->statistics, manifest_from_json(before.manifest)->statistics);
  // The embedder is the same, so nothing is refused, and search uses the weight.
  const RetrievalRow kept = eval_retrieval(*f.store, &f.parts, data.task, &data, eval).at(0);
  eval.dense_weight = 0.85;
  EXPECT_EQ(kept.score.per_query, eval_retrieval(*f.store, &f.parts, data.task, &data, eval).at(0).score.per_query);
  EXPECT_GS_ERROR(keep_dense_weight(*f.store, before, 0.1), ErrorCode::kInvalidArgument, "embedded anew");
  IngestOptions options;
  options.collection = "eval";
  reembed(*f.store, f.parts, options);
  EXPECT_EQ(default_dense_weight(*f.store->find_collection("eval")), own);
}

TEST_F(Tuning, RefusesWhatCannotBeTuned) {
  while (data.task.queries.size() > 9) data.task.queries.erase(data.task.queries.begin());
  EXPECT_GS_ERROR(tune(0.4), ErrorCode::kInvalidArgument, "9 questions are too few to choose a weight in 5 folds, expected at least 10");
}

}  // namespace
}  // namespace gritstone

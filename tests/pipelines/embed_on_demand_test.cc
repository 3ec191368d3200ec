// Pay as you go: text first, vectors and spans with the first question that touches a passage.
#include "pipelines/embed_on_demand.h"

#include <fstream>

#include "pipelines/answer.h"
#include "pipelines/embed_stage.h"
#include "pipelines/embedder_setup.h"
#include "pipelines/ingest.h"
#include "tests/pipelines/tiny_collection.h"

namespace gritstone {
namespace {

class OnDemand : public TinyCollection {
 protected:
  void index(bool dense_now) {
    IngestOptions options;
    options.paths = {(directory_ / "docs").string()};
    options.collection = "later";
    options.dense_now = dense_now;
    options.embed.pooling = Pooling::kWeightedMean;
    result_ = ingest(*store_, tokenizer_, &parts_, options);
  }

  AnswerResult ask(const std::string& question) {
    const auto snapshot = store_->snapshot("later");
    const auto embedder = open_collection_embedder(parts_, snapshot->info());
    AnswerOptions options;
    options.search.k = 3;
    options.abstain = false;
    options.max_new_tokens = 4;
    options.cache = cache_.get();
    options.reuse = parse_reuse("chunks");
    options.embedding = *embedder->model_options();
    rows_.clear();
    options.on_embedded = [this](ChunkId chunk, std::span<const float> row) { rows_[chunk].assign(row.begin(), row.end()); };
    return answer(*snapshot, embedder.get(), parts_, question, options);
  }

  std::size_t embedded() { return store_->find_collection("later")->embedded_chunks; }

  void write_documents() {
    std::filesystem::create_directory(directory_ / "docs");
    for (int d = 0; d < 6; ++d) {
      std::ofstream(directory_ / "docs" / (std::to_string(d) + ".txt")) << "tides and " << texts_[static_cast<std::size_t>(d)] << "\n";
    }
  }

  IngestResult result_;
  std::map<ChunkId, std::vector<float>> rows_;
};

TEST_F(OnDemand, ThePassOfTheFirstQuestionGivesVectorAndSpan) {
  ModelConfig tuned = config();
  tuned.grit_tuned = true;  // no statistics to wait for
  const TinyModel model(tuned, DType::kQ8_0);
  parts_.config = &model.config();
  write_documents();
  index(false);
  EXPECT_EQ(embedded(), 0u);

  const AnswerResult first = ask("What about tides?");
  ASSERT_GE(first.passages.size(), 3u);
  EXPECT_EQ(rows_.size(), 6u) << "all of BM25's candidates";
  for (const PassageReuse& p : first.reuse.passages) EXPECT_EQ(p.source, SpanSource::kRam) << "of the embedding pass, not computed again";
  EXPECT_EQ(keep_embeddings(*store_, *store_->find_collection("later"), rows_), 6u);
  EXPECT_EQ(embedded(), 6u);

  const AnswerResult second = ask("What about tides?");
  EXPECT_TRUE(rows_.empty());
  EXPECT_EQ(second.answer, first.answer);
  // `index` finds them done, and as it would have made them.
  const auto snapshot = store_->snapshot("later");
  const std::vector<float> kept = snapshot->embedding(snapshot->matching_chunks({}).front()).value();
  index(true);
  EXPECT_EQ(result_.embedded, 0u);
  {
    auto job = store_->begin_write();
    job->drop_embeddings("later");
    job->commit();
  }
  index(true);
  EXPECT_EQ(result_.embedded, 6u);
  const auto again = store_->snapshot("later");
  EXPECT_EQ(again->embedding(again->matching_chunks({}).front()).value(), kept);
}

TEST_F(OnDemand, VectorsThatWaitForStatisticsAreNotStored) {
  write_documents();
  index(false);
  ask("What about tides?");
  EXPECT_EQ(rows_.size(), 6u);
  EXPECT_EQ(keep_embeddings(*store_, *store_->find_collection("later"), rows_), 0u);
  EXPECT_EQ(embedded(), 0u);
  EXPECT_EQ(keep_embeddings(*store_, *store_->find_collection("later"), {}), 0u);
  index(true);
  EXPECT_EQ(embedded(), 6u);
}

TEST_F(OnDemand, ACollectionThatChangedMeanwhileKeepsNothing) {
  write_documents();
  index(true);
  const CollectionInfo before = *store_->find_collection("later");
  const std::map<ChunkId, std::vector<float>> rows{{ChunkId{1} << 40, std::vector<float>(before.dim, 0.1f)}};
  EXPECT_EQ(keep_embeddings(*store_, before, rows), 0u) << "a chunk that is gone";
  CollectionInfo other = before;
  other.manifest = "{}";
  EXPECT_EQ(keep_embeddings(*store_, other, rows), 0u);
}

}  // namespace
}  // namespace gritstone

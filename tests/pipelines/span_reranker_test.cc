// Reranking: scores over kept states are those of whole passes, and search orders by them.
#include "pipelines/span_reranker.h"

#include <cmath>

#include "pipelines/answer.h"
#include "retriever/likelihood.h"
#include "retriever/search.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/tiny_collection.h"

namespace gritstone {
namespace {

class Reranking : public TinyCollection {
 protected:
  std::vector<double> score(KvType type, SpanCache* cache) {
    const auto snapshot = store_->snapshot("notes");
    std::vector<ChunkRecord> records;
    std::vector<const ChunkRecord*> passages;
    for (const ChunkId id : chunks_) records.push_back(snapshot->chunk(id));
    for (const ChunkRecord& record : records) passages.push_back(&record);
    return SpanReranker(parts_, cache, collection_, type).score(kQuery, passages, {});
  }

  // One pass over everything, and the mean log-probability of the query's tokens from its logits.
  double by_hand(const std::string& text) {
    const SpanNaming naming(parts_, store_->id(), collection_, KvType::kBF16);
    Job job;
    job.tokens = naming.head();
    const auto append = [&](const std::vector<TokenId>& more) { job.tokens.insert(job.tokens.end(), more.begin(), more.end()); };
    append(passage_tokens(tokenizer_, "", text));
    append(tokenizer_.encode("\nA question that this passage answers:"));
    const std::size_t first = job.tokens.size();
    append(tokenizer_.encode(" " + std::string(kQuery)));
    job.wants.logits = Wants::Logits::kAll;
    const std::vector<TokenId> tokens = job.tokens;
    const JobOutput output = engine_->run(std::move(job));
    const std::size_t vocab = engine_->config().vocab;
    double sum = 0;
    for (std::size_t t = first; t < tokens.size(); ++t) {
      double total = 0;
      for (std::size_t v = 0; v < vocab; ++v) total += std::exp(static_cast<double>(output.logits[(t - 1) * vocab + v]));
      sum += static_cast<double>(output.logits[(t - 1) * vocab + static_cast<std::size_t>(tokens[t])]) - std::log(total);
    }
    return sum / static_cast<double>(tokens.size() - first);
  }

  static constexpr const char* kQuery = "What does Passage 3 say?";
};

TEST_F(Reranking, SpansOfTheLiveTypeScoreAsWholePassesDo) {
  const std::vector<double> scores = score(KvType::kBF16, cache_.get());
  ASSERT_EQ(scores.size(), texts_.size());
  for (std::size_t i = 0; i < texts_.size(); ++i) EXPECT_NEAR(scores[i], by_hand(texts_[i]), 1e-5) << i;
  EXPECT_NE(scores[0], scores[1]);
}

TEST_F(Reranking, ScoresDoNotDependOnWhatWasKept) {
  const std::vector<double> first = score(KvType::kInt8, cache_.get());
  EXPECT_EQ(cache_->stats().ram_spans, texts_.size());
  EXPECT_EQ(score(KvType::kInt8, cache_.get()), first);
  EXPECT_EQ(cache_->stats().ram_hits, texts_.size());
  restart();
  EXPECT_EQ(score(KvType::kInt8, cache_.get()), first);
  EXPECT_EQ(cache_->stats().disk_hits + cache_->stats().passed_over, texts_.size());
  EXPECT_EQ(score(KvType::kInt8, nullptr), first);
}

TEST_F(Reranking, SearchPutsTheLikeliestFirstAndLeavesTheRestBehind) {
  const auto snapshot = store_->snapshot("notes");
  SpanReranker reranker(parts_, cache_.get(), collection_, KvType::kInt8);
  SearchOptions options;
  options.mode = SearchMode::kBm25;
  options.k = 8;
  const SearchResult plain = search(*snapshot, nullptr, kQuery, options);
  ASSERT_EQ(plain.hits.size(), 8u);
  options.rerank = 5;
  EXPECT_GS_ERROR(search(*snapshot, nullptr, kQuery, options), ErrorCode::kInvalidArgument, "reranking needs a model");
  options.reranker = &reranker;
  options.rerank_weight = 1;
  const SearchResult reranked = search(*snapshot, nullptr, kQuery, options);
  for (std::size_t i = 0; i < 8; ++i) {
    const SearchHit& hit = reranked.hits[i];
    EXPECT_EQ(hit.rank, i + 1);
    EXPECT_EQ(hit.likelihood.has_value(), i < 5);
    if (i > 0) {
      EXPECT_LE(hit.score, reranked.hits[i - 1].score);
    }
    if (i > 0 && i < 5) {
      EXPECT_LE(*hit.likelihood, *reranked.hits[i - 1].likelihood);
    }
    if (i >= 5) {
      EXPECT_EQ(hit.chunk.id, plain.hits[i].chunk.id);
    }
  }
  options.rerank_weight = 0;
  options.k = 3;
  const SearchResult same = search(*snapshot, nullptr, kQuery, options);
  ASSERT_EQ(same.hits.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(same.hits[i].chunk.id, plain.hits[i].chunk.id);
}

TEST_F(Reranking, AnswersUseIt) {
  AnswerOptions options;
  options.search.mode = SearchMode::kBm25;
  options.search.k = 2;
  options.search.rerank = 8;
  options.search.rerank_weight = 1;
  options.max_new_tokens = 4;
  options.abstain = false;
  options.cache = cache_.get();
  options.reuse = parse_reuse("chunks");
  std::vector<std::string> found;
  options.on_retrieved = [&](const SearchResult& result) {
    for (const SearchHit& hit : result.hits) found.push_back(hit.chunk.text);
  };
  const AnswerResult result = answer(*store_->snapshot("notes"), nullptr, parts_, kQuery, options);
  const std::vector<double> scores = score(KvType::kInt8, cache_.get());
  const auto best = static_cast<std::size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0], texts_[best]);
  EXPECT_GT(result.timings.rerank_ms, 0);
  // The prompt's passages had their spans from reranking.
  ASSERT_FALSE(result.reuse.passages.empty());
  EXPECT_EQ(result.reuse.passages[0].source, SpanSource::kRam);
}

TEST_F(Reranking, QueriesThatDoNotFitAreRefused) {
  const auto snapshot = store_->snapshot("notes");
  const ChunkRecord record = snapshot->chunk(chunks_[0]);
  const ChunkRecord* passage = &record;
  const SpanReranker reranker(parts_, nullptr, collection_);
  EXPECT_GS_ERROR(reranker.score("", {&passage, 1}, {}), ErrorCode::kInvalidArgument, "the query is empty");
  EXPECT_GS_ERROR(reranker.score(std::string(3000, 'x'), {&passage, 1}, {}), ErrorCode::kInvalidArgument, "the model's context is 2048");
  // A passage is cut to make room: its whole text would need 1990 slots.
  ChunkRecord longer = record;
  longer.text = std::string(1990, 'y');
  passage = &longer;
  EXPECT_EQ(reranker.score(std::string(400, 'x'), {&passage, 1}, {}).size(), 1u);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_GS_ERROR(reranker.score(kQuery, {&passage, 1}, stop.get_token()), ErrorCode::kCancelled, "");
}

}  // namespace
}  // namespace gritstone

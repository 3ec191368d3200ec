#include <gmock/gmock.h>

#include <algorithm>
#include <random>

#include "base/checked_file.h"
#include "index/faiss_vectors.h"
#include "index/half_float.h"
#include "tests/index/fixtures.h"

namespace gritstone {
namespace {

using testing::embed_pending;
using testing::expect_error;
using testing::make_chunk;
using testing::make_meta;
using testing::make_vector;
using testing::TempDir;

TEST(HalfFloat, EveryValueSurvivesAndRoundingIsToNearestEven) {
  for (std::uint32_t h = 0; h < 0x10000; ++h) {
    const auto half = static_cast<std::uint16_t>(h);
    const float value = half_to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      ASSERT_EQ(float_to_half(value), half) << h;
    }
  }
  // Against the definition: the nearest half, computed by comparing with both neighbours.
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(random()) & 0x7fffffffu);
    if (!(x < 65504.0f)) continue;
    const std::uint16_t h = float_to_half(x);
    const double error = std::abs(static_cast<double>(half_to_float(h)) - x);
    if (h > 0) {
      EXPECT_LE(error, std::abs(static_cast<double>(half_to_float(static_cast<std::uint16_t>(h - 1))) - x)) << x;
    }
    if (h < 0x7bff) {
      EXPECT_LE(error, std::abs(static_cast<double>(half_to_float(static_cast<std::uint16_t>(h + 1))) - x)) << x;
    }
  }
  EXPECT_EQ(float_to_half(65519.0f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(2049.0f), float_to_half(2048.0f));  // a tie goes to the even one
  EXPECT_EQ(float_to_half(2051.0f), float_to_half(2052.0f));
}

class VectorIndexTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kDim = 24;

  void SetUp() override {
    for (std::size_t i = 0; i < 500; ++i) {
      ids_.push_back(static_cast<ChunkId>(10 + 3 * i));
      const auto v = make_vector(i % 100, kDim);  // five copies of each: ties
      rows_.insert(rows_.end(), v.begin(), v.end());
    }
    index_ = build_vector_index(kDim, ids_, rows_, 0);
  }

  std::vector<ScoredChunk> brute_force(const std::vector<float>& query, std::size_t k, const std::vector<ChunkId>* allowed) const {
    std::vector<ScoredChunk> hits;
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      if (allowed != nullptr && !std::binary_search(allowed->begin(), allowed->end(), ids_[i])) continue;
      double sum = 0.0;
      for (std::size_t j = 0; j < kDim; ++j) sum += static_cast<double>(query[j]) * rows_[i * kDim + j];
      hits.push_back({ids_[i], static_cast<float>(sum)});
    }
    std::stable_sort(hits.begin(), hits.end(), [](const ScoredChunk& a, const ScoredChunk& b) { return a.score > b.score; });
    hits.resize(std::min(hits.size(), k));
    return hits;
  }

  static void expect_same(const std::vector<ScoredChunk>& got, const std::vector<ScoredChunk>& want) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].id, want[i].id) << i;
      EXPECT_NEAR(got[i].score, want[i].score, 1e-5);
    }
  }

  VectorFileIdentity identity() const { return {std::string(32, 'a'), 7, 3, 12345, kDim, ids_.size()}; }

  std::vector<ChunkId> ids_;
  std::vector<float> rows_;
  std::shared_ptr<const VectorIndex> index_;
};

TEST_F(VectorIndexTest, EqualsBruteForceWithTiesById) {
  for (std::uint64_t seed = 1000; seed < 1020; ++seed) {
    const auto query = make_vector(seed, kDim);
    for (const std::size_t k : {1u, 3u, 7u, 100u, 499u, 500u, 900u}) expect_same(index_->search(query, k), brute_force(query, k, nullptr));
  }
}

TEST_F(VectorIndexTest, FilterScansTheAllowedOnly) {
  std::vector<ChunkId> allowed{1, 2};  // some that are not there
  for (ChunkId id = 10; id < 900; id += 21) allowed.push_back(id);
  const auto query = make_vector(77777, kDim);
  expect_same(index_->search(query, 10, &allowed), brute_force(query, 10, &allowed));
  const std::vector<ChunkId> none;
  EXPECT_TRUE(index_->search(query, 10, &none).empty());
  // The same bits as without filter, so that filtered and unfiltered scores compare.
  const auto all = index_->search(query, 3);
  const auto filtered = index_->search(query, 3, &ids_);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(all[i].score, filtered[i].score);
}

TEST_F(VectorIndexTest, RejectsBadQueries) {
  expect_error(ErrorCode::kInvalidArgument, [&] { index_->search(make_vector(1, kDim + 1), 1); });
  auto query = make_vector(1, kDim);
  query[3] = std::numeric_limits<float>::quiet_NaN();
  expect_error(ErrorCode::kInvalidArgument, [&] { index_->search(query, 1); });
  EXPECT_TRUE(index_->search(make_vector(1, kDim), 0).empty());
}

TEST_F(VectorIndexTest, OverflowingScoresAreNoHits) {
  const std::vector<float> rows{65504.0f, 65504.0f, 1.0f, 1.0f};
  const auto index = build_vector_index(2, {1, 2}, rows, 0);
  const std::vector<float> query{3e38f, -3e38f};  // inf - inf for row 1
  for (const ScoredChunk& hit : index->search(query, 2)) EXPECT_FALSE(std::isnan(hit.score));
}

TEST_F(VectorIndexTest, FileRoundTrip) {
  const auto file = serialize_vector_index(*index_, identity());
  std::string why;
  const auto loaded = parse_vector_index(file, identity(), why);
  ASSERT_NE(loaded, nullptr) << why;
  EXPECT_EQ(loaded->size(), index_->size());
  const auto query = make_vector(5, kDim);
  expect_same(loaded->search(query, 20), index_->search(query, 20));
  EXPECT_EQ(loaded->row(13), index_->row(13));
  EXPECT_TRUE(loaded->row(14).empty());
}

TEST_F(VectorIndexTest, AnotherIdentityIsRefused) {
  const auto file = serialize_vector_index(*index_, identity());
  std::string why;
  auto other = identity();
  other.store_id[0] = 'b';
  EXPECT_EQ(parse_vector_index(file, other, why), nullptr);
  other = identity();
  other.collection = 8;
  EXPECT_EQ(parse_vector_index(file, other, why), nullptr);
  other = identity();
  other.token = 1;
  EXPECT_EQ(parse_vector_index(file, other, why), nullptr);
  other = identity();
  other.count -= 1;
  EXPECT_EQ(parse_vector_index(file, other, why), nullptr);
}

TEST_F(VectorIndexTest, EveryMutationIsDetected) {
  const auto file = serialize_vector_index(*index_, identity());
  std::string why;
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    auto damaged = file;
    switch (i % 4) {
      case 0:  // the header and FAISS's own fields deserve more than their share
        damaged[random() % 400] ^= static_cast<std::uint8_t>(1u << (random() % 8));
        break;
      case 1:
        damaged[random() % damaged.size()] ^= static_cast<std::uint8_t>(1u << (random() % 8));
        break;
      case 2:
        damaged.resize(random() % damaged.size());
        break;
      case 3: {
        const std::size_t at = random() % (damaged.size() - 512);
        std::fill_n(damaged.begin() + static_cast<std::ptrdiff_t>(at), 512, std::uint8_t{0});
        break;
      }
    }
    if (damaged == file) continue;
    why.clear();
    EXPECT_EQ(parse_vector_index(damaged, identity(), why), nullptr) << i;
    EXPECT_FALSE(why.empty());
  }
}

class EmbeddedStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = Store::open(dir_ / "store", Store::Mode::kReadWrite);
    auto job = store_->begin_write();
    job->create_collection({.name = "c"});
    for (int d = 0; d < 6; ++d) {
      std::vector<Chunk> chunks;
      for (int i = 0; i < 10; ++i) chunks.push_back(make_chunk("passage " + std::to_string(d) + "/" + std::to_string(i), "Heading"));
      job->put_document("c", make_meta("doc" + std::to_string(d)), chunks);
    }
    job->commit();
    embed_pending(*job, "c");
    job->commit();
    job->publish_vectors("c");
  }

  std::filesystem::path vector_file() const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_ / "store" / "collections")) {
      if (entry.path().extension() == ".faiss") return entry.path();
    }
    return {};
  }

  std::size_t vector_files() const {
    std::size_t n = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_ / "store" / "collections"))
      n += entry.is_regular_file() ? 1 : 0;
    return n;
  }

  // Ids of the nearest 5 to a probe; through a fresh Store, so that nothing is cached.
  std::vector<ChunkId> nearest(Store::Mode mode = Store::Mode::kReadWrite) const {
    const auto store = Store::open(dir_ / "store", mode);
    const auto index = store->snapshot("c")->vectors();
    std::vector<ChunkId> ids;
    for (const ScoredChunk& hit : index->search(make_vector(42, 8), 5)) ids.push_back(hit.id);
    return ids;
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
};

TEST_F(EmbeddedStoreTest, StoredVectorsAreTheGivenOnesInF16) {
  const auto snapshot = store_->snapshot("c");
  const auto hit = snapshot->bm25("passage", 1).at(0);
  const auto stored = snapshot->embedding(hit.id).value();
  const auto given = make_vector(std::hash<std::string>{}(snapshot->chunk(hit.id).text), 8);
  for (std::size_t i = 0; i < given.size(); ++i) EXPECT_NEAR(stored[i], given[i], 1e-3);
  EXPECT_EQ(snapshot->vectors()->row(hit.id), stored);
  EXPECT_EQ(snapshot->info().embedded_chunks, 60u);
  EXPECT_EQ(snapshot->info().dim, 8u);
}

TEST_F(EmbeddedStoreTest, MissingDamagedOrForeignFileIsRebuilt) {
  const auto want = nearest();
  const auto path = vector_file();
  ASSERT_FALSE(path.empty());
  const std::string honest = read_file(path, 1 << 20);
  std::filesystem::remove(path);
  EXPECT_EQ(nearest(Store::Mode::kRead), want);
  EXPECT_FALSE(std::filesystem::exists(path));  // a reading store writes nothing
  EXPECT_EQ(nearest(), want);
  EXPECT_TRUE(std::filesystem::exists(path));
  for (const std::size_t at : {5u, 100u, 130u, 400u, 900u}) {
    std::string damaged = honest;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    testing::write_file(path, damaged);
    EXPECT_EQ(testing::describe(store_->verify()).empty(), false) << at;
    EXPECT_EQ(nearest(Store::Mode::kRead), want) << at;
    EXPECT_EQ(nearest(), want) << at;
    EXPECT_EQ(read_file(path, 1 << 20), honest);
  }
  testing::write_file(path, "");
  EXPECT_EQ(nearest(), want);
  EXPECT_EQ(testing::describe(store_->verify()), "");
}

TEST_F(EmbeddedStoreTest, AnOlderGenerationIsNeverUsed) {
  const std::string old_file = read_file(vector_file(), 1 << 20);
  auto job = store_->begin_write();
  job->remove_document("c", "doc0");
  job->commit();
  job->publish_vectors("c");
  job.reset();
  EXPECT_EQ(vector_files(), 1u);
  testing::write_file(vector_file(), old_file);  // under the new name
  const auto store = Store::open(dir_ / "store", Store::Mode::kRead);
  EXPECT_EQ(store->snapshot("c")->vectors()->size(), 50u);
}

TEST_F(EmbeddedStoreTest, VectorsFollowTheSnapshot) {
  const auto before = store_->snapshot("c");
  ASSERT_EQ(before->vectors()->size(), 60u);
  auto job = store_->begin_write();
  job->remove_document("c", "doc1");
  job->put_document("c", make_meta("late"), std::vector<Chunk>{make_chunk("not embedded yet")});
  job->commit();
  job.reset();
  EXPECT_EQ(store_->snapshot("c")->vectors()->size(), 50u);
  EXPECT_EQ(before->vectors()->size(), 60u);
  EXPECT_EQ(store_->snapshot("c")->vectors(), store_->snapshot("c")->vectors());  // shared, not rebuilt
}

TEST_F(EmbeddedStoreTest, EditedDocumentsKeepTheVectorsOfWhatDidNotChange) {
  auto job = store_->begin_write();
  std::vector<Chunk> chunks;
  for (int i = 0; i < 10; ++i) chunks.push_back(make_chunk("passage 2/" + std::to_string(i), "Heading"));
  chunks[4] = make_chunk("rewritten", "Heading");
  chunks[5].heading_path = "Other heading";  // headings may be part of what is embedded
  const auto result = job->put_document("c", make_meta("doc2"), chunks);
  EXPECT_TRUE(result.replaced);
  EXPECT_EQ(result.reused_embeddings, 8u);
  job->commit();
  const auto pending = job->pending_embeddings("c", 100);
  ASSERT_EQ(pending.size(), 2u);
  EXPECT_EQ(pending[0].text, "rewritten");
  // A moved file: put under the new path, then the old one removed.
  chunks.erase(chunks.begin() + 4, chunks.begin() + 6);
  EXPECT_EQ(job->put_document("c", make_meta("moved"), chunks).reused_embeddings, 8u);
  job->remove_document("c", "doc2");
  job->commit();
  job.reset();
  EXPECT_EQ(testing::describe(store_->verify()), "");
  const auto snapshot = store_->snapshot("c");
  const auto moved = snapshot->find_document("moved").value();
  const auto chunk = snapshot->chunk_at(moved.id, 0).value();
  const auto given = make_vector(std::hash<std::string>{}(chunk.text), 8);
  EXPECT_NEAR(snapshot->embedding(chunk.id)->at(0), given[0], 1e-3);
}

TEST_F(EmbeddedStoreTest, DimensionsMustAgree) {
  auto job = store_->begin_write();
  const ChunkId id = store_->snapshot("c")->bm25("passage", 1).at(0).id;
  const std::vector<ChunkId> ids{id};
  const auto nine = make_vector(1, 9);
  expect_error(ErrorCode::kInvalidArgument, [&] { job->put_embeddings("c", ids, MatrixView<const float>(nine.data(), 1, 9)); });
  auto huge = make_vector(1, 8);
  huge[0] = 70000.0f;
  expect_error(ErrorCode::kInvalidArgument, [&] { job->put_embeddings("c", ids, MatrixView<const float>(huge.data(), 1, 8)); });
  job->drop_embeddings("c");
  job->put_embeddings("c", ids, MatrixView<const float>(nine.data(), 1, 9));
  job->commit();
  EXPECT_EQ(store_->snapshot("c")->vectors()->dim(), 9u);
  EXPECT_EQ(store_->snapshot("c")->vectors()->size(), 1u);
}

}  // namespace
}  // namespace gritstone

// What a store promises when things go wrong: processes killed, disks full, bits flipped.
#include <gmock/gmock.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <random>

#include "base/checked_file.h"
#include "tests/index/fixtures.h"

namespace gritstone {
namespace {

using testing::embed_pending;
using testing::expect_error;
using testing::make_chunk;
using testing::make_meta;
using testing::TempDir;

std::vector<Chunk> numbered_chunks(int document, int version) {
  std::vector<Chunk> chunks;
  for (int i = 0; i < 4; ++i) {
    chunks.push_back(
        make_chunk("word document" + std::to_string(document) + " version" + std::to_string(version) + " part" + std::to_string(i)));
  }
  return chunks;
}

// Rewrites documents for ever and says on `pipe` which commits were acknowledged.
[[noreturn]] void write_until_killed(const std::filesystem::path& path, int pipe) {
  try {
    const auto store = Store::open(path, Store::Mode::kReadWrite);
    for (int version = 1;; ++version) {
      auto job = store->begin_write();
      for (int document = 0; document < 3; ++document)
        job->put_document("c", make_meta("d" + std::to_string(document)), numbered_chunks(document, version));
      job->commit();
      if (::write(pipe, &version, sizeof(version)) != sizeof(version)) ::_exit(2);
      embed_pending(*job, "c");
      job->commit();
      job->publish_vectors("c");
    }
  } catch (...) {
    ::_exit(3);
  }
}

TEST(Recovery, KilledWritersLeaveTheLastCommitWhole) {
  TempDir dir;
  {
    const auto store = Store::open(dir / "store", Store::Mode::kReadWrite);
    auto job = store->begin_write();
    job->create_collection({.name = "c"});
    job->commit();
  }
  std::mt19937 random(3);
  for (int round = 0; round < 12; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(ends[0]);
      write_until_killed(dir / "store", ends[1]);
    }
    ::close(ends[1]);
    int acknowledged = 0;
    int version = 0;
    // At least one commit, then some more microseconds.
    ASSERT_EQ(::read(ends[0], &version, sizeof(version)), static_cast<ssize_t>(sizeof(version)));
    acknowledged = version;
    ::usleep(static_cast<useconds_t>(random() % 60000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << status;
    while (::read(ends[0], &version, sizeof(version)) == static_cast<ssize_t>(sizeof(version))) acknowledged = version;
    ::close(ends[0]);

    const auto store = Store::open(dir / "store", Store::Mode::kReadWrite);
    EXPECT_EQ(testing::describe(store->verify()), "") << round;
    const auto snapshot = store->snapshot("c");
    const auto documents = snapshot->documents();
    ASSERT_EQ(documents.size(), 3u);
    std::string seen;
    for (const DocumentRecord& document : documents) {
      ASSERT_EQ(document.chunks, 4u);
      const std::string text = snapshot->chunk_at(document.id, 3).value().text;
      const std::string at = text.substr(text.find("version"), text.rfind(' ') - text.find("version"));
      EXPECT_TRUE(seen.empty() || seen == at) << "two versions in one generation";
      seen = at;
    }
    EXPECT_GE(std::stoi(seen.substr(7)), acknowledged) << "an acknowledged commit is lost";
    if (snapshot->info().embedded_chunks > 0) {
      EXPECT_EQ(snapshot->vectors()->size(), snapshot->info().embedded_chunks);
    }
  }
}

TEST(Recovery, AnInterruptedEmbeddingRunResumes) {
  TempDir dir;
  const auto path = dir / "store";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    try {
      const auto store = Store::open(path, Store::Mode::kReadWrite);
      auto job = store->begin_write();
      job->create_collection({.name = "c"});
      for (int d = 0; d < 5; ++d) job->put_document("c", make_meta("d" + std::to_string(d)), numbered_chunks(d, 0));
      job->commit();
      const auto pending = job->pending_embeddings("c", 12);
      const auto v = testing::make_vector(1, 8);
      for (const PendingChunk& chunk : pending)
        job->put_embeddings("c", std::vector<ChunkId>{chunk.id}, MatrixView<const float>(v.data(), 1, 8));
      job->commit();
      ::raise(SIGKILL);
    } catch (...) {
    }
    ::_exit(3);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto store = Store::open(path, Store::Mode::kReadWrite);
  EXPECT_EQ(store->find_collection("c")->embedded_chunks, 12u);
  EXPECT_EQ(store->snapshot("c")->bm25("word", 100).size(), 20u);  // text is searchable before its vectors exist
  auto job = store->begin_write();
  EXPECT_EQ(embed_pending(*job, "c"), 8u);
  job->commit();
  EXPECT_EQ(store->snapshot("c")->vectors()->size(), 20u);
}

TEST(Recovery, AFullDiskFailsTheJobAndNothingElse) {
  TempDir dir;
  const auto store = Store::open(dir / "store", Store::Mode::kReadWrite);
  {
    auto job = store->begin_write();
    job->create_collection({.name = "c"});
    job->put_document("c", make_meta("first"), numbered_chunks(0, 0));
    job->commit();
  }
  const std::string before = testing::logical_export(*store, "c");
  std::size_t failures = 0;
  for (std::size_t limit = 64 << 10; limit <= 2u << 20; limit += 192 << 10) {
    // In a child: the limit on file sizes cannot be raised again by everyone, and it must not hit the test's own output.
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::signal(SIGXFSZ, SIG_IGN);
      const rlimit bound{limit, limit};
      ::setrlimit(RLIMIT_FSIZE, &bound);
      int result = 0;
      try {
        const auto mine = Store::open(dir / "store", Store::Mode::kReadWrite);
        auto job = mine->begin_write();
        try {
          std::vector<Chunk> chunks;
          for (int i = 0; i < 1500; ++i)
            chunks.push_back(make_chunk("filler " + std::string(600, static_cast<char>('a' + i % 26)) + std::to_string(i)));
          job->put_document("c", make_meta("large"), chunks);
          job->commit();
        } catch (const Error& error) {
          result = error.code() == ErrorCode::kStorage ? 5 : 9;
        }
        if (mine->snapshot("c")->bm25("document0", 10).size() != 4) result = 8;  // readers go on
      } catch (...) {
        result = 7;
      }
      ::_exit(result);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status)) << status;
    EXPECT_TRUE(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 5) << WEXITSTATUS(status) << " at " << limit;
    failures += WEXITSTATUS(status) == 5 ? 1 : 0;
    const auto fresh = Store::open(dir / "store", Store::Mode::kReadWrite);
    EXPECT_EQ(testing::describe(fresh->verify()), "") << limit;
    // All of the document or nothing of it.
    const auto large = fresh->snapshot("c")->find_document("large");
    EXPECT_EQ(large.has_value(), WEXITSTATUS(status) == 0) << limit;
    if (large) {
      EXPECT_EQ(large->chunks, 1500u);
      auto job = fresh->begin_write();
      job->remove_document("c", "large");
      job->commit();
      job->compact();
    }
    EXPECT_TRUE(testing::logical_export(*fresh, "c") == before) << limit;
  }
  EXPECT_GE(failures, 2u);
}

class DamageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto store = Store::open(dir_ / "store", Store::Mode::kReadWrite);
    auto job = store->begin_write();
    job->create_collection({.name = "c"});
    job->create_collection({.name = "healthy"});
    for (int d = 0; d < 8; ++d) job->put_document("c", make_meta("d" + std::to_string(d), "Title"), numbered_chunks(d, 1));
    job->put_document("healthy", make_meta("h"), numbered_chunks(99, 1));
    job->commit();
    embed_pending(*job, "c");
    job->commit();
  }

  // Changes rows behind the store's back, as bit rot would: SQLite itself sees nothing wrong.
  void tamper(const std::string& sql) const {
    sqlite3* connection = nullptr;
    ASSERT_EQ(sqlite3_open((dir_ / "store" / "gritstone.db").c_str(), &connection), SQLITE_OK);
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK) << message;
    EXPECT_GT(sqlite3_changes(connection), 0);
    sqlite3_close(connection);
  }

  TempDir dir_;
};

TEST_F(DamageTest, AChangedChunkIsReportedAndNeverServed) {
  tamper("UPDATE chunks SET text = replace(text, 'part2', 'part7') WHERE id = 3");
  const auto store = Store::open(dir_ / "store", Store::Mode::kReadWrite);
  const auto snapshot = store->snapshot("c");
  expect_error(ErrorCode::kDamagedData, [&] { snapshot->chunk(3); });
  EXPECT_NE(snapshot->chunk(2).text, "");
  EXPECT_EQ(store->snapshot("healthy")->bm25("word", 10).size(), 4u);
  const std::string problems = testing::describe(store->verify());
  EXPECT_THAT(problems, ::testing::HasSubstr("d0, chunk 2"));
  EXPECT_THAT(problems, ::testing::HasSubstr("full-text index"));
  EXPECT_EQ(testing::describe(store->verify("healthy")), "");
  // Putting the document again repairs it.
  auto job = store->begin_write();
  job->put_document("c", make_meta("d0", "Title"), numbered_chunks(0, 1));
  job->commit();
  const auto repaired = store->snapshot("c");
  EXPECT_NE(repaired->chunk_at(repaired->find_document("d0")->id, 2)->text, "");
  job.reset();
  EXPECT_EQ(testing::describe(store->verify()), "");
}

TEST_F(DamageTest, ADamagedDocumentRowIsListedAndHealsWhenPutAgain) {
  tamper("UPDATE documents SET title = 'x' WHERE path = 'd3'");
  const auto store = Store::open(dir_ / "store", Store::Mode::kReadWrite);
  const auto documents = store->snapshot("c")->documents();
  ASSERT_EQ(documents.size(), 8u);
  EXPECT_TRUE(documents[3].damaged);
  EXPECT_EQ(documents[3].sha256, Sha256Digest{});
  EXPECT_FALSE(documents[4].damaged);
  expect_error(ErrorCode::kDamagedData, [&] { store->snapshot("c")->find_document("d3"); });
  expect_error(ErrorCode::kDamagedData, [&] { testing::logical_export(*store, "c"); });
  auto job = store->begin_write();
  EXPECT_EQ(job->put_document("c", make_meta("d3", "Title"), numbered_chunks(3, 1)).reused_embeddings, 4u);
  job->commit();
  job.reset();
  EXPECT_EQ(testing::describe(store->verify()), "");
}

TEST_F(DamageTest, EveryFieldIsCoveredAndRepairable) {
  const char* changes[] = {
      "UPDATE chunks SET start_byte = start_byte + 1 WHERE id = 5",
      "UPDATE chunks SET end_byte = end_byte + 1 WHERE id = 5",
      "UPDATE chunks SET heading = 'x' WHERE id = 5",
      "UPDATE chunks SET tokens = tokens + 1 WHERE id = 5",
      "UPDATE chunks SET content_hash = zeroblob(16) WHERE id = 5",
      "UPDATE chunks SET document_id = 3, ordinal = 9 WHERE id = 5",
      "UPDATE documents SET path = 'elsewhere' WHERE id = 2",
      "UPDATE documents SET title = 'x' WHERE id = 2",
      "UPDATE documents SET sha256 = zeroblob(32) WHERE id = 2",
      "UPDATE documents SET mtime_ns = 17 WHERE id = 2",
      "INSERT INTO attributes VALUES(2, 'k', 'v')",
      "UPDATE embeddings SET vector = zeroblob(16) WHERE chunk_id = 5",
      "UPDATE collections SET manifest = '{\"a\":1}' WHERE name = 'c'",
      "UPDATE collections SET dim = 16 WHERE name = 'c'",
      "DELETE FROM chunks WHERE id = 6",
      "DELETE FROM embeddings WHERE chunk_id = 6",
      "INSERT INTO embeddings SELECT 4000, collection_id, row_hash, vector FROM embeddings WHERE chunk_id = 6",
  };
  const std::string honest = read_file(dir_ / "store" / "gritstone.db", 64 << 20);
  const std::string whole = testing::logical_export(*Store::open(dir_ / "store", Store::Mode::kRead), "c");
  for (const char* change : changes) {
    SCOPED_TRACE(change);
    tamper(std::string("PRAGMA foreign_keys=OFF; ") + change);
    {
      const auto store = Store::open(dir_ / "store", Store::Mode::kReadWrite);
      EXPECT_FALSE(store->verify().empty());
      EXPECT_EQ(testing::describe(store->verify("healthy")).find("healthy |"), std::string::npos);
    }
    if (std::string_view(change).find("collections") == std::string_view::npos) {
      const auto store = Store::open(dir_ / "store", Store::Mode::kReadWrite);
      auto job = store->begin_write();
      for (const std::string& path : job->repair("c")) EXPECT_TRUE(path == "elsewhere" || path.size() == 2) << path;
      for (int d = 0; d < 8; ++d) job->put_document("c", make_meta("d" + std::to_string(d), "Title"), numbered_chunks(d, 1));
      embed_pending(*job, "c");
      job->commit();
      job.reset();
      EXPECT_EQ(testing::describe(store->verify()), "");
      EXPECT_TRUE(testing::logical_export(*store, "c") == whole);
    }
    testing::write_file(dir_ / "store" / "gritstone.db", honest);
    std::filesystem::remove(dir_ / "store" / "gritstone.db-wal");
    std::filesystem::remove(dir_ / "store" / "gritstone.db-shm");
  }
}

TEST_F(DamageTest, ADamagedVectorIsLeftOutOfSearchAndCounted) {
  tamper("UPDATE embeddings SET vector = zeroblob(16) WHERE chunk_id = 5");
  const auto store = Store::open(dir_ / "store", Store::Mode::kReadWrite);
  const auto snapshot = store->snapshot("c");
  expect_error(ErrorCode::kDamagedData, [&] { snapshot->embedding(5); });
  const auto index = snapshot->vectors();
  EXPECT_EQ(index->damaged_rows(), 1u);
  EXPECT_EQ(index->size(), 31u);
  for (const ScoredChunk& hit : index->search(testing::make_vector(3, 8), 100)) EXPECT_NE(hit.id, 5);
}

TEST_F(DamageTest, FlippedBitsNeverServeOtherText) {
  const auto file = dir_ / "store" / "gritstone.db";
  {
    const auto store = Store::open(dir_ / "store", Store::Mode::kReadWrite);
    store->begin_write()->compact();
  }
  const std::string honest = read_file(file, 64 << 20);
  std::map<ChunkId, std::string> texts;
  {
    const auto store = Store::open(dir_ / "store", Store::Mode::kRead);
    for (ChunkId id = 1; id <= 32; ++id) texts[id] = store->snapshot("c")->chunk(id).text;
  }
  std::mt19937 random(11);
  int refused = 0;
  for (int i = 0; i < 150; ++i) {
    std::string damaged = honest;
    const std::size_t at = random() % damaged.size();
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (random() % 8)));
    std::filesystem::remove(dir_ / "store" / "gritstone.db-wal");
    std::filesystem::remove(dir_ / "store" / "gritstone.db-shm");
    testing::write_file(file, damaged);
    try {
      const auto store = Store::open(dir_ / "store", Store::Mode::kRead);
      const auto snapshot = store->snapshot("c");
      for (const auto& [id, text] : texts) {
        try {
          EXPECT_EQ(snapshot->chunk(id).text, text) << "bit flip at " << at;
        } catch (const Error&) {
          ++refused;
        }
      }
      snapshot->bm25("word part1", 5);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace gritstone

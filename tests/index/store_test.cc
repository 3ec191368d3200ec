#include "index/store.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <thread>

#include "index/sqlite_database.h"
#include "tests/index/fixtures.h"

namespace gritstone {
namespace {

using ::testing::ElementsAre;
using testing::embed_pending;
using testing::expect_error;
using ::testing::IsEmpty;
using testing::make_chunk;
using testing::make_meta;
using testing::TempDir;

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override { store_ = Store::open(dir_ / "store", Store::Mode::kReadWrite); }

  void create(const std::string& name) {
    auto job = store_->begin_write();
    job->create_collection({.name = name});
    job->commit();
  }

  void put(const std::string& collection, const std::string& path, const std::vector<std::string>& texts) {
    std::vector<Chunk> chunks;
    for (const std::string& text : texts) chunks.push_back(make_chunk(text));
    auto job = store_->begin_write();
    job->put_document(collection, make_meta(path), chunks);
    job->commit();
  }

  void expect_clean() const { EXPECT_EQ(testing::describe(store_->verify()), ""); }

  std::vector<std::string> texts_of(const std::string& query, const std::string& collection = "c") const {
    const auto snapshot = store_->snapshot(collection);
    std::vector<std::string> texts;
    for (const ScoredChunk& hit : snapshot->bm25(query, 10)) texts.push_back(snapshot->chunk(hit.id).text);
    return texts;
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, IsPrivateOnDisk) {
  create("c");
  struct stat status {};
  ASSERT_EQ(::stat((dir_ / "store").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  for (const char* name : {"gritstone.db", "lock"}) {
    ASSERT_EQ(::stat((dir_ / "store" / name).c_str(), &status), 0) << name;
    EXPECT_EQ(status.st_mode & 0777, 0600u) << name;
  }
}

TEST_F(StoreTest, RefusesADirectoryOthersCanWrite) {
  std::filesystem::permissions(dir_ / "store", std::filesystem::perms::others_write, std::filesystem::perm_options::add);
  expect_error(ErrorCode::kInvalidArgument, [&] { Store::open(dir_ / "store", Store::Mode::kReadWrite); });
}

TEST_F(StoreTest, ReadModeNeedsAStore) {
  expect_error(ErrorCode::kNotFound, [&] { Store::open(dir_ / "nothing", Store::Mode::kRead); });
  EXPECT_FALSE(std::filesystem::exists(dir_ / "nothing"));
  const auto reader = Store::open(dir_ / "store", Store::Mode::kRead);
  expect_error(ErrorCode::kInvalidArgument, [&] { reader->begin_write(); });
}

TEST_F(StoreTest, RefusesAnotherProgramsDatabase) {
  testing::write_file(dir_ / "foreign" / "gritstone.db", std::string(4096, 'x'));
  std::filesystem::permissions(dir_ / "foreign", std::filesystem::perms::owner_all);
  expect_error(ErrorCode::kDamagedData, [&] { Store::open(dir_ / "foreign", Store::Mode::kRead); });
}

TEST_F(StoreTest, CollectionNames) {
  for (const char* good : {"a", "0", "docs", "a_b-c9", "x123456789012345678901234567890123456789012345678901234567890123"}) {
    EXPECT_TRUE(is_valid_collection_name(good)) << good;
  }
  for (const char* bad :
       {"", "A", "_a", "-a", "a b", "a/b", "../x", "a.b", "é", "x1234567890123456789012345678901234567890123456789012345678901234"}) {
    EXPECT_FALSE(is_valid_collection_name(bad)) << bad;
  }
  auto job = store_->begin_write();
  expect_error(ErrorCode::kInvalidArgument, [&] { job->create_collection({.name = "../evil"}); });
  expect_error(ErrorCode::kInvalidArgument, [&] { job->create_collection({.name = "c", .language = "klingon"}); });
  expect_error(ErrorCode::kInvalidArgument, [&] { job->create_collection({.name = "c", .manifest = "{"}); });
  job->create_collection({.name = "c"});
  expect_error(ErrorCode::kInvalidArgument, [&] { job->create_collection({.name = "c"}); });
}

TEST_F(StoreTest, UnknownCollectionNamesTheKnownOnes) {
  create("apples");
  try {
    store_->snapshot("pears");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("apples"));
  }
}

TEST_F(StoreTest, PutsSearchesReplacesAndRemoves) {
  create("c");
  put("c", "tea.md", {"Green tea is not fermented.", "Black tea is fully oxidised."});
  put("c", "coffee.md", {"Coffee is roasted."});
  EXPECT_THAT(texts_of("fermentation of tea"), ElementsAre("Green tea is not fermented.", "Black tea is fully oxidised."));
  put("c", "tea.md", {"White tea is withered."});
  EXPECT_THAT(texts_of("tea"), ElementsAre("White tea is withered."));
  EXPECT_THAT(texts_of("fermented"), IsEmpty());
  auto info = store_->find_collection("c").value();
  EXPECT_EQ(info.documents, 2u);
  EXPECT_EQ(info.chunks, 2u);
  EXPECT_EQ(info.generation, 4u);
  auto job = store_->begin_write();
  EXPECT_TRUE(job->remove_document("c", "tea.md"));
  EXPECT_FALSE(job->remove_document("c", "tea.md"));
  job->commit();
  EXPECT_THAT(texts_of("tea"), IsEmpty());
  job.reset();
  expect_clean();
  info = store_->find_collection("c").value();
  EXPECT_EQ(info.documents, 1u);
  EXPECT_EQ(info.text_bytes, 18u);
}

TEST_F(StoreTest, KeepsEverythingAboutAChunk) {
  create("c");
  Chunk chunk = make_chunk("name | size\nant | 3 mm", "Insects > Sizes");
  chunk.span = {120, 130};
  chunk.context_bytes = 12;
  DocumentMeta meta = make_meta("a/b.md", "Insects");
  meta.attributes = {{"author", "Ada"}, {"year", "1843"}};
  meta.size = 500;
  meta.mtime_ns = 1234567890123456789;
  auto job = store_->begin_write();
  const auto put = job->put_document("c", meta, std::vector<Chunk>{make_chunk("first"), chunk});
  job->commit();
  const auto snapshot = store_->snapshot("c");
  const auto record = snapshot->chunk_at(put.id, 1).value();
  EXPECT_EQ(record.text, chunk.text);
  EXPECT_EQ(record.heading_path, "Insects > Sizes");
  EXPECT_EQ(record.span, (ByteSpan{120, 130}));
  EXPECT_EQ(record.context_bytes, 12u);
  EXPECT_EQ(record.path, "a/b.md");
  EXPECT_EQ(record.title, "Insects");
  EXPECT_EQ(record.ordinal, 1u);
  EXPECT_FALSE(snapshot->chunk_at(put.id, 2).has_value());
  const auto document = snapshot->find_document("a/b.md").value();
  EXPECT_TRUE(static_cast<const DocumentMeta&>(document) == meta);
  EXPECT_EQ(document.chunks, 2u);
  expect_error(ErrorCode::kNotFound, [&] { snapshot->chunk(record.id + 1000); });
  expect_error(ErrorCode::kNotFound, [&] { snapshot->document(document.id + 1); });
}

TEST_F(StoreTest, CollectionsDoNotSeeEachOther) {
  create("c");
  create("d");
  put("c", "x", {"zebra alone"});
  const auto before = store_->snapshot("c")->bm25("zebra", 5);
  put("d", "x", {"zebra zebra zebra"});
  put("d", "y", {"zebra crossing"});
  const auto after = store_->snapshot("c")->bm25("zebra", 5);
  ASSERT_EQ(after.size(), 1u);
  EXPECT_EQ(after[0].score, before.at(0).score);  // document frequencies are the collection's own
  const ChunkId foreign = store_->snapshot("d")->bm25("crossing", 1).at(0).id;
  expect_error(ErrorCode::kNotFound, [&] { store_->snapshot("c")->chunk(foreign); });
  auto job = store_->begin_write();
  const auto row = testing::make_vector(1, 8);
  const std::vector<ChunkId> ids{foreign};
  expect_error(ErrorCode::kNotFound, [&] { job->put_embeddings("c", ids, MatrixView<const float>(row.data(), 1, 8)); });
}

TEST_F(StoreTest, AFailedChangeLeavesTheRestOfTheTransaction) {
  create("c");
  auto job = store_->begin_write();
  job->put_document("c", make_meta("good"), std::vector<Chunk>{make_chunk("kept")});
  Chunk bad = make_chunk("x");
  bad.text = "\xff";
  expect_error(ErrorCode::kInvalidArgument, [&] { job->put_document("c", make_meta("bad"), std::vector<Chunk>{bad}); });
  const auto row = testing::make_vector(1, 8);
  const std::vector<ChunkId> ids{job->pending_embeddings("c", 1).at(0).id, 999};
  std::vector<float> rows(row);
  rows.insert(rows.end(), row.begin(), row.end());
  expect_error(ErrorCode::kNotFound, [&] { job->put_embeddings("c", ids, MatrixView<const float>(rows.data(), 2, 8)); });
  job->commit();
  job.reset();
  EXPECT_THAT(texts_of("kept"), ElementsAre("kept"));
  EXPECT_EQ(store_->find_collection("c")->embedded_chunks, 0u);  // not the first half of a failed batch
  expect_clean();
}

TEST_F(StoreTest, UncommittedWorkIsGone) {
  create("c");
  {
    auto job = store_->begin_write();
    job->put_document("c", make_meta("x"), std::vector<Chunk>{make_chunk("never committed")});
  }
  EXPECT_THAT(texts_of("committed"), IsEmpty());
  EXPECT_EQ(store_->find_collection("c")->generation, 1u);
  expect_clean();
}

TEST_F(StoreTest, ASnapshotStaysAtItsGeneration) {
  create("c");
  put("c", "x", {"old text"});
  const auto old = store_->snapshot("c");
  put("c", "x", {"new text"});
  const auto fresh = store_->snapshot("c");
  EXPECT_EQ(old->generation() + 1, fresh->generation());
  EXPECT_EQ(old->chunk(old->bm25("text", 1).at(0).id).text, "old text");
  EXPECT_EQ(fresh->chunk(fresh->bm25("text", 1).at(0).id).text, "new text");
  EXPECT_THAT(old->bm25("new", 1), IsEmpty());
}

TEST_F(StoreTest, SnapshotsOutliveTheStoreObject) {
  create("c");
  put("c", "x", {"still here"});
  const auto snapshot = store_->snapshot("c");
  store_.reset();
  EXPECT_EQ(snapshot->bm25("here", 1).size(), 1u);
}

TEST_F(StoreTest, OnlyOneWriterAndItSaysWho) {
  const auto job = store_->begin_write();
  const auto other = Store::open(dir_ / "store", Store::Mode::kReadWrite);
  try {
    other->begin_write();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kLocked);
    EXPECT_THAT(error.what(), ::testing::HasSubstr(std::to_string(::getpid())));
  }
  expect_error(ErrorCode::kLocked, [&] { store_->verify(); });
}

TEST_F(StoreTest, TouchChangesTimeAndAttributesOnly) {
  create("c");
  put("c", "x", {"some text"});
  DocumentMeta meta = make_meta("x");
  meta.mtime_ns = 5;
  meta.attributes["k"] = "v";
  auto job = store_->begin_write();
  job->update_document_meta("c", meta);
  DocumentMeta titled = meta;
  titled.title = "Other";
  expect_error(ErrorCode::kInvalidArgument, [&] { job->update_document_meta("c", titled); });
  expect_error(ErrorCode::kNotFound, [&] { job->update_document_meta("c", make_meta("y")); });
  job->commit();
  job.reset();
  EXPECT_TRUE(static_cast<DocumentMeta>(store_->snapshot("c")->find_document("x").value()) == meta);
  expect_clean();
}

TEST_F(StoreTest, RemovesACollectionWithAllItsRows) {
  create("c");
  create("d");
  put("c", "x", {"one", "two"});
  put("d", "x", {"three"});
  auto job = store_->begin_write();
  embed_pending(*job, "c");
  job->commit();
  job->publish_vectors("c");
  EXPECT_TRUE(job->remove_collection("c"));
  EXPECT_FALSE(job->remove_collection("nothing"));
  job->commit();
  job.reset();
  EXPECT_FALSE(store_->find_collection("c").has_value());
  EXPECT_TRUE(std::filesystem::is_empty(dir_ / "store" / "collections"));
  EXPECT_THAT(texts_of("three", "d"), ElementsAre("three"));
  expect_clean();
  create("c");  // the name is free again, and the new collection empty
  EXPECT_THAT(texts_of("one"), IsEmpty());
}

TEST_F(StoreTest, CompactKeepsTheContent) {
  create("c");
  for (int i = 0; i < 50; ++i) put("c", "d" + std::to_string(i % 5), {"text number " + std::to_string(i)});
  const std::string before = testing::logical_export(*store_, "c");
  auto job = store_->begin_write();
  job->compact();
  job.reset();
  EXPECT_EQ(testing::logical_export(*store_, "c"), before);
  expect_clean();
}

TEST_F(StoreTest, ReadersRunBesideAWriter) {
  create("c");
  put("c", "0", {"word base"});
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&] {
      std::uint64_t last = 0;
      while (!stop) {
        const auto snapshot = store_->snapshot("c");
        EXPECT_GE(snapshot->generation(), last);
        last = snapshot->generation();
        const auto hits = snapshot->bm25("word", 1000);
        EXPECT_EQ(hits.size(), snapshot->info().chunks);  // one generation throughout
        for (const ScoredChunk& hit : hits) EXPECT_FALSE(snapshot->chunk(hit.id).text.empty());
      }
    });
  }
  for (int i = 1; i <= 30; ++i) put("c", std::to_string(i % 7), {"word a" + std::to_string(i), "word b"});
  stop = true;
  for (std::thread& reader : readers) reader.join();
  expect_clean();
}

// Version 1 had neither spans nor uploads. A reader brings the store up to date too: it could not read it otherwise.
TEST_F(StoreTest, AnOlderSchemaIsMigratedWhoeverOpensIt) {
  create("c");
  put("c", "a.md", {"octopus"});
  for (const Store::Mode mode : {Store::Mode::kRead, Store::Mode::kReadWrite}) {
    store_.reset();
    {
      Database database(dir_ / "store" / "gritstone.db", Database::Mode::kWriter);
      for (const char* table : {"kv_spans", "certificates", "file_links", "files", "collection_cards"}) {
        database.execute(std::string("DROP TABLE ") + table);
      }
      database.execute("PRAGMA user_version=1");
    }
    store_ = Store::open(dir_ / "store", mode);
    EXPECT_EQ(store_->span_stats().spans, 0u);
    EXPECT_EQ(texts_of("octopus"), std::vector<std::string>{"octopus"});
  }
  expect_clean();
}

}  // namespace
}  // namespace gritstone

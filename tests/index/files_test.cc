#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <random>

#include "index/sqlite_database.h"
#include "index/sqlite_files.h"
#include "tests/index/fixtures.h"

namespace gritstone {
namespace {

using ::testing::ElementsAre;
using testing::expect_error;
using ::testing::IsEmpty;
using testing::make_chunk;
using testing::make_meta;
using testing::TempDir;

class FilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = Store::open(dir_ / "store", Store::Mode::kReadWrite);
    auto job = store_->begin_write();
    job->create_collection({.name = "c"});
    job->create_collection({.name = "d"});
    job->commit();
  }

  UploadedFile upload(const std::string& name, const std::string& bytes) {
    return store_->begin_write()->put_file(name, "assistants", bytes);
  }

  FileLink link(const std::string& collection, const std::string& key, const FileLink& wanted = {}) {
    auto job = store_->begin_write();
    FileLink made = job->link_file(collection, key, wanted);
    job->commit();
    return made;
  }

  // As the indexer does: the document with the link's path, then the link.
  void index(const std::string& collection, FileLink link, const std::string& text) {
    auto job = store_->begin_write();
    DocumentMeta meta = make_meta(link.path);
    meta.attributes = attribute_texts(link.attributes);
    const std::vector<Chunk> chunks{make_chunk(text)};
    job->put_document(collection, meta, chunks);
    link.searchable = true;
    EXPECT_TRUE(job->update_link(link));
    job->commit();
  }

  std::filesystem::path bytes_of(const UploadedFile& file) const { return file_path(dir_ / "store", file.key); }
  std::size_t hits(const std::string& collection, const std::string& query) const {
    return store_->snapshot(collection)->bm25(query, 9).size();
  }
  void expect_clean() const { EXPECT_EQ(testing::describe(store_->verify()), ""); }

  TempDir dir_;
  std::unique_ptr<Store> store_;
};

TEST_F(FilesTest, KeepsBytesPrivatelyUnderANameOfItsOwn) {
  const UploadedFile file = upload("../../etc/passwd", "octopus\n");
  EXPECT_TRUE(is_file_key(file.key)) << file.key;
  EXPECT_EQ(file.filename, "passwd");
  EXPECT_EQ(file.bytes, 8u);
  EXPECT_EQ(store_->file_bytes(file.key), "octopus\n");
  struct stat status {};
  ASSERT_EQ(::stat(bytes_of(file).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat((dir_ / "store" / "files").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  EXPECT_NE(upload("a", "x").key, file.key);
  EXPECT_EQ(store_->files().size(), 2u);
  expect_clean();
}

TEST_F(FilesTest, UnknownAndHostileKeysFindNothing) {
  for (const char* key : {"", "0", "../../../../etc/passwd", "0123456789abcdef01234567", "' OR 1=1 --"}) {
    EXPECT_FALSE(store_->find_file(key)) << key;
    expect_error(ErrorCode::kNotFound, [&] { store_->file_bytes(key); });
    auto job = store_->begin_write();
    EXPECT_FALSE(job->remove_file(key)) << key;
    expect_error(ErrorCode::kNotFound, [&] { job->link_file("c", key, {}); });
  }
}

TEST_F(FilesTest, LabelsAreShortPrintableAndNeverAPath) {
  EXPECT_EQ(label_of("a.md"), "a.md");
  EXPECT_EQ(label_of("dir/sub/a.md"), "a.md");
  EXPECT_EQ(label_of("C:\\temp\\a.md"), "a.md");
  EXPECT_EQ(label_of(""), "file");
  EXPECT_EQ(label_of(".."), "file");
  EXPECT_EQ(label_of("a/"), "file");
  EXPECT_EQ(label_of("a\nb\x1b[31m.md"), "ab[31m.md");
  EXPECT_EQ(label_of("exe\xE2\x80\xAE"
                     "dm.txt"),
            "exedm.txt");
  EXPECT_EQ(label_of(" M\xC3\xBCller .md "), "M\xC3\xBCller .md");
  EXPECT_EQ(label_of("\xFF"), "\xEF\xBF\xBD");
  std::string longest;
  for (int i = 0; i < 200; ++i) longest += "\xC3\xA4";
  EXPECT_EQ(label_of(longest).size(), 254u);
  EXPECT_EQ(numbered_label("a.tar.gz", 1), "a.tar.gz");
  EXPECT_EQ(numbered_label("a.tar.gz", 3), "a.tar (3).gz");
  EXPECT_EQ(numbered_label(".profile", 2), ".profile (2)");
}

TEST_F(FilesTest, ALinkIsAPromiseUntilItsDocumentIsThere) {
  const UploadedFile file = upload("tea.md", "green tea");
  FileLink wanted;
  wanted.attributes = R"({"author":"Ada","year":2024,"draft":false})";
  wanted.chunk_tokens = 100;
  const FileLink made = link("c", file.key, wanted);
  EXPECT_EQ(made.path, "tea.md");
  EXPECT_EQ(made.status, LinkStatus::kInProgress);
  EXPECT_EQ(link("c", file.key).attributes, wanted.attributes);  // linking twice changes nothing
  ASSERT_EQ(store_->pending_links().size(), 1u);
  EXPECT_EQ(store_->snapshot("c")->links().size(), 1u);
  expect_clean();

  index("c", made, "green tea");
  EXPECT_EQ(store_->snapshot("c")->find_document("tea.md")->attributes.at("year"), "2024");
  EXPECT_EQ(store_->snapshot("c")->find_document("tea.md")->attributes.at("draft"), "false");
  {
    auto job = store_->begin_write();
    EXPECT_EQ(job->complete_links("c"), 0u);  // no vector yet
    testing::embed_pending(*job, "c");
    EXPECT_EQ(job->complete_links("c"), 1u);
    job->commit();
  }
  EXPECT_TRUE(store_->pending_links().empty());
  EXPECT_EQ(store_->snapshot("c")->find_link(file.key)->status, LinkStatus::kCompleted);
  EXPECT_EQ(store_->snapshot("c")->file_key("tea.md"), file.key);
  EXPECT_EQ(store_->snapshot("c")->embedded_chunks(store_->snapshot("c")->find_document("tea.md")->id), 1u);
  expect_clean();
}

TEST_F(FilesTest, NamesAreMadeUniqueInTheCollection) {
  {
    auto job = store_->begin_write();
    const std::vector<Chunk> chunks{make_chunk("from the command line")};
    job->put_document("c", make_meta("notes.md"), chunks);
    job->commit();
  }
  EXPECT_EQ(link("c", upload("notes.md", "1").key).path, "notes (2).md");
  EXPECT_EQ(link("c", upload("notes.md", "2").key).path, "notes (3).md");
  EXPECT_EQ(link("d", upload("notes.md", "3").key).path, "notes.md");
  // A document that was not uploaded has a key all the same, the same one every time, and another one elsewhere.
  const std::string key = store_->snapshot("c")->file_key("notes.md");
  EXPECT_TRUE(is_file_key(key));
  EXPECT_EQ(store_->snapshot("c")->file_key("notes.md"), key);
  EXPECT_EQ(document_key(store_->find_collection("c")->id, "notes.md"), key);
  EXPECT_NE(document_key(store_->find_collection("d")->id, "notes.md"), key);
}

TEST_F(FilesTest, RemovingAFileTakesItsDocumentsAndItsBytes) {
  const UploadedFile file = upload("tea.md", "green tea");
  const UploadedFile other = upload("coffee.md", "black coffee");
  index("c", link("c", file.key), "green tea");
  index("d", link("d", file.key), "green tea");
  index("d", link("d", other.key), "black coffee");
  {
    auto job = store_->begin_write();
    EXPECT_TRUE(job->remove_file(file.key));
    EXPECT_FALSE(job->remove_file(file.key));
  }
  EXPECT_EQ(hits("c", "tea"), 1u);  // not committed
  EXPECT_TRUE(std::filesystem::exists(bytes_of(file)));
  {
    auto job = store_->begin_write();
    job->remove_file(file.key);
    job->commit();
  }
  EXPECT_EQ(hits("c", "tea"), 0u);
  EXPECT_EQ(hits("d", "tea"), 0u);
  EXPECT_EQ(hits("d", "coffee"), 1u);
  EXPECT_FALSE(std::filesystem::exists(bytes_of(file)));
  EXPECT_TRUE(std::filesystem::exists(bytes_of(other)));
  expect_clean();
}

TEST_F(FilesTest, UnlinkingAndRemovingACollectionKeepTheFile) {
  const UploadedFile file = upload("tea.md", "green tea");
  index("c", link("c", file.key), "green tea");
  index("d", link("d", file.key), "green tea");
  auto job = store_->begin_write();
  EXPECT_TRUE(job->unlink_file("c", file.key));
  EXPECT_FALSE(job->unlink_file("c", file.key));
  EXPECT_TRUE(job->remove_collection("d"));
  job->commit();
  job.reset();
  EXPECT_EQ(hits("c", "tea"), 0u);
  EXPECT_EQ(store_->file_bytes(file.key), "green tea");
  EXPECT_EQ(store_->cards().size(), 1u);
  expect_clean();
}

// A link that went while its file was being read must not come back with the document.
TEST_F(FilesTest, UpdatingALinkThatIsGoneSaysSo) {
  const UploadedFile file = upload("tea.md", "green tea");
  FileLink made = link("c", file.key);
  auto job = store_->begin_write();
  job->unlink_file("c", file.key);
  EXPECT_FALSE(job->update_link(made));
  const FileLink again = job->link_file("c", file.key, {});
  EXPECT_NE(again.serial, made.serial);
  EXPECT_FALSE(job->update_link(made));  // another promise, though of the same file
  EXPECT_TRUE(job->update_link(again));
}

TEST_F(FilesTest, ChangedAttributesReachTheDocument) {
  const UploadedFile file = upload("tea.md", "green tea");
  index("c", link("c", file.key), "green tea");
  auto job = store_->begin_write();
  EXPECT_TRUE(job->set_link_attributes("c", file.key, R"({"year":1999})"));
  EXPECT_FALSE(job->set_link_attributes("d", file.key, R"({"year":1999})"));
  for (const char* bad : {"[]", "{\"a\":[1]}", "{\"a\":null}", "{"}) {
    expect_error(ErrorCode::kInvalidArgument, [&] { job->set_link_attributes("c", file.key, bad); });
  }
  job->commit();
  job.reset();
  EXPECT_EQ(store_->snapshot("c")->find_link(file.key)->attributes, R"({"year":1999})");
  EXPECT_EQ(store_->snapshot("c")->find_document("tea.md")->attributes, (std::map<std::string, std::string>{{"year", "1999"}}));
  expect_clean();
}

TEST_F(FilesTest, VerifyNamesMissingDamagedAndOrphanBytes) {
  const UploadedFile missing = upload("a.md", "aaa");
  const UploadedFile damaged = upload("b.md", "bbb");
  const UploadedFile longer = upload("c.md", "ccc");
  link("c", damaged.key);
  std::filesystem::remove(bytes_of(missing));
  testing::write_file(bytes_of(damaged), "bbB");
  testing::write_file(bytes_of(longer), "cccc");
  testing::write_file(dir_ / "store" / "files" / "zz" / "leftover.tmp.1", "x");
  std::vector<std::string> where;
  for (const Problem& p : store_->verify()) where.push_back(p.collection + "|" + p.where + "|" + p.what);
  EXPECT_THAT(where, ElementsAre("c|file " + damaged.key + " (b.md)|does not match its SHA-256",
                                 "|file " + missing.key + " (a.md)|the bytes are missing",
                                 "|file " + longer.key + " (c.md)|has more than 3 bytes, or is no file",
                                 "|files/zz/leftover.tmp.1|belongs to no uploaded file"));
  expect_error(ErrorCode::kDamagedData, [&] { store_->file_bytes(missing.key); });
  expect_error(ErrorCode::kDamagedData, [&] { store_->file_bytes(damaged.key); });
  store_->begin_write()->sweep_files();
  EXPECT_FALSE(std::filesystem::exists(dir_ / "store" / "files" / "zz" / "leftover.tmp.1"));
  EXPECT_TRUE(std::filesystem::exists(bytes_of(damaged)));
}

TEST_F(FilesTest, ChangedRowsAreRefused) {
  const UploadedFile file = upload("a.md", "aaa");
  link("c", file.key);
  store_.reset();
  {
    Database database(dir_ / "store" / "gritstone.db", Database::Mode::kWriter);
    database.execute("UPDATE files SET filename = 'b.md'");
    database.execute("UPDATE file_links SET path = 'b.md'");
  }
  store_ = Store::open(dir_ / "store", Store::Mode::kReadWrite);
  expect_error(ErrorCode::kDamagedData, [&] { store_->find_file(file.key); });
  expect_error(ErrorCode::kDamagedData, [&] { store_->snapshot("c")->links(); });
  EXPECT_THAT(testing::describe(store_->verify()), ::testing::HasSubstr("does not match its hash"));
}

TEST_F(FilesTest, RepairQueuesUploadsWhoseDocumentWasDamaged) {
  const UploadedFile file = upload("tea.md", "green tea");
  index("c", link("c", file.key), "green tea");
  store_.reset();
  {
    Database database(dir_ / "store" / "gritstone.db", Database::Mode::kWriter);
    database.execute("UPDATE chunks SET text = 'red tea'");
  }
  store_ = Store::open(dir_ / "store", Store::Mode::kReadWrite);
  auto job = store_->begin_write();
  EXPECT_THAT(job->repair("c"), ElementsAre("tea.md"));
  job->commit();
  job.reset();
  ASSERT_EQ(store_->pending_links().size(), 1u);
  EXPECT_FALSE(store_->pending_links()[0].searchable);
  expect_clean();
}

TEST_F(FilesTest, CardsCarryWhatClientsSay) {
  const std::int64_t id = store_->find_collection("c")->id;
  EXPECT_EQ(store_->cards().at(id).title, "c");
  EXPECT_GT(store_->cards().at(id).created, 1'600'000'000);
  auto job = store_->begin_write();
  job->set_card("c", {.title = "Caf\xC3\xA9 notes", .metadata = R"({"k":"v"})"});
  expect_error(ErrorCode::kInvalidArgument, [&] { job->set_card("c", {.title = "x", .metadata = "[]"}); });
  expect_error(ErrorCode::kNotFound, [&] { job->set_card("nobody", {}); });
  job->commit();
  EXPECT_EQ(store_->cards().at(id).title, "Caf\xC3\xA9 notes");
  EXPECT_EQ(store_->cards().at(id).metadata, R"({"k":"v"})");
}

// Version 2 knew no uploads; its collections get a card.
TEST_F(FilesTest, AStoreOfVersion2IsMigrated) {
  store_.reset();
  {
    Database database(dir_ / "store" / "gritstone.db", Database::Mode::kWriter);
    for (const char* table : {"file_links", "files", "collection_cards"}) database.execute(std::string("DROP TABLE ") + table);
    database.execute("PRAGMA user_version=2");
  }
  store_ = Store::open(dir_ / "store", Store::Mode::kRead);
  const auto cards = store_->cards();
  ASSERT_EQ(cards.size(), 2u);
  EXPECT_EQ(cards.at(store_->find_collection("d")->id).title, "d");
  EXPECT_GT(cards.begin()->second.created, 1'600'000'000);
  EXPECT_TRUE(store_->files().empty());
  EXPECT_THAT(store_->snapshot("c")->links(), IsEmpty());
}

// Uploads, attaches and removes for ever; says which uploads were acknowledged.
[[noreturn]] void upload_until_killed(const std::filesystem::path& path, int pipe) {
  try {
    const auto store = Store::open(path, Store::Mode::kReadWrite);
    std::vector<std::string> keys;
    for (int i = 0;; ++i) {
      const std::string text = "file number " + std::to_string(i);
      auto job = store->begin_write();
      const std::string key = job->put_file("a.md", "assistants", text).key;
      FileLink link = job->link_file("c", key, {});
      job->commit();
      if (::write(pipe, key.data(), key.size()) != static_cast<ssize_t>(key.size())) ::_exit(2);
      const std::vector<Chunk> chunks{make_chunk(text)};
      job->put_document("c", make_meta(link.path), chunks);
      link.searchable = true;
      job->update_link(link);
      job->commit();
      // Every other one goes again, the oldest first; a parent that sees it missing knows which may be.
      keys.push_back(key);
      if (i % 2 == 1) {
        job->remove_file(keys[static_cast<std::size_t>(i / 2)]);
        job->commit();
      }
    }
  } catch (...) {
    ::_exit(3);
  }
}

TEST_F(FilesTest, KilledUploadersLeaveWholeFiles) {
  store_.reset();
  std::mt19937 random(5);
  for (int round = 0; round < 8; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(ends[0]);
      upload_until_killed(dir_ / "store", ends[1]);
    }
    ::close(ends[1]);
    std::vector<std::string> acknowledged;
    char key[24];
    ASSERT_EQ(::read(ends[0], key, sizeof(key)), static_cast<ssize_t>(sizeof(key)));
    acknowledged.emplace_back(key, sizeof(key));
    ::usleep(static_cast<useconds_t>(random() % 60000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << status;
    while (::read(ends[0], key, sizeof(key)) == static_cast<ssize_t>(sizeof(key))) acknowledged.emplace_back(key, sizeof(key));
    ::close(ends[0]);

    const auto store = Store::open(dir_ / "store", Store::Mode::kReadWrite);
    store->begin_write()->sweep_files();
    EXPECT_EQ(testing::describe(store->verify()), "") << round;
    // The newer half of what was acknowledged has not been removed yet.
    for (std::size_t i = acknowledged.size() / 2 + 1; i < acknowledged.size(); ++i) {
      EXPECT_NO_THROW(store->file_bytes(acknowledged[i])) << i << " of " << acknowledged.size();
    }
  }
}

}  // namespace
}  // namespace gritstone

#include "pipelines/background_ingest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "index/sqlite_files.h"
#include "pipelines/index_upload.h"
#include "retriever/manifest.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/fixtures.h"

namespace gritstone {
namespace {

using namespace std::chrono_literals;

class BackgroundTest : public ::testing::Test, protected PipelineFixture {
 protected:
  BackgroundTest() { create("notes"); }

  void create(const std::string& name) {
    auto job = store->begin_write();
    job->create_collection({.name = name});
    job->commit();
  }

  // Uploads and queues; the key.
  std::string add(const std::string& filename, const std::string& text, const std::string& collection = "notes",
                  const FileLink& wanted = {}) {
    auto job = store->begin_write(10s);
    const std::string key = job->put_file(filename, "assistants", text).key;
    job->link_file(collection, key, wanted);
    job->commit();
    return key;
  }

  std::unique_ptr<BackgroundIngest> start() {
    BackgroundOptions options;
    options.idle_look = 20ms;
    options.retry = 20ms;
    options.on_problem = [this](const std::string& problem) {
      const std::lock_guard guard(mutex_);
      problems_ += problem + "\n";
    };
    return std::make_unique<BackgroundIngest>(*store, parts, options);
  }

  // All that is queued, in one process that then ends.
  void work() {
    const auto background = start();
    ASSERT_TRUE(background->wait_idle(60s));
  }

  FileLink link(const std::string& key, const std::string& collection = "notes") const {
    return store->snapshot(collection)->find_link(key).value();
  }
  std::size_t hits(const std::string& query) const { return store->snapshot("notes")->bm25(query, 99).size(); }
  std::string problems() {
    const std::lock_guard guard(mutex_);
    return problems_;
  }
  void expect_clean() const {
    std::string text;
    for (const Problem& p : store->verify()) text += p.collection + " " + p.where + ": " + p.what + "\n";
    EXPECT_EQ(text, "");
  }

  std::mutex mutex_;
  std::string problems_;
};

std::string many_sections(int n) {
  std::string text;
  for (int i = 0; i < n; ++i) {
    text += "# Section " + std::to_string(i) + "\n\nThe lighthouse of harbour number " + std::to_string(i * i + 7) + " has a keeper.\n\n";
  }
  return text;
}

TEST_F(BackgroundTest, IndexesWhatIsQueuedAndCompletesIt) {
  FileLink wanted;
  wanted.attributes = R"({"year":2024})";
  const std::string a = add("a.md", many_sections(30), "notes", wanted);
  const std::string b = add("b.txt", "The ferry leaves at nine.\n");
  work();
  for (const std::string& key : {a, b}) {
    EXPECT_EQ(link_status_name(link(key).status), "completed");
    EXPECT_TRUE(link(key).searchable);
    EXPECT_EQ(link(key).attempts, 0u);
  }
  const auto info = store->find_collection("notes").value();
  EXPECT_EQ(info.documents, 2u);
  EXPECT_EQ(info.embedded_chunks, info.chunks);
  EXPECT_GE(info.chunks, 30u);
  EXPECT_TRUE(manifest_from_json(info.manifest)->statistics.has_value());
  EXPECT_EQ(store->snapshot("notes")->find_document("a.md")->attributes.at("year"), "2024");
  EXPECT_EQ(hits("ferry"), 1u);
  EXPECT_NE(store->snapshot("notes")->vectors(), nullptr);
  EXPECT_EQ(problems(), "");
  expect_clean();
}

// What the command line makes of the same file, byte for byte, but for its path and time.
TEST_F(BackgroundTest, ADocumentIsTheSameAsTheCommandLines) {
  create("other");
  const std::string text = many_sections(12);
  add("a.md", text, "other");
  work();
  write("a.md", text);
  index();
  const auto ours = store->snapshot("other");
  const auto theirs = store->snapshot("notes");
  const auto mine = ours->find_document("a.md").value();
  const auto named = theirs->find_document(path_of("a.md")).value();
  EXPECT_EQ(mine.sha256, named.sha256);
  EXPECT_EQ(mine.title, named.title);
  ASSERT_EQ(mine.chunks, named.chunks);
  for (std::size_t i = 0; i < mine.chunks; ++i) {
    const ChunkRecord x = ours->chunk_at(mine.id, i).value(), y = theirs->chunk_at(named.id, i).value();
    EXPECT_EQ(x.text, y.text);
    EXPECT_EQ(x.span, y.span);
    EXPECT_EQ(ours->embedding(x.id), theirs->embedding(y.id));
  }
}

TEST_F(BackgroundTest, ABadFileFailsAloneAndSaysWhy) {
  const std::string binary = add("a.md", std::string(5000, '\0'));
  const std::string empty = add("b.md", "");
  const std::string pdf = add("c.pdf", "%PDF-1.4\nall of it in ASCII\n");
  const std::string blank = add("d.html", "<html><body><!-- nothing --></body></html>");
  const std::string good = add("e.md", "octopus\n");
  work();
  for (const auto& [key, code] :
       {std::pair{binary, "unsupported_file"}, {empty, "invalid_file"}, {pdf, "unsupported_file"}, {blank, "invalid_file"}}) {
    EXPECT_EQ(link_status_name(link(key).status), "failed");
    EXPECT_EQ(link(key).error_code, code);
    EXPECT_NE(link(key).error_message, "");
  }
  EXPECT_EQ(link_status_name(link(good).status), "completed");
  EXPECT_EQ(hits("octopus"), 1u);
  EXPECT_EQ(store->find_collection("notes")->documents, 1u);
  expect_clean();
}

TEST_F(BackgroundTest, DamagedBytesFailTheFileOnly) {
  const std::string damaged = add("a.md", "octopus\n");
  const std::string good = add("b.md", "squid\n");
  std::ofstream(file_path(store->path(), damaged), std::ios::binary) << "octopuS\n";
  work();
  EXPECT_EQ(link_status_name(link(damaged).status), "failed");
  EXPECT_EQ(link(damaged).error_code, "server_error");
  EXPECT_EQ(link_status_name(link(good).status), "completed");
}

// The process died after so many tries, each time in the middle.
TEST_F(BackgroundTest, AFileThatNeverComesToAnEndIsGivenUp) {
  const std::string key = add("a.md", "octopus\n");
  FileLink died = link(key);
  died.attempts = kMaxAttempts;
  {
    auto job = store->begin_write();
    job->update_link(died);
    job->commit();
  }
  work();
  EXPECT_EQ(link_status_name(link(key).status), "failed");
  EXPECT_THAT(link(key).error_message, ::testing::HasSubstr("interrupted"));
}

TEST_F(BackgroundTest, BeingStoppedIsNoFailedAttempt) {
  const std::string key = add("a.md", many_sections(20));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_GS_ERROR(index_upload(*store, link(key), parts, 1s, stop.get_token()), ErrorCode::kCancelled, "stopped");
  EXPECT_EQ(link(key).attempts, 0u);
  EXPECT_EQ(link_status_name(link(key).status), "in_progress");
  EXPECT_EQ(index_upload(*store, link(key), parts, 1s, {}), UploadOutcome::kIndexed);
  EXPECT_TRUE(link(key).searchable);
  // What is no longer wanted is not indexed.
  EXPECT_EQ(index_upload(*store, FileLink{}, parts, 1s, {}), UploadOutcome::kCancelled);
}

TEST_F(BackgroundTest, TheQueueSurvivesTheProcess) {
  const std::string key = add("a.md", many_sections(200));
  engine.set_step_ms(50);
  {
    const auto background = start();
    // The text is there long before the vectors.
    for (int i = 0; i < 3000 && !link(key).searchable; ++i) std::this_thread::sleep_for(5ms);
    ASSERT_TRUE(link(key).searchable);
    EXPECT_GT(hits("lighthouse"), 0u);
    // How far the vectors are shows before the first are committed.
    const auto computed = [&] { return background->uncommitted(store->find_collection("notes").value()); };
    for (int i = 0; i < 3000 && computed() == 0; ++i) std::this_thread::sleep_for(5ms);
    EXPECT_GT(computed(), 0u);
    background->stop();
  }
  engine.set_step_ms(0);
  EXPECT_LT(store->find_collection("notes")->embedded_chunks, store->find_collection("notes")->chunks);
  EXPECT_EQ(link_status_name(link(key).status), "in_progress");
  work();
  EXPECT_EQ(link_status_name(link(key).status), "completed");
  expect_clean();
}

TEST_F(BackgroundTest, DeletingWhileVectorsAreComputedLeavesNothing) {
  const std::string doomed = add("a.md", many_sections(40));
  const std::string kept = add("b.md", "octopus\n");
  engine.set_step_ms(5);
  const auto background = start();
  for (int i = 0; i < 3000 && !link(doomed).searchable; ++i) std::this_thread::sleep_for(5ms);
  {
    auto job = store->begin_write(10s);
    EXPECT_TRUE(job->remove_file(doomed));
    job->commit();
  }
  background->interrupt();
  ASSERT_TRUE(background->wait_idle(60s));
  EXPECT_EQ(hits("lighthouse"), 0u);
  EXPECT_EQ(link_status_name(link(kept).status), "completed");
  const auto info = store->find_collection("notes").value();
  EXPECT_EQ(info.chunks, 1u);
  EXPECT_EQ(info.embedded_chunks, 1u);
  EXPECT_EQ(problems(), "");
  expect_clean();
}

TEST_F(BackgroundTest, RemovingTheCollectionEndsItsWork) {
  create("doomed");
  add("a.md", many_sections(40), "doomed");
  engine.set_step_ms(5);
  const auto background = start();
  for (int i = 0; i < 3000 && store->find_collection("doomed")->chunks == 0; ++i) std::this_thread::sleep_for(5ms);
  {
    auto job = store->begin_write(10s);
    EXPECT_TRUE(job->remove_collection("doomed"));
    job->commit();
  }
  background->interrupt();
  ASSERT_TRUE(background->wait_idle(60s));
  EXPECT_EQ(problems(), "");
  EXPECT_TRUE(store->pending_links().empty());
  expect_clean();
}

TEST_F(BackgroundTest, CompletesWhatIndexLeftForLater) {
  write("a.md", many_sections(10));
  IngestOptions later = options();
  later.dense_now = false;
  ASSERT_GT(index(later).pending, 0u);
  work();
  EXPECT_EQ(store->find_collection("notes")->embedded_chunks, store->find_collection("notes")->chunks);
  expect_clean();
}

TEST_F(BackgroundTest, WaitsForAnotherWriterAndThenGoesOn) {
  const std::string key = add("a.md", "octopus\n");
  auto other = store->begin_write();
  const auto background = start();
  EXPECT_FALSE(background->wait_idle(200ms));
  EXPECT_FALSE(link(key).searchable);
  other.reset();
  for (int i = 0; i < 3000 && link(key).status == LinkStatus::kInProgress; ++i) std::this_thread::sleep_for(5ms);
  EXPECT_EQ(link_status_name(link(key).status), "completed");
}

TEST_F(BackgroundTest, ACollectionOfAnotherModelIsRefusedWithItsName) {
  write("a.md", "squid\n");
  index();
  model_hash = "hash-2";
  const std::string key = add("b.md", "octopus\n");
  work();
  EXPECT_EQ(link_status_name(link(key).status), "failed");
  EXPECT_EQ(hits("octopus"), 0u);
}

// Statistics from a handful of passages are taken anew when the collection has grown; searches meanwhile keep the old vectors.
TEST_F(BackgroundTest, StatisticsAreTakenAnewAsTheCollectionGrows) {
  add("a.md", many_sections(3));
  work();
  const auto before = manifest_from_json(store->find_collection("notes")->manifest).value();
  add("b.md", many_sections(40));
  work();
  const auto after = manifest_from_json(store->find_collection("notes")->manifest).value();
  EXPECT_GT(after.statistics->samples, before.statistics->samples);
  EXPECT_EQ(store->find_collection("notes")->embedded_chunks, store->find_collection("notes")->chunks);
  // The same collection, indexed at once.
  create("once");
  add("a.md", many_sections(3), "once");
  add("b.md", many_sections(40), "once");
  {
    BackgroundIngest background(*store, parts, {});
    ASSERT_TRUE(background.wait_idle(60s));
  }
  expect_clean();
}

}  // namespace
}  // namespace gritstone

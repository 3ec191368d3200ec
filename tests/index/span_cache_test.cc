// KV spans on disk and in RAM: found by key and ids or not at all, gone with their text, within the budget whatever happens.
#include "index/span_cache.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <random>
#include <set>
#include <thread>

#include "index/span_file.h"
#include "tests/base/expect_error.h"
#include "tests/index/fixtures.h"
#include "tests/index/span_fixtures.h"

namespace gritstone {
namespace {

using testing::bytes_under;
using testing::files_under;
using testing::ids_of;
using testing::make_chunk;
using testing::make_meta;
using testing::make_put;
using testing::random_span;
using testing::same;
using testing::TempDir;

class SpanStore : public ::testing::Test {
 protected:
  SpanStore() {
    auto job = store_->begin_write();
    job->create_collection({.name = "notes"});
    const std::vector<Chunk> two{make_chunk("first text"), make_chunk("second text")};
    job->put_document("notes", make_meta("a.md"), two);
    const std::vector<Chunk> shared{make_chunk("second text")};
    job->put_document("notes", make_meta("b.md"), shared);
    job->commit();
  }

  ChunkId chunk(const std::string& path, std::size_t ordinal) {
    const auto snapshot = store_->snapshot("notes");
    return snapshot->chunk_at(snapshot->find_document(path)->id, ordinal)->id;
  }
  std::size_t put(const std::vector<SpanPut>& puts, std::uint64_t budget = 1 << 30) {
    return store_->begin_write()->put_spans("notes", puts, budget);
  }
  bool kept(const SpanPut& put) { return open_span_file(span_file_path(store_->path(), put.key), put.key, put.ids) != nullptr; }
  std::size_t files() { return files_under(store_->path() / "kv"); }

  TempDir dir_;
  std::unique_ptr<Store> store_ = Store::open(dir_ / "store", Store::Mode::kReadWrite);
};

TEST_F(SpanStore, GoWithTheLastTextThatOwnsThem) {
  const SpanPut first = make_put(1, chunk("a.md", 0)), second = make_put(2, chunk("a.md", 1)), head = make_put(3);
  EXPECT_EQ(put({first, second, head}), 3u);
  EXPECT_EQ(put({first}), 0u) << "kept already";
  const auto stats = store_->span_stats(store_->find_collection("notes")->id);
  EXPECT_EQ(stats.spans, 3u);
  EXPECT_EQ(stats.bytes, bytes_under(store_->path() / "kv"));
  EXPECT_EQ(store_->span_stats(99).spans, 0u);

  // Edited, but the first passage stays: its span does too.
  {
    auto job = store_->begin_write();
    const std::vector<Chunk> edited{make_chunk("first text"), make_chunk("new text")};
    job->put_document("notes", make_meta("a.md"), edited);
    job->commit();
  }
  EXPECT_TRUE(kept(first));
  EXPECT_TRUE(kept(second)) << "b.md has the same passage";
  {
    auto job = store_->begin_write();
    job->remove_document("notes", "b.md");
    EXPECT_TRUE(kept(second)) << "not before the commit";
    job->commit();
  }
  EXPECT_FALSE(kept(second));
  EXPECT_TRUE(kept(first));
  EXPECT_TRUE(kept(head));
  {
    auto job = store_->begin_write();
    job->remove_collection("notes");
    job->commit();
  }
  EXPECT_EQ(files(), 0u);
  EXPECT_EQ(store_->span_stats().spans, 0u);
}

// Two documents hold the same passage. Its own span knows no document; a link of a prompt has the label of one in it.
TEST_F(SpanStore, LinksWithADocumentsLabelGoWithThatDocument) {
  SpanPut own = make_put(1, chunk("a.md", 0)), head = make_put(2), link = make_put(3, chunk("a.md", 0)), behind = make_put(4);
  link.left = head.key;
  behind.left = link.key;
  const Chunk same = [&] {
    const auto record = store_->snapshot("notes")->chunk(chunk("a.md", 0));
    Chunk copy;
    copy.heading_path = record.heading_path;
    copy.text = record.text;
    copy.span = record.span;
    return copy;
  }();
  {
    auto job = store_->begin_write();
    job->put_document("notes", make_meta("copy.md"), std::span(&same, 1));
    job->commit();
  }
  EXPECT_EQ(put({own, head, link, behind}), 4u);
  {
    auto job = store_->begin_write();
    job->remove_document("notes", "a.md");
    job->commit();
  }
  EXPECT_TRUE(kept(own)) << "copy.md has the passage still";
  EXPECT_TRUE(kept(head));
  EXPECT_FALSE(kept(link)) << "it may say a.md";
  EXPECT_FALSE(kept(behind));
}

TEST_F(SpanStore, KeepsNoneOfACollectionThatWantsNone) {
  const std::int64_t id = store_->find_collection("notes")->id;
  EXPECT_TRUE(store_->keeps_spans(id));
  EXPECT_EQ(put({make_put(1), make_put(2, chunk("a.md", 0))}), 2u);
  store_->begin_write()->set_keeps_spans("notes", false);
  EXPECT_FALSE(store_->keeps_spans(id));
  EXPECT_EQ(files(), 0u) << "what was there is gone";
  EXPECT_EQ(put({make_put(3)}), 0u);
  EXPECT_EQ(files(), 0u);
  store_->begin_write()->set_keeps_spans("notes", true);
  EXPECT_EQ(put({make_put(3)}), 1u);
  EXPECT_GS_ERROR(store_->begin_write()->set_keeps_spans("other", false), ErrorCode::kNotFound, "other");
}

TEST_F(SpanStore, ASpanOfTextThatIsGoneIsNotKept) {
  const ChunkId gone = chunk("b.md", 0);
  {
    auto job = store_->begin_write();
    job->remove_document("notes", "b.md");
    job->commit();
  }
  EXPECT_EQ(put({make_put(1, gone)}), 0u);
  EXPECT_EQ(files(), 0u);
  EXPECT_GS_ERROR(store_->begin_write()->put_spans("other", {}, 1), ErrorCode::kNotFound, "other");
}

TEST_F(SpanStore, NothingStaysBehindAGapInAChain) {
  SpanPut head = make_put(1), middle = make_put(2), last = make_put(3);
  middle.left = head.key;
  last.left = middle.key;
  EXPECT_EQ(put({middle}), 0u) << "nobody could reach it";
  EXPECT_EQ(put({head, middle, last}), 3u);
  std::filesystem::remove(span_file_path(store_->path(), head.key));
  EXPECT_EQ(store_->verify_spans(), 1u);
  EXPECT_EQ(files(), 0u);
}

TEST_F(SpanStore, BudgetKeepsWhatIsWorthMost) {
  const std::uint64_t size = span_file_bytes(*random_span(20, 1));
  const SpanPut cheap = make_put(1, std::nullopt, 20, 0.01), used = make_put(2, std::nullopt, 20, 0.01),
                dear = make_put(3, std::nullopt, 20, 1.0), late = make_put(4, std::nullopt, 20, 0.05);
  EXPECT_EQ(put({cheap, used, dear}, 3 * size), 3u);
  for (int i = 0; i < 10; ++i) store_->begin_write()->touch_spans(std::vector<SpanKey>{used.key});
  EXPECT_EQ(put({late}, 3 * size), 1u);
  EXPECT_FALSE(kept(cheap));
  EXPECT_TRUE(kept(used));
  EXPECT_TRUE(kept(dear));
  EXPECT_TRUE(kept(late));
  EXPECT_LE(bytes_under(store_->path() / "kv"), 3 * size);
  EXPECT_EQ(put({make_put(5)}, size - 1), 0u) << "larger than the budget";
  EXPECT_EQ(store_->begin_write()->prune_spans(size), 2u);
  EXPECT_TRUE(kept(dear));
  EXPECT_EQ(store_->begin_write()->prune_spans(0), 1u);
  EXPECT_EQ(files(), 0u);
}

// A writer that is killed at any moment leaves whole spans, no more bytes than the budget, and its half-written files are swept.
TEST_F(SpanStore, SurvivesAHundredKills) {
  const std::uint64_t budget = 6 * span_file_bytes(*random_span(20, 1));
  std::mt19937_64 random(9);
  std::set<int> seen;
  store_.reset();
  for (int round = 0; round < 100; ++round) {
    int started[2];
    ASSERT_EQ(::pipe(started), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      const auto store = Store::open(dir_ / "store", Store::Mode::kReadWrite);
      for (int i = 0;; ++i) {
        store->begin_write()->put_spans("notes", std::vector{make_put((round * 7 + i) % 40), make_put(i % 40)}, budget);
        if (i == 0 && ::write(started[1], "x", 1) != 1) ::_exit(1);
      }
    }
    // Every other writer has come to its second round, however slow the machine; the rest die anywhere from the start on.
    char byte;
    if (round % 2 == 0) {
      ASSERT_EQ(::read(started[0], &byte, 1), 1);
    }
    ::close(started[0]);
    ::close(started[1]);
    ::usleep(static_cast<useconds_t>(random() % 15000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    ASSERT_LE(bytes_under(dir_ / "store" / "kv"), budget + span_file_bytes(*random_span(20, 1)) * 2) << "what the kill left half-way";
    store_ = Store::open(dir_ / "store", Store::Mode::kReadWrite);
    ASSERT_EQ(store_->verify_spans(), 0u) << "every span that is recorded is whole, round " << round;
    ASSERT_LE(bytes_under(dir_ / "store" / "kv"), budget);
    ASSERT_EQ(files(), store_->span_stats().spans) << "nothing half-written is left";
    for (int i = 0; i < 40; ++i) {
      const SpanPut expected = make_put(i);
      if (const auto found = open_span_file(span_file_path(store_->path(), expected.key), expected.key, expected.ids)) {
        ASSERT_TRUE(same(*found, *expected.span));
        seen.insert(i);
      }
    }
    store_.reset();
  }
  EXPECT_GT(seen.size(), 5u) << "the writers wrote something";
}

TEST_F(SpanStore, CacheFindsInRamThenOnDisk) {
  const SpanPut p = make_put(1, chunk("a.md", 0));
  {
    SpanCache cache(*store_, {});
    EXPECT_FALSE(cache.find(p.key, p.ids));
    cache.put(p, "notes");
    const auto hit = cache.find(p.key, p.ids);
    ASSERT_TRUE(hit);
    EXPECT_EQ(hit->tier, SpanTier::kRam);
    EXPECT_FALSE(cache.find(p.key, ids_of(20, 2))) << "other ids under this key";
    EXPECT_EQ(files(), 0u);
    EXPECT_TRUE(cache.flush());
    EXPECT_EQ(files(), 1u);
    EXPECT_EQ(cache.stats().pending, 0u);
  }
  SpanCache cache(*store_, {});
  const auto disk = cache.find(p.key, p.ids);
  ASSERT_TRUE(disk);
  EXPECT_EQ(disk->tier, SpanTier::kDisk);
  EXPECT_TRUE(same(*disk->span, *p.span));
  EXPECT_EQ(cache.find(p.key, p.ids)->tier, SpanTier::kRam);
  EXPECT_EQ(cache.stats().disk_hits, 1u);
  EXPECT_EQ(cache.stats().ram_hits, 1u);
}

TEST_F(SpanStore, CacheWaitsWhileAnotherWrites) {
  SpanCache cache(*store_, {});
  const SpanPut p = make_put(1);
  cache.put(p, "notes");
  {
    const auto other = store_->begin_write();
    EXPECT_FALSE(cache.flush());
    EXPECT_EQ(cache.stats().pending, 1u);
  }
  EXPECT_TRUE(cache.flush());
  EXPECT_TRUE(kept(p));
}

TEST_F(SpanStore, RamTierStaysWithinItsBytes) {
  SpanCacheOptions options;
  options.ram_bytes = 3 * random_span(20, 1)->bytes.size();
  options.disk_bytes = 0;
  SpanCache cache(*store_, options);
  const SpanPut dear = make_put(0, std::nullopt, 20, 100.0);
  cache.put(dear, "notes");
  for (int i = 1; i < 10; ++i) cache.put(make_put(i), "notes");
  EXPECT_LE(cache.stats().ram_bytes, options.ram_bytes);
  EXPECT_EQ(cache.stats().ram_spans, 3u);
  EXPECT_TRUE(cache.find(dear.key, dear.ids));
  cache.put(make_put(50, std::nullopt, 200), "notes");  // larger than the tier
  EXPECT_EQ(cache.stats().ram_spans, 3u);
  EXPECT_TRUE(cache.flush());
  EXPECT_EQ(files(), 0u);
}

TEST_F(SpanStore, FourReadersAndAWriter) {
  SpanCacheOptions options;
  options.ram_bytes = 4 * random_span(20, 1)->bytes.size();
  options.disk_bytes = 12 * span_file_bytes(*random_span(20, 1));
  SpanCache cache(*store_, options);
  std::vector<SpanPut> puts;
  for (int i = 0; i < 16; ++i) puts.push_back(make_put(i));
  std::atomic<bool> stop{false};
  std::atomic<int> hits{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < 4; ++r) {
    readers.emplace_back([&, r] {
      std::mt19937 random(static_cast<unsigned>(r));
      while (!stop) {
        const SpanPut& p = puts[random() % puts.size()];
        if (const auto hit = cache.find(p.key, p.ids)) {
          if (!same(*hit->span, *p.span)) std::abort();
          ++hits;
        }
      }
    });
  }
  for (int i = 0; i < 60; ++i) {
    cache.put(puts[static_cast<std::size_t>(i) % puts.size()], "notes");
    if (i % 5 == 4) {
      EXPECT_TRUE(cache.flush());
    }
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_GT(hits, 0);
}

}  // namespace
}  // namespace gritstone

#include "pipelines/ingest.h"

#include "retriever/manifest.h"
#include "retriever/search.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/fixtures.h"

namespace gritstone {
namespace {

// 24 short documents: enough for statistics with a mean, not for components.
void write_many(const PipelineFixture& f, int n = 24) {
  for (int i = 0; i < n; ++i) {
    const std::string number = std::to_string(i);
    f.write("many/" + number + ".md", "# Topic " + number + "\n\nDocument number " + number + " speaks of subject " +
                                          std::string(1, static_cast<char>('a' + i % 26)) + "-" + std::to_string(i * i) + ".\n");
  }
}

TEST(Ingest, CountsWhatIsNewUpdatedUnchangedAndRemoved) {
  PipelineFixture f;
  f.write("a.md", "# Alpha\n\nFirst text.\n");
  f.write("b.txt", "Second text.\n");
  f.write("c.html", "<html><body><p>Third text.</p></body></html>");
  IngestResult r = f.index();
  EXPECT_EQ(r.added, 3u);
  EXPECT_EQ(r.updated + r.unchanged + r.removed + r.skipped.size(), 0u);
  EXPECT_EQ(r.embedded, r.collection.chunks);
  EXPECT_EQ(r.pending, 0u);
  EXPECT_FALSE(r.tuned_embedder);

  f.write("b.txt", "Second text, edited.\n");
  f.remove("c.html");
  f.write("d.md", "Fourth.\n");
  r = f.index();
  EXPECT_EQ(r.added, 1u);
  EXPECT_EQ(r.updated, 1u);
  EXPECT_EQ(r.unchanged, 1u);
  EXPECT_EQ(r.removed, 1u);
  EXPECT_EQ(r.collection.documents, 3u);
  EXPECT_TRUE(f.store->snapshot("notes")->bm25("Third", 5).empty());
  EXPECT_EQ(f.store->snapshot("notes")->bm25("edited", 5).size(), 1u);
  EXPECT_TRUE(f.store->verify("notes").empty());
}

TEST(Ingest, NothingChangedMeansNothingDone) {
  PipelineFixture f;
  write_many(f);
  f.index();
  const std::string before = f.exported();
  const std::size_t jobs = f.engine.jobs();
  const IngestResult r = f.index();
  EXPECT_EQ(r.unchanged, 24u);
  EXPECT_EQ(r.added + r.updated + r.removed + r.embedded, 0u);
  EXPECT_EQ(f.engine.jobs(), jobs);
  EXPECT_EQ(f.exported(), before);
}

TEST(Ingest, TwoStoresOfTheSameFilesAreEqual) {
  PipelineFixture f;
  write_many(f);
  f.index();
  // Another store, over the same files, stopped in the middle of embedding and gone on with.
  const auto second = Store::open(f.directory / "second", Store::Mode::kReadWrite);
  IngestOptions stopped = f.options();
  std::stop_source stop;
  stopped.stop = stop.get_token();
  stopped.on_progress = [&](const IngestProgress& p) {
    if (p.stage == IngestStage::kRead && p.done == p.total) stop.request_stop();
  };
  EXPECT_GS_ERROR(ingest(*second, f.tokenizer, &f.parts, stopped), ErrorCode::kCancelled, "cancelled");
  EXPECT_EQ(second->find_collection("notes")->documents, 24u);
  EXPECT_EQ(second->find_collection("notes")->embedded_chunks, 0u);
  const IngestResult r = ingest(*second, f.tokenizer, &f.parts, f.options());
  EXPECT_EQ(r.unchanged, 24u);
  EXPECT_EQ(r.pending, 0u);
  std::string text;
  second->snapshot("notes")->export_logical([&](std::string_view piece) { text += piece; });
  EXPECT_EQ(text, f.exported());
}

TEST(Ingest, OtherPathsStayAndTouchedFilesAreUnchanged) {
  PipelineFixture f;
  f.write("left/a.md", "Left document.\n");
  f.write("right/b.md", "Right document.\n");
  f.index();
  f.remove("right/b.md");
  IngestOptions left = f.options();
  left.paths = {f.path_of("left") + "/"};
  std::filesystem::last_write_time(f.path_of("left/a.md"), std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  IngestResult r = f.index(left);
  EXPECT_EQ(r.unchanged, 1u);
  EXPECT_EQ(r.removed, 0u);
  EXPECT_EQ(r.collection.documents, 2u);
  // A path that is gone itself.
  left.paths = {f.path_of("right/b.md")};
  r = f.index(left);
  EXPECT_EQ(r.removed, 1u);
  EXPECT_EQ(r.collection.documents, 1u);
}

TEST(Ingest, BadFilesAreSkippedWithReasonsAndGoodOnesIndexed) {
  PipelineFixture f;
  f.write("good.md", "Good text.\n");
  f.write("empty.md", "");
  f.write("binary.txt", std::string("\0\1\2\0\0\0binary\0\0", 14));
  f.write("picture.xyz", "whatever");
  f.write("latin1.txt", "caf\xE9 au lait\n");
  const IngestResult r = f.index();
  EXPECT_EQ(r.added, 2u);
  std::vector<std::string> names;
  for (const SkippedFile& s : r.skipped) {
    names.push_back(std::filesystem::path(s.path).filename().string());
    EXPECT_FALSE(s.reason.empty());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"binary.txt", "empty.md", "picture.xyz"}));
  // A file that turned unreadable answers no more.
  f.write("good.md", "");
  EXPECT_EQ(f.index().removed, 1u);
}

TEST(Ingest, TextFirstVectorsLater) {
  PipelineFixture f;
  write_many(f);
  IngestOptions later = f.options();
  later.dense_now = false;
  IngestResult r = f.index(later);
  EXPECT_EQ(r.embedded, 0u);
  EXPECT_EQ(r.pending, r.collection.chunks);
  EXPECT_EQ(f.engine.jobs(), 0u);
  {
    const auto snapshot = f.store->snapshot("notes");
    const auto embedder = open_collection_embedder(f.parts, snapshot->info());
    ASSERT_NE(embedder, nullptr);
    const SearchResult found = search(*snapshot, embedder.get(), "subject document topic 7", {});
    EXPECT_FALSE(found.hits.empty());
    EXPECT_TRUE(found.vectors_incomplete);
    EXPECT_EQ(found.embedded_on_demand, SearchOptions{}.embed_on_demand);
    SearchOptions dense;
    dense.mode = SearchMode::kDense;
    EXPECT_GS_ERROR(search(*snapshot, embedder.get(), "x", dense), ErrorCode::kInvalidArgument, "no vectors yet");
  }
  r = f.index();
  EXPECT_EQ(r.embedded, r.collection.chunks);
  EXPECT_EQ(r.pending, 0u);
}

TEST(Ingest, WithoutAModelThereIsBm25) {
  PipelineFixture f;
  f.write("a.md", "Walrus.\n");
  const IngestResult r = ingest(*f.store, f.tokenizer, nullptr, f.options());
  EXPECT_EQ(r.added, 1u);
  EXPECT_EQ(r.embedded, 0u);
  const auto snapshot = f.store->snapshot("notes");
  EXPECT_EQ(search(*snapshot, nullptr, "walrus", {}).hits.size(), 1u);
  // A model later brings the vectors.
  EXPECT_EQ(f.index().embedded, 1u);
}

TEST(Ingest, AnotherEmbedderIsRefusedUntilReembedded) {
  PipelineFixture f;
  write_many(f);
  f.index();
  f.model_hash = "hash-2";
  EXPECT_GS_ERROR(f.index(), ErrorCode::kInvalidArgument, "gritstone collection reembed -c notes");
  f.model_hash = "hash-1";
  IngestOptions pooling = f.options();
  pooling.embed.pooling = Pooling::kMean;
  EXPECT_GS_ERROR(f.index(pooling), ErrorCode::kInvalidArgument, "weighted-mean");
  const IngestResult r = reembed(*f.store, f.parts, pooling);
  EXPECT_EQ(r.embedded, r.collection.chunks);
  EXPECT_EQ(manifest_from_json(r.collection.manifest)->options.pooling, Pooling::kMean);
  // What the collection has is what a run without options takes.
  EXPECT_EQ(f.index().unchanged, 24u);
  IngestOptions unknown = f.options();
  unknown.collection = "absent";
  EXPECT_GS_ERROR(reembed(*f.store, f.parts, unknown), ErrorCode::kNotFound, "absent");
}

TEST(Ingest, StatisticsAreFrozenOnceAndTakenAnewOnlyWhileTheirSampleWasSmall) {
  PipelineFixture f;
  f.write("first.md", "One short document.\n");
  f.index();
  const auto statistics = [&] { return manifest_from_json(f.store->find_collection("notes")->manifest)->statistics; };
  ASSERT_TRUE(statistics().has_value());
  EXPECT_EQ(statistics()->samples, 1u);
  write_many(f);
  IngestResult r = f.index();
  EXPECT_EQ(r.embedded, 25u);  // all of them again
  EXPECT_EQ(statistics()->samples, 25u);
  f.write("second.md", "Another short document.\n");
  r = f.index();
  EXPECT_EQ(r.embedded, 1u);
  EXPECT_EQ(statistics()->samples, 25u);
  EXPECT_TRUE(f.store->verify("notes").empty());
}

TEST(Ingest, EstimateProgressAndAttributes) {
  PipelineFixture f;
  write_many(f, 5);
  IngestOptions o = f.options();
  o.attributes = {{"author", "Ada"}};
  IngestEstimate estimate;
  std::size_t last_embedded = 0;
  o.on_estimate = [&](const IngestEstimate& e) { estimate = e; };
  o.on_progress = [&](const IngestProgress& p) {
    if (p.stage == IngestStage::kEmbed) last_embedded = p.done;
    EXPECT_LE(p.done, std::max(p.total, p.done));
  };
  const IngestResult r = f.index(o);
  EXPECT_EQ(estimate.files, 5u);
  EXPECT_EQ(estimate.changed_files, 5u);
  EXPECT_GT(estimate.seconds, 0.0);
  EXPECT_GT(estimate.disk_bytes, estimate.changed_bytes);
  EXPECT_EQ(last_embedded, r.collection.chunks);
  EXPECT_EQ(f.store->snapshot("notes")->matching_chunks(parse_filter("author=Ada")).size(), r.collection.chunks);
  EXPECT_TRUE(f.store->snapshot("notes")->matching_chunks(parse_filter("author=Bob")).empty());
  f.index(o);
  EXPECT_EQ(estimate.changed_files, 0u);
  IngestOptions none = f.options();
  none.paths.clear();
  EXPECT_GS_ERROR(f.index(none), ErrorCode::kInvalidArgument, "no path");
}

}  // namespace
}  // namespace gritstone

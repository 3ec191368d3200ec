// What each reuse policy promises, on a tiny mixture-of-experts model with random weights: real states, real spans, a real store.
#include "pipelines/prompt_composer.h"

#include <fstream>
#include <random>

#include "generator/generate.h"
#include "pipelines/ingest.h"
#include "pipelines/warm_spans.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/tiny_collection.h"

namespace gritstone {
namespace {

class Composing : public TinyCollection {
 protected:
  struct Answer {
    std::vector<TokenId> ids;
    ComposedPrompt composed;  // without the job's part
  };

  Prompt prompt(const std::string& question, const std::vector<std::size_t>& passages, PromptLayout layout) {
    std::vector<PromptPassage> given;
    for (const std::size_t p : passages) given.push_back({"", texts_[p]});
    return format_.answer(question, given, layout, "Answer.");
  }

  Answer ask(const std::string& policy, const std::string& question, const std::vector<std::size_t>& passages,
             PromptLayout layout = PromptLayout::kDocsFirst, KvType type = KvType::kInt8) {
    std::vector<PassageOwner> chunks;
    for (const std::size_t p : passages) chunks.push_back(chunks_[p]);
    PromptComposer composer(parts_, *cache_, collection_, {parse_reuse(policy), type, {}});
    Answer answer;
    answer.composed = composer.compose(prompt(question, passages, layout), chunks);
    GenerateRequest request;
    request.prompt = std::move(answer.composed.tokens);
    request.context = std::move(answer.composed.context);
    request.runs = std::move(answer.composed.runs);
    request.save = answer.composed.save;
    request.max_new_tokens = 16;
    request.ignore_stops = true;
    // A random model repeats its favourite token; sampled with a fixed seed, the tokens depend on every logit.
    request.sampling.temperature = 1.0;
    request.sampling.seed = 5;
    const GenerateResult result = generate(*engine_, tokenizer_, std::move(request));
    composer.keep(answer.composed, result.saved, 1e-3);
    answer.ids = result.ids;
    EXPECT_EQ(result.ids.size(), 16u);
    return answer;
  }

  PromptFormat format_{tokenizer_, PromptStyle::kChatMl};
};

// 250 questions over passages met before, in both layouts, from RAM and from disk: the same tokens as without reuse, and something reused
// in every one.
TEST_F(Composing, ExactGivesTheAnswersOfNone) {
  std::mt19937 random(11);
  std::vector<std::vector<std::size_t>> prefixes;
  for (int i = 0; i < 10; ++i) prefixes.push_back({random() % 8, 0, 0});
  for (auto& p : prefixes) {
    p[1] = (p[0] + 1 + random() % 3) % 8;
    p[2] = (p[1] + 1 + random() % 3) % 8;
    if (p[2] == p[0]) p[2] = (p[2] + 1) % 8 == p[1] ? (p[2] + 2) % 8 : (p[2] + 1) % 8;
    ask("exact", "first", p);
  }
  for (int i = 0; i < 250; ++i) {
    std::vector<std::size_t> passages = prefixes[random() % prefixes.size()];
    if (random() % 2 == 0) passages.pop_back();
    if (random() % 3 == 0) passages.push_back((passages.back() + 4) % 8);
    const std::string question = "question " + std::to_string(random());
    if (i % 25 == 0) restart();
    const Answer exact = ask("exact", question, passages);
    ASSERT_EQ(exact.ids, ask("none", question, passages).ids) << i;
    ASSERT_GT(exact.composed.reused_tokens, texts_[passages[0]].size()) << "head and the first passage at least";
  }
}

TEST_F(Composing, ExactInQueryFirstLayoutReusesTheQuestionInThisProcessOnly) {
  const std::vector<std::size_t> passages = {1, 2, 3};
  const auto layout = PromptLayout::kQueryFirst;
  const Answer none = ask("none", "who?", passages, layout);
  EXPECT_EQ(ask("exact", "who?", passages, layout).composed.reused_tokens, 0u);
  const Answer again = ask("exact", "who?", {1, 2, 4}, layout);
  EXPECT_GT(again.composed.reused_tokens, texts_[1].size() + texts_[2].size());
  EXPECT_EQ(ask("exact", "who?", passages, layout).ids, none.ids);
  EXPECT_EQ(ask("exact", "what?", passages, layout).composed.reused_tokens, 0u);
  restart();
  EXPECT_EQ(ask("exact", "who?", passages, layout).composed.reused_tokens, 0u) << "questions are not written to disk";
  EXPECT_EQ(store_->span_stats().spans, 0u);
}

TEST_F(Composing, ChunksAnswerTheSameWhateverWasCached) {
  for (const KvType type : {KvType::kBF16, KvType::kInt8, KvType::kInt4}) {
    for (const PromptLayout layout : {PromptLayout::kDocsFirst, PromptLayout::kQueryFirst}) {
      cache_ = std::make_unique<SpanCache>(*store_, SpanCacheOptions{});
      store_->begin_write()->prune_spans(0);
      for (const std::string& policy : {std::string("chunks"), std::string("first=7"), std::string("blend=0.3")}) {
        const Answer computed = ask(policy, "who?", {1, 2, 3}, layout, type);
        const Answer ram = ask(policy, "who?", {1, 2, 3}, layout, type);
        EXPECT_EQ(ram.composed.passages[0].source, SpanSource::kRam);
        restart();
        const Answer disk = ask(policy, "who?", {1, 2, 3}, layout, type);
        EXPECT_EQ(disk.composed.passages[2].source, SpanSource::kDisk);
        EXPECT_GT(disk.composed.reused_tokens, (texts_[1].size() + texts_[2].size() + texts_[3].size()) / 2);
        EXPECT_EQ(computed.ids, ram.ids);
        EXPECT_EQ(computed.ids, disk.ids);
      }
      // Any order, any subset.
      const Answer other = ask("chunks", "when?", {3, 1}, layout, type);
      EXPECT_EQ(other.composed.passages[0].source, SpanSource::kRam);
      EXPECT_EQ(other.composed.passages[1].source, SpanSource::kRam);
      EXPECT_EQ(other.composed.compute_ms, 0.0);
    }
  }
}

TEST_F(Composing, ComputingEverythingAgainIsNoReuse) {
  const std::vector<std::size_t> passages = {4, 5, 6};
  const std::vector<TokenId> none = ask("none", "who?", passages).ids;
  const Answer blend = ask("blend=1", "who?", passages);
  EXPECT_EQ(blend.ids, none);
  EXPECT_EQ(blend.composed.recomputed_tokens, texts_[4].size() + texts_[5].size() + texts_[6].size());
  EXPECT_EQ(ask("first=1000", "who?", passages).ids, none);
  EXPECT_NE(ask("chunks", "who?", passages).ids, none) << "a random model should notice that passages do not see each other";
}

TEST_F(Composing, RecomputesAsMuchAsAskedForAndWhereItMatters) {
  const Answer first = ask("first=5", "who?", {0, 1});
  EXPECT_EQ(first.composed.passages[0].recomputed, 5u);
  EXPECT_EQ(first.composed.passages[1].recomputed, 5u);
  const Answer blend = ask("blend=0.2", "who?", {0, 1, 2, 3});
  std::size_t tokens = 0, recomputed = 0;
  for (const PassageReuse& p : blend.composed.passages) {
    tokens += p.tokens;
    recomputed += p.recomputed;
  }
  EXPECT_NEAR(static_cast<double>(recomputed), 0.2 * static_cast<double>(tokens), 1.0);
  EXPECT_EQ(recomputed, blend.composed.recomputed_tokens);
}

TEST_F(Composing, AnotherCollectionModelOrTypeSharesNothing) {
  ask("chunks", "who?", {1});
  const PromptComposer mine(parts_, *cache_, collection_, {parse_reuse("chunks"), KvType::kInt8, {}});
  const std::vector<TokenId> ids = tokenizer_.encode(texts_[1]);
  EXPECT_TRUE(cache_->find(mine.naming().chunk(ids), ids));
  CollectionInfo other = collection_;
  other.id += 1;
  EXPECT_NE(PromptComposer(parts_, *cache_, other, {parse_reuse("chunks"), KvType::kInt8, {}}).naming().chunk(ids),
            mine.naming().chunk(ids));
  EXPECT_NE(PromptComposer(parts_, *cache_, collection_, {parse_reuse("chunks"), KvType::kInt4, {}}).naming().chunk(ids),
            mine.naming().chunk(ids));
  ModelParts newer = parts_;
  newer.hash = [] { return std::string("other"); };
  EXPECT_NE(PromptComposer(newer, *cache_, collection_, {parse_reuse("chunks"), KvType::kInt8, {}}).naming().chunk(ids),
            mine.naming().chunk(ids));
}

TEST_F(Composing, SpansGoWithTheirDocument) {
  ask("chunks", "who?", {1, 2});
  ask("exact", "who?", {1, 2});
  restart();
  EXPECT_EQ(store_->span_stats(collection_.id).spans, 5u) << "two passages, the head and two links";
  auto job = store_->begin_write();
  job->remove_document("notes", "1.txt");
  job->commit();
  EXPECT_EQ(store_->span_stats(collection_.id).spans, 2u) << "the other passage and the head; the second link stood behind the first";
}

// One pass at ingest: what the embedder computed for the vector is the span, bit for bit.
TEST_F(Composing, TheEmbeddingPassMakesTheSpan) {
  const std::filesystem::path docs = directory_ / "docs";
  std::filesystem::create_directory(docs);
  for (int d = 0; d < 3; ++d) std::ofstream(docs / (std::to_string(d) + ".txt")) << texts_[static_cast<std::size_t>(d)] << "\n";
  IngestOptions options;
  options.paths = {docs.string()};
  options.collection = "eager";
  options.eager_spans = IngestOptions::EagerSpans{KvType::kInt8, 1 << 30};
  const IngestResult result = ingest(*store_, tokenizer_, &parts_, options);
  EXPECT_EQ(result.embedded, 3u);
  EXPECT_EQ(result.spans, 3u);
  WarmOptions warm;
  EXPECT_EQ(warm_spans(*store_, "eager", parts_, warm).known, 3u);

  const auto snapshot = store_->snapshot("eager");
  const ChunkRecord chunk = snapshot->chunk_at(snapshot->find_document((docs / "1.txt").string())->id, 0).value();
  const SpanNaming naming(parts_, store_->id(), snapshot->info(), KvType::kInt8);
  const std::vector<TokenId> ids = passage_tokens(tokenizer_, chunk.heading_path, chunk.text);
  const auto kept = cache_->find(naming.chunk(ids), ids);
  ASSERT_TRUE(kept);
  Job job;
  job.tokens = naming.head();
  job.tokens.insert(job.tokens.end(), ids.begin(), ids.end());
  job.wants.kv = {{naming.head().size(), ids.size(), KvType::kInt8}};
  const auto computed = engine_->run(std::move(job)).kv.at(0);
  EXPECT_TRUE(std::ranges::equal(kept->span->bytes, computed->bytes));

  // A budget that is full keeps the vectors coming.
  options.collection = "full";
  options.eager_spans->disk_bytes = 1;
  const IngestResult full = ingest(*store_, tokenizer_, &parts_, options);
  EXPECT_EQ(full.embedded, 3u);
  EXPECT_EQ(full.spans, 0u);
  warm.disk_bytes = 1;
  EXPECT_EQ(warm_spans(*store_, "full", parts_, warm).left_out, 3u);
}

// The batch grows where the spans' budget fills up: no passage may be skipped there. Enough of them for one pass to see both sizes.
TEST_F(Composing, ABudgetThatFillsUpLosesNoVector) {
  const std::filesystem::path docs = directory_ / "docs";
  std::filesystem::create_directory(docs);
  for (int d = 0; d < 100; ++d)
    std::ofstream(docs / (std::to_string(d) + ".txt")) << d << " " << texts_[static_cast<std::size_t>(d % 8)] << "\n";
  IngestOptions options;
  options.paths = {docs.string()};
  options.collection = "lazy";
  ASSERT_EQ(ingest(*store_, tokenizer_, &parts_, options).embedded, 100u);
  options.collection = "eager";
  options.eager_spans = IngestOptions::EagerSpans{KvType::kInt8, 600 << 10};
  const IngestResult eager = ingest(*store_, tokenizer_, &parts_, options);
  EXPECT_EQ(eager.embedded, 100u);
  EXPECT_GT(eager.spans, 0u);
  EXPECT_LT(eager.spans, 100u);
  const auto lazy_snapshot = store_->snapshot("lazy"), eager_snapshot = store_->snapshot("eager");
  const std::vector<ChunkId> lazy_ids = lazy_snapshot->matching_chunks({}), eager_ids = eager_snapshot->matching_chunks({});
  ASSERT_EQ(lazy_ids.size(), eager_ids.size());
  for (std::size_t i = 0; i < lazy_ids.size(); ++i) {
    ASSERT_EQ(lazy_snapshot->embedding(lazy_ids[i]).value(), eager_snapshot->embedding(eager_ids[i]).value()) << i;
  }
}

TEST(ReusePolicy, NamesRoundTripAndNonsenseIsRefused) {
  for (const char* name :
       {"none", "exact", "chunks", "first=4", "blend=0.15", "blend=1", "grit-doc", "grit-query", "grit-doc-query", "grit-query-doc"})
    EXPECT_EQ(reuse_name(parse_reuse(name)), name);
  EXPECT_EQ(reuse_name(parse_reuse("auto")), "exact");
  for (const char* name :
       {"", "Exact", "first", "first=", "first=0", "first=x", "first=4x", "blend=0", "blend=1.5", "blend=nan", "blend=-1"}) {
    EXPECT_GS_ERROR(parse_reuse(name), ErrorCode::kInvalidArgument, "expected auto, none");
  }
}

// Whether a span is loaded or computed again is a matter of time, never of the answer.
TEST_F(Composing, ComputesAgainWhatIsSlowToLoadWithTheSameAnswer) {
  for (const char* policy : {"chunks", "exact"}) {
    SCOPED_TRACE(policy);
    ask(policy, "Warm?", {1, 2});
    restart();
    const Answer loaded = ask(policy, "What is said?", {1, 2});
    EXPECT_EQ(loaded.composed.passages[0].source, SpanSource::kDisk);
    restart();
    cache_->costs().saw_compute(1000, 1e-3);
    cache_->costs().saw_disk(std::uint64_t{1} << 20, 1000.0);
    const Answer computed = ask(policy, "What is said?", {1, 2});
    EXPECT_NE(computed.composed.passages[0].source, SpanSource::kDisk);
    EXPECT_EQ(computed.composed.reused_tokens, 0u);
    EXPECT_GT(cache_->stats().passed_over, 0u);
    EXPECT_EQ(computed.ids, loaded.ids);
    store_->begin_write()->prune_spans(0);
    cache_ = std::make_unique<SpanCache>(*store_, SpanCacheOptions{});
  }
}

}  // namespace
}  // namespace gritstone

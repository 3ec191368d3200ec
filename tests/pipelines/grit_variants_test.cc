// GRIT's caching variants: the paper's prompts behind embedding passes, and passes that retrieval leaves for the answer.
#include <map>

#include "generator/generate.h"
#include "pipelines/answer.h"
#include "pipelines/prompt_composer.h"
#include "retriever/grit_embedder.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/tiny_collection.h"

namespace gritstone {
namespace {

class GritVariants : public TinyCollection {
 protected:
  ComposedPrompt compose(const std::string& policy, const std::string& question, std::size_t passage) {
    const std::vector<PromptPassage> passages{{"", texts_[passage]}};
    const Prompt prompt = format_.answer(question, passages, PromptLayout::kDocsFirst, "Answer.");
    const std::vector<PassageOwner> chunks{chunks_[passage]};
    PromptComposer composer(parts_, *cache_, collection_, {parse_reuse(policy), KvType::kBF16, {}});
    return composer.compose(prompt, chunks);
  }

  std::vector<TokenId> generate_behind(ComposedPrompt composed) {
    GenerateRequest request;
    request.prompt = std::move(composed.tokens);
    request.context = std::move(composed.context);
    request.runs = std::move(composed.runs);
    request.max_new_tokens = 16;
    request.ignore_stops = true;
    request.sampling.temperature = 1.0;
    request.sampling.seed = 5;
    return generate(*engine_, tokenizer_, std::move(request)).ids;
  }

  std::string words(const std::vector<TokenId>& ids) { return tokenizer_.decode(ids); }

  PromptFormat format_{tokenizer_, PromptStyle::kChatMl};
};

TEST_F(GritVariants, WriteThePapersPrompts) {
  const std::string query = "\n<|user|>\n", assistant = "\n<|assistant|>\nThe answer is";
  const std::string answer_query = "Answer the prior query while optionally using the context prior to it";
  const std::string using_context = "Optionally using the prior context answer the query prior to it";
  EXPECT_EQ(words(compose("grit-doc", "Why?", 2).tokens), query + "Why?\n\n" + answer_query + assistant);
  EXPECT_EQ(words(compose("grit-query", "Why?", 2).tokens), query + texts_[2] + "\n\n" + using_context + assistant);
  EXPECT_EQ(words(compose("grit-doc-query", "Why?", 2).tokens), query + answer_query + assistant);
  EXPECT_EQ(words(compose("grit-query-doc", "Why?", 2).tokens), query + using_context + assistant);
}

TEST_F(GritVariants, PutPassesOneBehindTheOtherEachFromPositionZero) {
  const SpanNaming naming(parts_, cache_->store_id(), collection_, KvType::kBF16);
  const std::size_t head = naming.head().size();
  const std::size_t doc = head + tokenizer_.encode(texts_[1], SpecialTokens::kPlain).size(), question = head + 4;
  const ComposedPrompt doc_query = compose("grit-doc-query", "Why?", 1);
  ASSERT_EQ(doc_query.context.size(), 2u);
  EXPECT_EQ(doc_query.context[0].length, doc);
  EXPECT_EQ(doc_query.context[1].length, question);
  EXPECT_EQ(doc_query.context[1].slot, doc);
  EXPECT_EQ(doc_query.context[1].position, 0u) << "as it was embedded";
  ASSERT_EQ(doc_query.runs.size(), 1u);
  EXPECT_EQ(doc_query.runs[0].slot, doc + question);
  EXPECT_EQ(doc_query.runs[0].position, doc + question);
  const ComposedPrompt query_doc = compose("grit-query-doc", "Why?", 1);
  EXPECT_EQ(query_doc.context[0].length, question);
  const std::size_t second_head = tokenizer_.encode("\n<|embed|>\n", SpecialTokens::kPlain).size();
  EXPECT_EQ(query_doc.context[1].length, doc - head + second_head) << "no <bos> in the middle";
}

TEST_F(GritVariants, AnswerAlikeWhereverThePassComesFrom) {
  for (const char* policy : {"grit-doc", "grit-query", "grit-doc-query", "grit-query-doc"}) {
    SCOPED_TRACE(policy);
    restart();
    store_->begin_write()->prune_spans(0);
    cache_ = std::make_unique<SpanCache>(*store_, SpanCacheOptions{});
    ComposedPrompt first = compose(policy, "What is said?", 3);
    EXPECT_EQ(first.reused_tokens, 0u);
    const std::vector<TokenId> computed = generate_behind(std::move(first));
    ComposedPrompt again = compose(policy, "What is said?", 3);
    std::size_t all = 0;
    for (const Segment& segment : again.context) all += segment.length;
    EXPECT_EQ(again.reused_tokens, all);
    EXPECT_EQ(generate_behind(std::move(again)), computed);
    restart();
    ComposedPrompt from_disk = compose(policy, "What is said?", 3);
    EXPECT_EQ(from_disk.reused_tokens,
              std::string(policy) == "grit-query" ? 0 : from_disk.context[std::string(policy) == "grit-query-doc"].length)
        << "a passage's pass is on disk, a question's was of the other process alone";
    EXPECT_EQ(generate_behind(std::move(from_disk)), computed);
  }
}

// Retrieval embeds question and passage; the answer takes both passes as they are.
TEST_F(GritVariants, TakeThePassesOfRetrieval) {
  EmbedOptions embedding;  // GRIT's own: bidirectional, mean
  const GritEmbedder embedder(*engine_, tokenizer_, embedding);
  AnswerOptions options;
  options.search.mode = SearchMode::kFused;
  options.search.dense_weight = 0.5;
  options.search.k = 3;
  options.abstain = false;
  options.max_new_tokens = 8;
  options.cache = cache_.get();
  options.reuse = parse_reuse("grit-doc-query");
  options.span_type = KvType::kBF16;
  options.embedding = embedding;
  const AnswerResult result = answer(*store_->snapshot("notes"), &embedder, parts_, "Passage 4", options);
  ASSERT_EQ(result.reuse.passages.size(), 1u);
  EXPECT_EQ(result.reuse.passages[0].source, SpanSource::kRam) << "embedded on demand a moment ago";
  EXPECT_EQ(result.usage.cached_tokens, result.reuse.reused_tokens);
  EXPECT_GT(result.reuse.reused_tokens, result.reuse.passages[0].tokens) << "the question's pass too";
  EXPECT_EQ(result.reuse.policy, "grit-doc-query");
  EXPECT_EQ(result.passages.size(), 1u);
  ASSERT_FALSE(result.dropped.empty());
  EXPECT_EQ(result.dropped[0].reason, "grit-doc-query puts one passage before the model");

  options.embedding.reset();
  cache_ = std::make_unique<SpanCache>(*store_, SpanCacheOptions{});
  options.cache = cache_.get();
  const AnswerResult computed = answer(*store_->snapshot("notes"), &embedder, parts_, "Passage 4", options);
  EXPECT_EQ(computed.reuse.reused_tokens, 0u);
  EXPECT_EQ(computed.plain, result.plain);
}

// A GRIT-tuned causal embedder: a query-first prompt begins with the question's embedding pass, and the answer goes on from its states.
TEST_F(GritVariants, QueryFirstContinuesTheQuestionsPass) {
  ModelConfig tuned = config();
  tuned.grit_tuned = true;
  parts_.config = &tuned;
  EmbedOptions embedding;
  embedding.pooling = Pooling::kWeightedMean;
  embedding.attention = Attention::kCausal;
  embedding.query_instruction = "Find it";
  const GritEmbedder embedder(*engine_, tokenizer_, embedding);
  AnswerOptions options;
  options.search.dense_weight = 0.5;
  options.search.k = 2;
  options.layout = PromptLayout::kQueryFirst;
  options.abstain = false;
  options.max_new_tokens = 12;
  options.keep_trace = true;
  options.cache = cache_.get();
  options.embedding = embedding;
  std::map<std::string, AnswerResult> results;
  for (const char* policy : {"none", "exact"}) {
    options.reuse = parse_reuse(policy);
    results[policy] = answer(*store_->snapshot("notes"), &embedder, parts_, "Passage 4", options);
  }
  const AnswerResult& none = results["none"];
  const AnswerResult& exact = results["exact"];
  ASSERT_TRUE(none.trace && exact.trace);
  EXPECT_EQ(none.trace->prompt.tokens, exact.trace->prompt.tokens);
  EXPECT_EQ(none.trace->ids, exact.trace->ids);
  const std::string start = "<|user|>\nFind it\n<|embed|>\nPassage 4\n";
  const std::string text = words(exact.trace->prompt.tokens);
  EXPECT_NE(text.find(start), std::string::npos) << text;
  const std::size_t pass = tokenizer_.encode(start, SpecialTokens::kPlain).size() - 1 + 1;  // without the line feed, with <bos>
  EXPECT_EQ(exact.reuse.reused_tokens, pass) << "the first question over this cache reuses its own embedding pass";
}

TEST_F(GritVariants, NeedAPassage) {
  PromptComposer composer(parts_, *cache_, collection_, {parse_reuse("grit-doc"), KvType::kBF16, {}});
  EXPECT_GS_ERROR(composer.compose(format_.answer("Why?", {}, PromptLayout::kDocsFirst, "Answer."), {}), ErrorCode::kInvalidArgument,
                  "grit-doc needs a passage");
}

}  // namespace
}  // namespace gritstone

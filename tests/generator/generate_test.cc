#include "generator/generate.h"

#include "tests/base/expect_error.h"
#include "tests/generator/fake_model.h"
#include "tests/model/tiny_model.h"

namespace gritstone {
namespace {

GenerateRequest request_for(const ByteTokenizer& tokenizer, std::size_t n = 64) {
  GenerateRequest request;
  request.prompt = tokenizer.encode("prompt");
  request.max_new_tokens = n;
  request.stop_ids = tokenizer.stop_ids();
  return request;
}

TEST(Generate, WritesUntilTheStopToken) {
  const ByteTokenizer tokenizer;
  ScriptedEngine engine("It is caf\xC3\xA9.");
  std::string streamed;
  GenerateRequest request = request_for(tokenizer);
  request.on_text = [&](std::string_view text) { streamed += text; };
  const GenerateResult result = generate(engine, tokenizer, request);
  EXPECT_EQ(result.text, "It is caf\xC3\xA9.");
  EXPECT_EQ(streamed, result.text);
  EXPECT_EQ(result.finish_reason, FinishReason::kStop);
  EXPECT_EQ(result.ids.size(), 12u);
  EXPECT_EQ(result.usage.prompt_tokens, 6u);
  EXPECT_EQ(result.usage.completion_tokens, 13u);  // the stop token was computed, too
  EXPECT_GE(result.timings.total_ms, result.timings.ttft_ms);
  EXPECT_TRUE(result.timings.tpot_ms.has_value());
  EXPECT_GE(engine.last_job().max_slots, 6u + 64u);
}

TEST(Generate, EndsAtTheLengthOrAStopString) {
  const ByteTokenizer tokenizer;
  ScriptedEngine engine("abcdef STOP ghi");
  GenerateRequest request = request_for(tokenizer, 4);
  EXPECT_EQ(generate(engine, tokenizer, request).text, "abcd");
  EXPECT_EQ(generate(engine, tokenizer, request).finish_reason, FinishReason::kLength);
  request.max_new_tokens = 64;
  request.stop_strings = {" STOP"};
  std::string streamed;
  request.on_text = [&](std::string_view text) { streamed += text; };
  const GenerateResult stopped = generate(engine, tokenizer, request);
  EXPECT_EQ(stopped.text, "abcdef");
  EXPECT_EQ(streamed, "abcdef");
  EXPECT_EQ(stopped.finish_reason, FinishReason::kStop);
  request.ignore_stops = true;
  request.max_new_tokens = 20;
  EXPECT_EQ(generate(engine, tokenizer, request).usage.completion_tokens, 20u);
  request.max_new_tokens = 0;
  EXPECT_EQ(generate(engine, tokenizer, request).text, "");
}

TEST(Generate, CancelEndsItSoon) {
  const ByteTokenizer tokenizer;
  ScriptedEngine engine(std::string(4000, 'x'));
  engine.set_step_ms(2);
  GenerateRequest request = request_for(tokenizer, 4000);
  std::stop_source stop;
  request.cancel = stop.get_token();
  request.on_text = [&](std::string_view) { stop.request_stop(); };
  const auto start = std::chrono::steady_clock::now();
  EXPECT_GS_ERROR(generate(engine, tokenizer, request), ErrorCode::kCancelled, "cancelled");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(4));  // all of it would take 8
}

TEST(Generate, AnErrorWhileShowingTextEndsTheJob) {
  const ByteTokenizer tokenizer;
  ScriptedEngine engine(std::string(4000, 'x'));
  engine.set_step_ms(1);
  GenerateRequest request = request_for(tokenizer, 4000);
  request.on_text = [](std::string_view) { throw Error(ErrorCode::kStorage, "the reader went away"); };
  EXPECT_GS_ERROR(generate(engine, tokenizer, request), ErrorCode::kStorage, "went away");
}

// The real engine on random weights: threads, and jobs beside it, change nothing.
TEST(Generate, SameTextOnOneAndTwoThreadsAloneAndInCompany) {
  ModelConfig config = tiny_config();
  config.vocab = ByteTokenizer::kVocab;
  config.eos = ByteTokenizer::kEos;
  const TinyModel model(config);
  const ByteTokenizer tokenizer;
  GenerateRequest request = request_for(tokenizer, 40);
  request.sampling.temperature = 1;
  request.sampling.seed = 11;
  request.ignore_stops = true;
  EngineOptions options;
  options.threads = 1;
  const std::vector<TokenId> alone = generate(*Engine::create(model, options), tokenizer, request).ids;
  EXPECT_GT(alone.size(), 20u);
  options.threads = 2;
  const auto engine = Engine::create(model, options);
  EXPECT_EQ(generate(*engine, tokenizer, request).ids, alone);
  std::vector<std::future<std::vector<TokenId>>> company;
  for (int i = 0; i < 6; ++i) {
    GenerateRequest other = request;
    if (i % 2 == 1) other.prompt = tokenizer.encode("another prompt " + std::to_string(i));
    company.push_back(std::async(std::launch::async, [&, other] { return generate(*engine, tokenizer, other).ids; }));
  }
  for (std::size_t i = 0; i < company.size(); ++i) {
    const std::vector<TokenId> ids = company[i].get();
    if (i % 2 == 0) {
      EXPECT_EQ(ids, alone);
    }
  }
}

// What a request needs of the logits is all it asks for, and the text is that of whole rows: with a penalty that needs more from token to
// token and in the end more than there are, with drafts, with neither.
TEST(Generate, AsksForTheLargestLogitsAndWritesWhatWholeRowsGive) {
  ModelConfig config = tiny_config();
  config.vocab = ByteTokenizer::kVocab;
  config.eos = ByteTokenizer::kEos;
  const TinyModel model(config);
  const ByteTokenizer tokenizer;
  EngineOptions options;
  options.threads = 1;
  const auto engine = Engine::create(model, options);
  ScriptedEngine scripted("abc");
  struct Case {
    SamplerOptions sampling;
    std::size_t wish;  // for the first token
  };
  std::vector<Case> cases(6);
  cases[0] = {{}, 1};
  cases[1] = {{.repetition_penalty = 1.3, .repetition_window = 8}, 1};
  cases[2] = {{.temperature = 1.2, .top_k = 250, .top_p = 0.9, .repetition_penalty = 1.3, .repetition_window = 0, .seed = 4}, 250};
  cases[3] = {{.temperature = 1, .min_p = 0.1, .seed = 5}, 0};
  cases[4] = {{.repetition_penalty = 0.7}, 0};
  cases[5] = {{.temperature = 2, .top_k = 12, .seed = 6}, 12};
  for (const Case& c : cases) {
    GenerateRequest request = request_for(tokenizer, 48);
    request.sampling = c.sampling;
    request.ignore_stops = true;
    generate(scripted, tokenizer, request);
    EXPECT_EQ(scripted.last_job().wants.top_logits, c.wish);

    Sampler sampler(c.sampling);
    std::vector<TokenId> want;
    Job job;
    job.tokens = request.prompt;
    job.wants.logits = Wants::Logits::kLast;
    job.max_slots = request.prompt.size() + 48;
    job.next = [&](const JobOutput& output) -> std::optional<NextTokens> {
      want.push_back(sampler.sample(output.logits));
      if (want.size() == 48) return std::nullopt;
      return NextTokens{{want.back()}, std::nullopt, Wants::Logits::kLast};
    };
    engine->run(std::move(job));
    EXPECT_EQ(generate(*engine, tokenizer, request).ids, want);
    request.draft_source = want;
    EXPECT_EQ(generate(*engine, tokenizer, request).ids, want) << "with drafts";
  }
}

TEST(Generate, RefusesWhatDoesNotFit) {
  const ByteTokenizer tokenizer;
  ScriptedEngine engine("x");
  engine.mutable_config().context = 10;
  EXPECT_GS_ERROR(generate(engine, tokenizer, request_for(tokenizer, 5)), ErrorCode::kInvalidArgument, "6 tokens and 5 new");
  GenerateRequest empty = request_for(tokenizer, 1);
  empty.prompt.clear();
  EXPECT_GS_ERROR(generate(engine, tokenizer, empty), ErrorCode::kInvalidArgument, "no tokens");
  GenerateRequest bad = request_for(tokenizer, 1);
  bad.sampling.temperature = -2;
  EXPECT_GS_ERROR(generate(engine, tokenizer, bad), ErrorCode::kInvalidArgument, "temperature");
}

}  // namespace
}  // namespace gritstone

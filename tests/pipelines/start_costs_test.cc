// Estimates of the first token: what they are made of, how they learn, and that they count the work the composer really does.
#include "pipelines/start_costs.h"

#include <fstream>

#include "base/checked_file.h"
#include "pipelines/prompt_composer.h"
#include "pipelines/prompt_work.h"
#include "tests/pipelines/tiny_collection.h"

namespace gritstone {
namespace {

// Passes of 10 and 110 tokens take 1 and 2 seconds; a token behind n others takes n milliseconds more.
std::filesystem::path write_costs(const TempDirectory& directory, const std::string& ratios = "[]") {
  const std::filesystem::path file = directory / "start.json";
  std::ofstream(file) << R"({"pass_tokens":[10,110],"pass_seconds":[1,2],"context_seconds":0.001,"search_seconds":[0.2,0.1,0.05],"ratios":)"
                      << ratios << "}";
  return file;
}

TEST(StartCosts, PassesAreReadOffTheMeasuredOnes) {
  const TempDirectory directory;
  const StartCosts costs(write_costs(directory));
  EXPECT_TRUE(costs.measured());
  EXPECT_DOUBLE_EQ(costs.pass_seconds(0), 0);
  EXPECT_DOUBLE_EQ(costs.pass_seconds(3), 1);
  EXPECT_DOUBLE_EQ(costs.pass_seconds(60), 1.5);
  EXPECT_DOUBLE_EQ(costs.pass_seconds(60, 100), 1.5 + 60 * 100 * 0.001);
  // Beyond the longest: its slope (0.01 a token behind 60 others on average), and the attention of tokens that stand further back.
  EXPECT_DOUBLE_EQ(costs.pass_seconds(210), 2 + 1.0 + 0.001 * 100 * (160 - 60));
  EXPECT_DOUBLE_EQ(costs.search_seconds(SearchMode::kDense), 0.1);
}

TEST(StartCosts, AStartIsItsPassesAndItsLoading) {
  const TempDirectory directory;
  const StartCosts costs(write_costs(directory));
  PromptWork work;
  work.live_tokens = 60;
  EXPECT_DOUBLE_EQ(costs.start_seconds(work, {}, 16), 1.5);
  work.missing_tokens = 110;
  work.missing_spans = 1;
  EXPECT_DOUBLE_EQ(costs.start_seconds(work, {}, 16), 3.5);
  work.probe_tokens = 110;
  EXPECT_DOUBLE_EQ(costs.start_seconds(work, {}, 16), 3.5 + 2.0 / 8);
  work.ram_bytes = 1000;
  work.disk_bytes = 500;
  SpanRates rates;
  rates.ram_bytes_per_second = 1000;
  rates.disk_bytes_per_second = 100;
  EXPECT_DOUBLE_EQ(costs.start_seconds(work, rates, 16), 3.75 + 1.5 + 5);
}

TEST(StartCosts, LearnsHowFarItWasOff) {
  StartCosts costs;
  EXPECT_FALSE(costs.measured());
  EXPECT_DOUBLE_EQ(costs.typical(), 1);
  EXPECT_DOUBLE_EQ(costs.cautious(), 1.25);
  for (int i = 0; i < 19; ++i) costs.saw_start(2, 2);
  EXPECT_DOUBLE_EQ(costs.cautious(), 1.25) << "too few to trust";
  for (int i = 0; i < 45; ++i) costs.saw_start(2, 2);
  EXPECT_DOUBLE_EQ(costs.cautious(), 1);
  for (int i = 0; i < 64; ++i) costs.saw_start(1, i % 10 == 0 ? 4 : 3);
  EXPECT_DOUBLE_EQ(costs.typical(), 3) << "what is long ago is forgotten";
  EXPECT_DOUBLE_EQ(costs.cautious(), 4);
  costs.saw_start(0, 5);
  costs.saw_start(5, -1);
  EXPECT_DOUBLE_EQ(costs.cautious(), 4);
}

TEST(StartCosts, AreRememberedAndDamageIsMeasuredAnew) {
  const TempDirectory directory;
  const std::filesystem::path file = write_costs(directory, "[1.5,1.5]");
  {
    StartCosts costs(file);
    EXPECT_DOUBLE_EQ(costs.typical(), 1.5);
    costs.saw_search(SearchMode::kDense, 0.5);
  }
  EXPECT_DOUBLE_EQ(StartCosts(file).search_seconds(SearchMode::kDense), 0.75 * 0.1 + 0.25 * 0.5);
  EXPECT_DOUBLE_EQ(StartCosts(file).pass_seconds(60), 1.5);
  for (const std::string bad :
       {R"({"pass_tokens":[10],"pass_seconds":[1,2],"search_seconds":[0,0,0],"ratios":[]})",
        R"({"pass_tokens":[10,5],"pass_seconds":[1,2],"search_seconds":[0,0,0],"ratios":[]})",
        R"({"pass_tokens":[10,20],"pass_seconds":[1,-2],"search_seconds":[0,0,0],"ratios":[]})", "[]", "{", R"({"pass_tokens":"x"})"}) {
    std::ofstream(file) << bad;
    EXPECT_FALSE(StartCosts(file).measured()) << bad;
  }
  StartCosts nowhere("/proc/nothing/start.json");
  nowhere.saw_search(SearchMode::kBm25, 1);
  nowhere.save();
}

class Estimating : public TinyCollection {
 protected:
  Prompt prompt(const std::vector<std::size_t>& passages, PromptLayout layout) {
    std::vector<PromptPassage> given;
    for (const std::size_t p : passages) given.push_back({"", texts_[p]});
    return format_.answer("who?", given, layout, "Answer.");
  }

  // The estimate, then the composer's own count; what was computed is kept for the next.
  std::pair<PromptWork, ComposedPrompt> both(const std::string& policy, const std::vector<std::size_t>& passages, PromptLayout layout) {
    const Prompt asked = prompt(passages, layout);
    std::vector<PassageOwner> owners;
    for (const std::size_t p : passages) owners.push_back(chunks_[p]);
    PromptComposer composer(parts_, *cache_, collection_, {parse_reuse(policy), KvType::kInt8, {}});
    const PromptWork work = prompt_work(asked, composer.naming(), *cache_, parse_reuse(policy));
    ComposedPrompt composed = composer.compose(asked, owners);
    Job job;
    job.context = composed.context;
    job.tokens = composed.tokens;
    job.runs = composed.runs;
    job.wants.kv = composed.save;
    composer.keep(composed, engine_->run(std::move(job)).kv, 1e-3);
    return {work, std::move(composed)};
  }

  PromptFormat format_{tokenizer_, PromptStyle::kChatMl};
};

TEST_F(Estimating, CountsTheWorkThatIsDone) {
  for (const PromptLayout layout : {PromptLayout::kDocsFirst, PromptLayout::kQueryFirst}) {
    for (const std::string policy : {"none", "exact", "chunks", "first=5", "blend=0.25"}) {
      cache_ = std::make_unique<SpanCache>(*store_, SpanCacheOptions{});
      store_->begin_write()->prune_spans(0);
      for (const std::string state : {"cold", "warm", "from disk", "other passages"}) {
        if (state == "from disk") restart();
        const std::vector<std::size_t> passages =
            state == "other passages" ? std::vector<std::size_t>{1, 4} : std::vector<std::size_t>{1, 2, 3};
        const auto [work, composed] = both(policy, passages, layout);
        const std::string what =
            policy + ", " + state + ", " + std::string(layout == PromptLayout::kQueryFirst ? "query-first" : "docs-first");
        std::size_t loaded = 0, computed = 0, disk = 0;
        for (const Segment& segment : composed.context) loaded += segment.length;
        for (const PassageReuse& passage : composed.passages) {
          computed += passage.source == SpanSource::kComputed ? 1 : 0;
          disk += passage.source == SpanSource::kDisk ? passage.bytes : 0;
        }
        EXPECT_EQ(work.live_tokens, composed.tokens.size()) << what;
        EXPECT_EQ(work.context_tokens, loaded) << what;
        EXPECT_EQ(work.prompt_tokens, work.live_tokens + work.context_tokens) << what;
        EXPECT_EQ(work.missing_spans, computed) << what;
        EXPECT_EQ(work.missing_tokens > 0, computed > 0) << what;
        EXPECT_EQ(work.probe_tokens > 0, policy.starts_with("blend")) << what;
        // The head's link is no passage, and a file has a header.
        EXPECT_GE(work.disk_bytes, disk) << what;
        EXPECT_EQ(work.disk_bytes > 0,
                  state == "from disk" && policy != "none" && (policy != "exact" || layout == PromptLayout::kDocsFirst))
            << what;
      }
    }
  }
}

TEST_F(Estimating, MeasuresThisMachine) {
  StartCosts costs(directory_ / "start.json");
  costs.measure(*engine_);
  EXPECT_TRUE(costs.measured());
  EXPECT_GT(costs.pass_seconds(8), 0);
  EXPECT_GT(costs.pass_seconds(700), costs.pass_seconds(16));
  costs.save();
  EXPECT_DOUBLE_EQ(StartCosts(directory_ / "start.json").pass_seconds(100), costs.pass_seconds(100));
}

}  // namespace
}  // namespace gritstone

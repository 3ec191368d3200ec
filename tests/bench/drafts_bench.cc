// Answers with and without drafts from the passages, in turns over the same questions: tokens per step, and time of writing.
//
//   drafts_bench MODEL.gguf --store DIR -c COLLECTION --questions FILE [-n 96] [--limit 40] [--threads 2] [--quote]
//
// FILE holds one question a line. --quote asks for answers that quote their passage word for word. Retrieval is by words. Prints a
// Markdown table; both ways must give the same tokens, or it ends with status 1.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "index/span_cache.h"
#include "model/model_file.h"
#include "pipelines/answer.h"

namespace gritstone {
namespace {

struct Options {
  std::string model, store, collection = "default", questions;
  std::size_t tokens = 96, limit = 40, threads = 2;
  bool quote = false;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t n = values.size();
  return n == 0 ? 0 : n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

int run(const Options& options) {
  const auto file = ModelFile::open(options.model);
  const auto tokenizer = file->tokenizer();
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  const auto engine = Engine::create(*file, engine_options);
  ModelParts parts;
  parts.config = &file->config();
  parts.tokenizer = tokenizer.get();
  parts.engine = [&]() -> Engine& { return *engine; };
  parts.hash = [] { return std::string("bench"); };
  const auto store = Store::open(options.store, Store::Mode::kRead);
  const auto snapshot = store->snapshot(options.collection);
  std::vector<std::string> questions;
  std::ifstream lines(options.questions);
  for (std::string line; questions.size() < options.limit && std::getline(lines, line);) {
    if (!line.empty()) questions.push_back(line);
  }
  SpanCache cache(*store, {std::uint64_t{1} << 30, 0, {}, true});
  AnswerOptions ask;
  ask.search.mode = SearchMode::kBm25;
  ask.search.k = 3;
  ask.abstain = false;
  ask.max_new_tokens = options.tokens;
  ask.keep_trace = true;
  ask.cache = &cache;
  ask.reuse = {ReuseKind::kExact};
  if (options.quote) {
    ask.instruction = "Answer by copying the whole sentence of the passages that holds the answer, word for word, and nothing else.";
  }
  std::size_t steps = 0, written = 0, proposed = 0, accepted = 0, different = 0;
  double with = 0, without = 0;
  std::vector<double> ratios;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    AnswerResult results[2];
    for (const bool second : {false, true}) {
      const bool drafts = second == (i % 2 == 0);  // whoever is first finds the caches colder
      ask.drafts = drafts;
      results[drafts] = answer(*snapshot, nullptr, parts, questions[i], ask);
    }
    const AnswerResult &plain = results[0], &drafted = results[1];
    if (!plain.trace || !drafted.trace) continue;
    different += plain.trace->ids == drafted.trace->ids ? 0 : 1;
    if (drafted.usage.completion_tokens < 8) continue;  // the first token is no decoding
    steps += drafted.drafts.steps;
    written += drafted.usage.completion_tokens;
    proposed += drafted.drafts.proposed;
    accepted += drafted.drafts.accepted;
    with += drafted.timings.decode_ms;
    without += plain.timings.decode_ms;
    ratios.push_back(plain.timings.decode_ms / drafted.timings.decode_ms);
  }
  std::sort(ratios.begin(), ratios.end());
  std::printf(
      "| answers | tokens | tokens a step | drafts held | plain / with drafts: all, median (smallest - largest) | other tokens |\n");
  std::printf("| --- | --- | --- | --- | --- | --- |\n");
  std::printf("| %zu%s | %zu | %.2f | %zu of %zu | %.2f, %.2f (%.2f - %.2f) | %zu |\n", ratios.size(), options.quote ? ", quoting" : "",
              written, steps == 0 ? 0 : static_cast<double>(written) / static_cast<double>(steps), accepted, proposed, without / with,
              median(ratios), ratios.empty() ? 0 : ratios.front(), ratios.empty() ? 0 : ratios.back(), different);
  return different == 0 ? 0 : 1;
}

}  // namespace
}  // namespace gritstone

int main(int argc, char** argv) {
  gritstone::Options options;
  CLI::App app("Answers with and without drafts from the passages");
  app.add_option("MODEL", options.model)->required();
  app.add_option("--store", options.store)->required();
  app.add_option("-c,--collection", options.collection);
  app.add_option("--questions", options.questions)->required();
  app.add_option("-n", options.tokens);
  app.add_option("--limit", options.limit);
  app.add_option("--threads", options.threads);
  app.add_flag("--quote", options.quote);
  CLI11_PARSE(app, argc, argv);
  try {
    return gritstone::run(options);
  } catch (const gritstone::Error& error) {
    std::fprintf(stderr, "drafts_bench: %s\n", error.what());
    return gritstone::exit_code(error.code());
  }
}

// Time to the first token under each reuse policy, on the prompt of a typical question: five passages and a question, retrieval excluded.
// Every round asks a new question over the same passages with every policy in turn, so that whatever else the machine does hits all alike.
// Beside them, in the same rounds, the physical limits: one pass over the tokens that stay live, and copying at memory or disk speed.
//
//   reuse_bench MODEL.gguf [--threads 2] [--rounds 9] [--passages 5] [--tokens 256] [--question 32] [--span-type int8] [--device cuda]
//   [--json] --work DIR
//
// Prints a Markdown table, or with --json every sample. Random weights show speed, never quality.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "generator/generate.h"
#include "index/span_file.h"
#include "model/model_file.h"
#include "pipelines/prompt_composer.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

struct Options {
  std::string model, work, span_type = "int8", device = "cpu";
  std::size_t threads = 2, rounds = 9, passages = 5, tokens = 256, question = 32, head = 60, label = 8;
  std::size_t device_spans = 1024;
  bool json = false;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        file_(ModelFile::open(options.model)),
        tokenizer_(file_->tokenizer()),
        work_(options.work),
        pool_(options.threads) {
    EngineOptions engine;
    engine.threads = options.threads;
    engine.kv_slots = 8192;
    if (options.device == "cuda") {
      engine.device = Device::kCuda;
      engine.max_batch_tokens = 2048;
      engine.device_span_bytes = options.device_spans << 20;
    }
    engine_ = Engine::create(*file_, engine);
    parts_.config = &file_->config();
    parts_.tokenizer = tokenizer_.get();
    parts_.engine = [this]() -> Engine& { return *engine_; };
    parts_.hash = [] { return std::string("bench"); };
    std::filesystem::remove_all(work_);
    store_ = Store::open(work_, Store::Mode::kReadWrite);
    auto job = store_->begin_write();
    collection_ = job->create_collection({.name = "bench"});
    std::vector<Chunk> chunks(options.passages + 1);
    for (std::size_t i = 0; i < chunks.size(); ++i) chunks[i].text = "passage " + std::to_string(i);
    DocumentMeta meta;
    meta.path = "bench";
    const DocumentId document = job->put_document("bench", meta, chunks).id;
    job->commit();
    const auto snapshot = store_->snapshot("bench");
    for (std::size_t i = 0; i < chunks.size(); ++i) chunks_.push_back(snapshot->chunk_at(document, i)->id);
    for (std::size_t i = 0; i < chunks.size(); ++i) passages_.push_back(random_ids(options.tokens));
    type_ = kv_type_from_name(options.span_type).value_or(KvType::kInt8);
  }

  void run() {
    SpanCacheOptions big;
    big.ram_bytes = std::uint64_t{4} << 30;
    SpanCache warm(*store_, big);
    std::vector<std::size_t> order(options_.passages);
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    ask("chunks", warm, order, "");  // computes the spans
    ask("exact", warm, order, "");
    warm.flush();
    for (std::size_t round = 0; round < options_.rounds; ++round) {
      std::vector<std::size_t> shuffled = order;
      std::ranges::shuffle(shuffled, random_);
      ask("none", warm, shuffled, "none");
      ask("chunks", warm, shuffled, "chunks, RAM");
      ask_cold("chunks", big, shuffled, "chunks, disk");
      ask("first=16", warm, shuffled, "first=16");
      ask("blend=0.15", warm, shuffled, "blend=0.15");
      std::vector<std::size_t> four = order;
      four.back() = options_.passages;  // the last one is new; forgotten again for the next round by its new ids
      passages_.back() = random_ids(options_.tokens);
      ask("exact", warm, four, "exact, 4 of 5");
      ask("exact", warm, order, "exact, 5 of 5");
      ask_cold("exact", big, order, "exact, 5 of 5, disk");
      live_pass();
      copy_limit();
    }
    options_.json ? print_json() : print();
  }

 private:
  std::vector<TokenId> random_ids(std::size_t n) {
    std::vector<TokenId> ids(n);
    for (TokenId& id : ids) id = static_cast<TokenId>(100 + random_() % (file_->config().vocab - 200));
    return ids;
  }

  Prompt make_prompt(const std::vector<std::size_t>& order) {
    Prompt prompt;
    const auto add = [&](PieceKind kind, std::size_t passage, const std::vector<TokenId>& ids) {
      prompt.pieces.push_back({kind, passage, prompt.tokens.size(), ids.size()});
      prompt.tokens.insert(prompt.tokens.end(), ids.begin(), ids.end());
    };
    if (head_.empty()) head_ = random_ids(options_.head);
    if (label_.empty()) label_ = random_ids(options_.label);
    add(PieceKind::kHead, 0, head_);
    for (std::size_t i = 0; i < order.size(); ++i) {
      add(PieceKind::kLabel, i, label_);
      add(PieceKind::kPassage, i, passages_[order[i]]);
    }
    add(PieceKind::kQuestion, 0, random_ids(options_.question));
    return prompt;
  }

  void ask(const std::string& policy, SpanCache& cache, const std::vector<std::size_t>& order, const std::string& row) {
    const Prompt prompt = make_prompt(order);
    std::vector<PassageOwner> chunks;
    for (const std::size_t i : order) chunks.push_back(chunks_[i]);
    const auto start = Clock::now();
    PromptComposer composer(parts_, cache, collection_, {parse_reuse(policy), type_, {}});
    ComposedPrompt composed = composer.compose(prompt, chunks);
    GenerateRequest request;
    request.prompt = std::move(composed.tokens);
    request.context = std::move(composed.context);
    request.runs = std::move(composed.runs);
    request.save = composed.save;
    request.max_new_tokens = 1;
    request.ignore_stops = true;
    const std::size_t live = request.prompt.size();
    const double before = ms_since(start);
    const GenerateResult result = generate(*engine_, *tokenizer_, std::move(request));
    composer.keep(composed, result.saved, 1e-3);
    if (row.empty()) return;
    add(row, before + result.timings.ttft_ms);
    add(row + " compose", before);
    add(row + " load", result.timings.load_ms);
    add(row + " live", static_cast<double>(live));
    add(row + " bytes", static_cast<double>(composed.bytes));
  }

  // With a cache that has everything on the disk. It ends with the call: files that it maps could not be evicted for what follows.
  void ask_cold(const std::string& policy, const SpanCacheOptions& options, const std::vector<std::size_t>& order, const std::string& row) {
    evict_files();
    SpanCache cold(*store_, options);
    ask(policy, cold, order, row);
  }

  // The tokens that stay live under `chunks`, as a prompt of their own.
  void live_pass() {
    GenerateRequest request;
    request.prompt = random_ids(static_cast<std::size_t>(median(samples_["chunks, RAM live"])));
    request.max_new_tokens = 1;
    request.ignore_stops = true;
    add("live pass", generate(*engine_, *tokenizer_, std::move(request)).timings.ttft_ms);
  }

  // GB/s of copying (bytes read + written) with all threads, over more than the caches hold, into memory that exists.
  void copy_limit() {
    constexpr std::size_t kBytes = std::size_t{128} << 20, kPart = std::size_t{1} << 20;
    if (from_.empty()) {
      from_.assign(kBytes, 1);
      to_.assign(kBytes, 2);
    }
    const auto start = Clock::now();
    pool_.parallel_for(kBytes / kPart,
                       [&](std::size_t i, std::size_t) { std::memcpy(to_.data() + i * kPart, from_.data() + i * kPart, kPart); });
    add("copy GB/s", 2.0 * kBytes / 1e6 / ms_since(start));
    // The disk: one span file that is not in memory, read from front to back.
    const std::vector<std::filesystem::path> files = span_files();
    evict_files();
    const auto read_start = Clock::now();
    std::uint64_t bytes = 0;
    for (const auto& path : files) {
      const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      for (ssize_t n = 0; (n = ::read(fd, to_.data(), kPart)) > 0;) bytes += static_cast<std::uint64_t>(n);
      ::close(fd);
    }
    add("disk GB/s", static_cast<double>(bytes) / 1e6 / ms_since(read_start));
  }

  std::vector<std::filesystem::path> span_files() const {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(work_ / "kv")) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    return files;
  }

  void evict_files() const {
    for (const auto& path : span_files()) {
      const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
      ::close(fd);
    }
  }

  void add(const std::string& row, double value) { samples_[row].push_back(value); }
  double mid(const std::string& row) { return median(samples_.at(row)); }

  void print_json() {
    std::printf("{");
    const char* row_separator = "";
    for (const auto& [row, values] : samples_) {
      std::printf("%s\"%s\": [", row_separator, row.c_str());
      row_separator = ", ";
      for (std::size_t i = 0; i < values.size(); ++i) std::printf("%s%.3f", i == 0 ? "" : ", ", values[i]);
      std::printf("]");
    }
    std::printf("}\n");
  }

  void print() {
    const double none = mid("none"), live_ms = mid("live pass"), copy = mid("copy GB/s"), disk = mid("disk GB/s");
    const KvShape shape{file_->config().layers, file_->config().kv_heads, file_->config().head_dim};
    const double page_bytes = static_cast<double>(make_kv_span(engine_->options().kv_type, shape, 1).first.total_bytes());
    std::printf(
        "%zu passages of %zu tokens (%s spans, %s live cache), a question of %zu, head %zu, labels %zu; %zu rounds, %zu threads, %s.\n\n",
        options_.passages, options_.tokens, options_.span_type.c_str(), "bf16", options_.question, options_.head, options_.label,
        options_.rounds, options_.threads, engine_->numerics_id().c_str());
    std::printf(
        "| policy | first token, ms: median (smallest - largest) | none / it | live tokens | MiB of spans | compose ms | load ms | limit "
        "ms | first token / limit |\n");
    std::printf("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (const char* row :
         {"none", "exact, 4 of 5", "exact, 5 of 5, disk", "exact, 5 of 5", "blend=0.15", "first=16", "chunks, disk", "chunks, RAM"}) {
      const std::string name(row);
      const std::vector<double>& all = samples_.at(name);
      std::printf("| `%s` | %.0f (%.0f - %.0f) | %.1f | %.0f | %.1f | %.1f | %.1f |", row, mid(name), std::ranges::min(all),
                  std::ranges::max(all), none / mid(name), mid(name + " live"), mid(name + " bytes") / (1 << 20), mid(name + " compose"),
                  mid(name + " load"));
      if (name.starts_with("chunks")) {
        // One pass over the live tokens, plus the spans' bytes read and the cache's written.
        const double reused = static_cast<double>(options_.passages * options_.tokens + options_.head);
        const double memory_ms = (mid(name + " bytes") + reused * page_bytes) / 1e6 / copy;
        const double disk_ms = name.ends_with("disk") ? mid(name + " bytes") / 1e6 / disk : 0;
        const double limit = live_ms + memory_ms + disk_ms;
        std::printf(" %.0f (pass %.0f + memory %.1f + disk %.1f) | %.2f |\n", limit, live_ms, memory_ms, disk_ms, mid(name) / limit);
      } else {
        std::printf("  |  |\n");
      }
    }
    const double moved = mid("chunks, RAM bytes") + static_cast<double>(options_.passages * options_.tokens + options_.head) * page_bytes;
    std::printf(
        "\nLoading spans into the live cache moves %.0f MB (read and written) in %.1f ms: %.1f GB/s, %.0f %% of the %.1f GB/s of a plain "
        "copy in the same "
        "run. Disk, read cold: %.2f GB/s. Bytes a token: %.1f KiB.\n",
        moved / 1e6, mid("chunks, RAM load"), moved / 1e6 / mid("chunks, RAM load"), 100 * moved / 1e6 / mid("chunks, RAM load") / copy,
        copy, disk,
        static_cast<double>(make_kv_span(type_, shape, options_.tokens).first.total_bytes()) / static_cast<double>(options_.tokens) / 1024);
  }

  const Options options_;
  std::unique_ptr<ModelFile> file_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Engine> engine_;
  ModelParts parts_;
  const std::filesystem::path work_;
  ThreadPool pool_;
  std::unique_ptr<Store> store_;
  CollectionInfo collection_;
  KvType type_ = KvType::kInt8;
  std::mt19937_64 random_{7};
  std::vector<TokenId> head_, label_;
  std::vector<std::vector<TokenId>> passages_;
  std::vector<PassageOwner> chunks_;
  std::map<std::string, std::vector<double>> samples_;
  std::vector<std::uint8_t> from_, to_;
};

}  // namespace
}  // namespace gritstone

int main(int argc, char** argv) {
  gritstone::Options options;
  CLI::App app("Time to the first token under each reuse policy");
  app.add_option("MODEL", options.model)->required();
  app.add_option("--threads", options.threads);
  app.add_option("--rounds", options.rounds);
  app.add_option("--passages", options.passages);
  app.add_option("--tokens", options.tokens);
  app.add_option("--question", options.question);
  app.add_option("--span-type", options.span_type)->check(CLI::IsMember({"bf16", "int8", "int4"}));
  app.add_option("--device", options.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--device-spans", options.device_spans,
                 "CUDA: MiB of device memory that keep loaded spans; 0: every load crosses the bus");
  app.add_flag("--json", options.json, "Every sample instead of the table");
  app.add_option("--work", options.work, "Directory for the span files; emptied")->required();
  CLI11_PARSE(app, argc, argv);
  try {
    gritstone::Bench(options).run();
  } catch (const gritstone::Error& error) {
    std::fprintf(stderr, "reuse_bench: %s\n", error.what());
    return gritstone::exit_code(error.code());
  }
  return 0;
}

#include "pipelines/eval_retrieval.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/error.h"
#include "pipelines/span_reranker.h"
#include "pipelines/trec_files.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

// Spans that reranking computes, of this evaluation alone: measuring leaves no trace in the store.
constexpr std::uint64_t kSpanBytes = std::uint64_t{1} << 30;
constexpr std::size_t kLongestName = 64;  // of a collection

std::filesystem::path run_path(std::filesystem::path path, std::string config, bool several) {
  if (!several) return path;
  for (char& c : config) {
    if (c == '/' || c == '+') c = '-';
  }
  const std::string extension = path.extension().string();
  return path.replace_extension(config + extension);
}

class Evaluation {
 public:
  Evaluation(Store& store, const ModelParts* model, const RetrievalTask& task, const RetrievalData* data,
             const EvalRetrievalOptions& options)
      : store_(store),
        model_(model),
        task_(task),
        data_(data),
        options_(options),
        metrics_(options.metrics.empty() ? task.default_metrics() : options.metrics),
        cache_(store, {kSpanBytes, 0, {}, true}) {
    task.check_metrics(metrics_);
    if (options.configs.empty()) throw Error(ErrorCode::kInvalidArgument, "no way of searching was named");
    for (const RetrievalConfig& config : options.configs) {
      if (model != nullptr || (config.mode == SearchMode::kBm25 && config.rerank == 0)) continue;
      throw Error(ErrorCode::kInvalidArgument, config.name + " search needs a model; --mode bm25 does not");
    }
    if (options.k == 0) throw Error(ErrorCode::kInvalidArgument, "k is 0, expected at least 1");
  }

  std::vector<RetrievalRow> run() {
    std::vector<RetrievalRow> rows;
    for (const RetrievalConfig& config : options_.configs) {
      RetrievalRow row;
      row.config = config.name;
      if (data_ != nullptr && indexed_.insert(config.collection).second) index(config, row);
      const auto snapshot = store_.snapshot(config.collection);
      row.documents = snapshot->info().documents;
      row.chunks = snapshot->info().chunks;
      const Clock::time_point start = Clock::now();
      const TaskRun found = search_all(*snapshot, config);
      row.search_seconds = std::chrono::duration<double>(Clock::now() - start).count();
      row.score = score_task(task_, found, metrics_);
      row.queries = row.score.per_query.size();
      if (options_.run_out) {
        write_trec_run(run_path(*options_.run_out, config.name, options_.configs.size() > 1), found.run, "gritstone-" + config.name);
      }
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  void index(const RetrievalConfig& config, RetrievalRow& row) {
    EvalCorpusOptions corpus = options_.corpus;
    corpus.collection = config.collection;
    corpus.vectors = std::ranges::any_of(options_.configs, [&](const RetrievalConfig& other) {
      return other.collection == config.collection && other.mode != SearchMode::kBm25;
    });
    // The first config of a collection may be BM25, which knows no pooling.
    for (const RetrievalConfig& other : options_.configs) {
      if (other.collection == config.collection && other.pooling) corpus.embed.pooling = other.pooling;
    }
    corpus.on_progress = options_.on_progress;
    corpus.stop = options_.stop;
    const EvalCorpusResult result = index_corpus(store_, model_, *data_, corpus);
    row.index_seconds = result.index_seconds;
    row.embed_seconds = result.embed_seconds;
  }

  TaskRun search_all(const Snapshot& snapshot, const RetrievalConfig& config) {
    EmbedOverrides embed = options_.corpus.embed;
    if (config.pooling) embed.pooling = config.pooling;
    const auto embedder = config.mode == SearchMode::kBm25 ? nullptr : open_collection_embedder(*model_, snapshot.info(), embed);
    SearchOptions search_options = task_search_options(task_, options_.k);
    search_options.mode = config.mode;
    search_options.fusion = options_.fusion;
    search_options.dense_weight = options_.dense_weight.value_or(default_dense_weight(snapshot.info()));
    if (model_ != nullptr) search_options.placement = model_->placement;
    search_options.cancel = options_.stop;
    std::optional<SpanReranker> reranker;
    if (config.rerank > 0) {
      search_options.rerank = config.rerank;
      search_options.rerank_weight = options_.rerank_weight;
      search_options.reranker = &reranker.emplace(*model_, &cache_, snapshot.info());
    }
    TaskRun found;
    std::size_t done = 0;
    for (const auto& [id, text] : task_.queries) {
      if (options_.on_progress) options_.on_progress("search " + config.name, done++, task_.queries.size());
      found.add(task_, id, search(snapshot, embedder.get(), text, search_options).hits, options_.k);
    }
    return found;
  }

  Store& store_;
  const ModelParts* model_;
  const RetrievalTask& task_;
  const RetrievalData* data_;
  const EvalRetrievalOptions& options_;
  const std::vector<Metric> metrics_;
  SpanCache cache_;
  std::set<std::string> indexed_;
};

}  // namespace

std::vector<RetrievalConfig> retrieval_grid(const std::string& collection, const std::vector<std::string>& poolings,
                                            const std::vector<std::string>& modes, const std::vector<std::size_t>& reranks) {
  std::vector<RetrievalConfig> configs;
  const auto known = [&](const std::string& name) {
    return std::ranges::any_of(configs, [&](const RetrievalConfig& c) { return c.name == name; });
  };
  for (std::size_t p = 0; p < std::max<std::size_t>(poolings.size(), 1); ++p) {
    for (const std::string& mode : modes) {
      for (const std::size_t rerank : reranks) {
        RetrievalConfig config;
        config.mode = parse_search_mode(mode);
        config.rerank = rerank;
        config.collection = collection;
        config.name = mode;
        if (!poolings.empty()) {
          config.pooling = parse_pooling(poolings[p]);
          if (poolings.size() > 1) {
            const std::string end = "-" + poolings[p];
            config.collection = collection.substr(0, kLongestName - end.size()) + end;
          }
          if (poolings.size() > 1 && config.mode != SearchMode::kBm25) config.name += "/" + poolings[p];
        }
        if (config.mode == SearchMode::kBm25) config.pooling.reset();
        if (rerank > 0) config.name += "+rerank" + std::to_string(rerank);
        if (!known(config.name)) configs.push_back(std::move(config));
      }
    }
  }
  return configs;
}

SearchOptions task_search_options(const RetrievalTask& task, std::size_t k) {
  SearchOptions options;
  options.k = k + (task.skips_own_id ? 1 : 0);
  options.max_per_document = task.unit == RankedUnit::kDocument ? 1 : 0;
  options.collapse_duplicates = false;
  return options;
}

std::vector<RetrievalRow> eval_retrieval(Store& store, const ModelParts* model, const RetrievalTask& task, const RetrievalData* data,
                                         const EvalRetrievalOptions& options) {
  return Evaluation(store, model, task, data, options).run();
}

RetrievalRow eval_run(const RetrievalTask& task, const std::filesystem::path& run, const std::vector<Metric>& metrics) {
  if (task.by_answers()) {
    throw Error(ErrorCode::kInvalidArgument,
                run.string() + " cannot be scored: these questions have answers only, which are looked up in passages");
  }
  RetrievalRow row;
  row.config = run.stem().string();
  row.score = score_run(task.judgements, read_trec_run(run), metrics.empty() ? task.default_metrics() : metrics);
  row.queries = row.score.per_query.size();
  return row;
}

}  // namespace gritstone

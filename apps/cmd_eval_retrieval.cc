// gritstone eval retrieval: ranking quality on judged data sets and question sets.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "apps/commands.h"
#include "apps/embed_overrides.h"
#include "apps/json_output.h"
#include "apps/paths.h"
#include "apps/terminal.h"
#include "apps/tune_output.h"
#include "base/error.h"
#include "pipelines/eval_retrieval.h"
#include "pipelines/tune_fusion.h"

namespace gritstone {
namespace {

struct Options {
  std::string data, questions;
  std::string split;
  std::string relevant = "document";
  std::vector<std::string> metrics;
  std::vector<std::string> modes{"fused"}, poolings;
  std::vector<std::size_t> reranks{0};
  double rerank_weight = kRerankWeight;
  std::size_t k = 100;
  std::size_t limit = 0;
  std::string fusion = "convex";
  double dense_weight = -1;
  std::string run_out;
  std::vector<std::string> from_runs;
  bool tune = false, save = false;
  EmbedFlags embed;
};

// A collection name from the data's: "eval-scifact"; with an embedder by URL "eval-scifact-MODEL".
std::string collection_for(const std::string& data, const std::string& embedder_model) {
  const std::filesystem::path path = absolute_path(data);
  std::string words = "eval-" + (std::filesystem::is_directory(path) ? path.filename() : path.stem()).string();
  if (!embedder_model.empty()) words += "-" + embedder_model;
  for (char& c : words) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!plain) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : '-';
  }
  return words.substr(0, 64);
}

// Vectors by URL need no model, but reranking does.
ModelParts parts_for(CliSession& session, Store& store, const EvalRetrievalOptions& eval) {
  const bool by_url = std::ranges::all_of(eval.configs, [&](const RetrievalConfig& config) {
    const auto collection = store.find_collection(config.collection);
    return config.rerank == 0 && embeds_by_url(collection.value_or(CollectionInfo{}), eval.corpus.embed);
  });
  return by_url ? session.optional_model_parts() : session.model_parts();
}

void row_json(JsonOutput& json, const RetrievalRow& row) {
  const auto values = [&](const std::vector<double>& of) {
    for (std::size_t i = 0; i < of.size(); ++i) json.field(row.score.metrics[i].name(), of[i]);
    json.end_object();
  };
  json.begin_object("metrics");
  values(row.score.mean);
  json.begin_object("per_query");
  for (const auto& [query, metrics] : row.score.per_query) {
    json.begin_object(query);
    values(metrics);
  }
  json.end_object().field("queries", row.queries).field("documents", row.documents).field("chunks", row.chunks);
  json.begin_object("seconds").field("index", row.index_seconds).field("embed", row.embed_seconds);
  json.field("search", row.search_seconds).end_object();
}

void print_json(const std::vector<RetrievalRow>& rows) {
  JsonOutput json;
  json.begin_object();
  if (rows.size() == 1) {
    row_json(json, rows[0]);
  } else {
    json.begin_array("configs");
    for (const RetrievalRow& row : rows) {
      json.begin_object().field("config", row.config);
      row_json(json, row);
      json.end_object();
    }
    json.end_array();
  }
  json.end_object().print();
}

void print_table(const std::vector<RetrievalRow>& rows, bool searched) {
  int width = 6;
  for (const RetrievalRow& row : rows) width = std::max(width, static_cast<int>(row.config.size()));
  std::string line = format("%-*s", width, "config");
  for (const Metric& metric : rows[0].score.metrics)
    line += format("  %*s", std::max(6, static_cast<int>(metric.title().size())), metric.title().c_str());
  print_out(line + (searched ? "  ms/query\n" : "\n"));
  for (const RetrievalRow& row : rows) {
    line = format("%-*s", width, row.config.c_str());
    for (std::size_t i = 0; i < row.score.mean.size(); ++i) {
      line += format("  %*.4f", std::max(6, static_cast<int>(row.score.metrics[i].title().size())), row.score.mean[i]);
    }
    if (searched) line += format("  %8.1f", 1000 * row.search_seconds / static_cast<double>(std::max<std::size_t>(row.queries, 1)));
    print_out(line + "\n");
  }
}

void print_rows(CliSession& session, const std::vector<RetrievalRow>& rows, const RetrievalTask& task, bool searched) {
  session.progress().clear();
  if (session.options.json) {
    print_json(rows);
    return;
  }
  print_table(rows, searched);
  std::string note = format("%zu queries", rows[0].queries);
  if (task.unanswerable > 0) note += format(" (%zu more have nothing relevant and are left out)", task.unanswerable);
  if (searched) {
    note += format("; %zu documents, %zu passages", rows[0].documents, rows[0].chunks);
    double index = 0, embed = 0;
    for (const RetrievalRow& row : rows) {
      index += row.index_seconds;
      embed += row.embed_seconds;
    }
    if (index + embed > 0) note += format("; indexing %.1f s, embedding %.1f s", index, embed);
  }
  session.note(note);
}

int tune(CliSession& session, const Options& options, const RetrievalTask& task, const EvalRetrievalOptions& eval,
         const RetrievalData* data) {
  if (eval.configs.size() != 1 || eval.configs[0].mode != SearchMode::kFused || eval.configs[0].rerank > 0) {
    throw Error(ErrorCode::kInvalidArgument, "--tune is about fused search alone: leave --mode, --rerank and lists of poolings out");
  }
  if (eval.fusion != FusionKind::kConvex) throw Error(ErrorCode::kInvalidArgument, "rrf has no weight to tune");
  if (eval.metrics.size() > 1)
    throw Error(ErrorCode::kInvalidArgument, "--tune follows one metric, not " + std::to_string(eval.metrics.size()));
  const RetrievalConfig& config = eval.configs[0];
  Store& store = session.store(data != nullptr || options.save ? Store::Mode::kReadWrite : Store::Mode::kRead);
  const ModelParts parts = parts_for(session, store, eval);
  EmbedOverrides embed = eval.corpus.embed;
  if (config.pooling) embed.pooling = config.pooling;
  if (data != nullptr) {
    EvalCorpusOptions corpus = eval.corpus;
    corpus.collection = config.collection;
    corpus.embed = embed;
    corpus.on_progress = eval.on_progress;
    corpus.stop = eval.stop;
    index_corpus(store, &parts, *data, corpus);
  }
  const auto snapshot = store.snapshot(config.collection);
  const auto embedder = open_collection_embedder(parts, snapshot->info(), embed);
  if (embedder == nullptr) throw Error(ErrorCode::kInvalidArgument, "collection \"" + config.collection + "\" has no vectors to weigh");
  TuneOptions wanted;
  if (!eval.metrics.empty()) wanted.metric = eval.metrics[0];
  wanted.weight_in_use = eval.dense_weight.value_or(default_dense_weight(snapshot->info()));
  wanted.k = eval.k;
  wanted.on_progress = [&](std::size_t done, std::size_t total) { eval.on_progress("search", done, total); };
  wanted.stop = eval.stop;
  const TuneResult result = tune_fusion(*snapshot, *embedder, task, wanted);
  session.progress().clear();
  const bool saved = options.save && result.recommended;
  if (saved) keep_dense_weight(store, snapshot->info(), result.best_weight);
  if (session.options.json) {
    print_tune_json(result, saved);
  } else {
    print_tune(result, config.collection, options.save);
  }
  return 0;
}

void limit_queries(RetrievalTask& task, std::size_t limit) {
  if (limit == 0 || task.queries.size() <= limit) return;
  task.queries.erase(std::next(task.queries.begin(), static_cast<std::ptrdiff_t>(limit)), task.queries.end());
  std::erase_if(task.judgements, [&](const auto& entry) { return !task.queries.contains(entry.first); });
  std::erase_if(task.answers, [&](const auto& entry) { return !task.queries.contains(entry.first); });
}

int run(CliSession& session, const Options& options, bool collection_given) {
  if (options.data.empty() == options.questions.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                "name what to measure with: --data (a corpus of its own), or --questions FILE and -c COLLECTION");
  }
  if (options.save && !options.tune) throw Error(ErrorCode::kInvalidArgument, "--save is for --tune");
  const bool own_corpus = !options.data.empty();
  RetrievalData data;
  if (own_corpus) {
    data = open_retrieval_data(options.data, options.split);
  } else {
    if (!options.poolings.empty())
      throw Error(ErrorCode::kInvalidArgument, "a collection has the pooling it was indexed with: --pooling is for --data");
    const RankedUnit unit = options.relevant == "passage" ? RankedUnit::kPassage : RankedUnit::kDocument;
    const auto questions = read_questions(options.questions);
    const Store::Mode mode = options.save ? Store::Mode::kReadWrite : Store::Mode::kRead;
    data.task = question_task(questions, *session.store(mode).snapshot(session.options.collection), unit);
  }
  RetrievalTask& task = data.task;
  limit_queries(task, options.limit);
  EvalRetrievalOptions eval;
  for (const std::string& name : options.metrics) eval.metrics.push_back(parse_metric(name));
  const std::string collection =
      own_corpus && !collection_given ? collection_for(options.data, options.embed.embedder_model) : session.options.collection;
  eval.configs = retrieval_grid(collection, options.poolings, options.modes, options.reranks);
  eval.k = options.k;
  eval.fusion = parse_fusion(options.fusion);
  if (options.dense_weight >= 0) eval.dense_weight = options.dense_weight;
  eval.rerank_weight = options.rerank_weight;
  eval.corpus.embed = options.embed.overrides(session.options.embedder.url);
  if (!options.run_out.empty()) eval.run_out = options.run_out;
  eval.on_progress = [&session](std::string_view stage, std::size_t done, std::size_t total) {
    session.progress().update(stage, done, total, stage == "embed" ? "passages" : stage == "index" ? "documents" : "queries");
  };
  eval.stop = session.stop();
  if (!task.note.empty()) session.note(task.note);
  if (options.tune) return tune(session, options, task, eval, own_corpus ? &data : nullptr);

  std::vector<RetrievalRow> rows;
  if (!options.from_runs.empty()) {
    for (const std::string& path : options.from_runs) rows.push_back(eval_run(task, path, eval.metrics));
  } else {
    ModelParts parts;
    const bool needs_model =
        std::ranges::any_of(eval.configs, [](const RetrievalConfig& c) { return c.mode != SearchMode::kBm25 || c.rerank > 0; });
    Store& store = session.store(own_corpus ? Store::Mode::kReadWrite : Store::Mode::kRead);
    if (needs_model || session.has_model()) parts = parts_for(session, store, eval);
    rows = eval_retrieval(store, needs_model ? &parts : nullptr, task, own_corpus ? &data : nullptr, eval);
  }
  print_rows(session, rows, task, options.from_runs.empty());
  return 0;
}

}  // namespace

void add_eval_retrieval_command(CLI::App& eval, CliSession& session, CommandTable& table) {
  CLI::App* command = eval.add_subcommand("retrieval", "Ranking quality on a BEIR folder, a SQuAD file or own questions, or of TREC runs");
  auto options = std::make_shared<Options>();
  command->add_option("--data", options->data, "BEIR folder (corpus.jsonl, queries.jsonl, qrels/*.tsv) or SQuAD file: a corpus of its own");
  command->add_option("--questions", options->questions,
                      "Questions about collection -c: JSON lines with answers (and gold passages), NQ-open, FlashRAG, DPR or SQuAD");
  command->add_option("--relevant", options->relevant, "With gold passages: what is ranked and counts, document or passage")
      ->check(CLI::IsMember({"document", "passage"}))
      ->capture_default_str();
  command->add_option("--split", options->split, "qrels/SPLIT.tsv [test]");
  command->add_option("--limit", options->limit, "Only the first so many queries by id; 0: all")->capture_default_str();
  command
      ->add_option("--metrics", options->metrics,
                   "With commas: ndcg@K, recall@K, p@K, success@K, rr, rr@K, map [ndcg@10,recall@100,map,rr,p@5,rr@10,success@5]")
      ->delimiter(',');
  command->add_option("--mode", options->modes, "With commas: fused, dense, bm25")->delimiter(',')->capture_default_str();
  command->add_option("-k", options->k, "Documents per query")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--rerank", options->reranks, "With commas: the best so many are ordered again by question likelihood; 0: not")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--rerank-weight", options->rerank_weight, "Weight of the likelihood beside the first score")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--fusion", options->fusion, "convex or rrf")->capture_default_str();
  command->add_option("--dense-weight", options->dense_weight, "Weight of meaning in convex fusion [the collection's]")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--run", options->run_out, "Writes what was found as a TREC run; with several configs one file each");
  command->add_option("--from-run", options->from_runs, "Scores these TREC runs, with commas, instead of searching")->delimiter(',');
  command->add_flag("--tune", options->tune, "Finds the dense weight that is best on these questions, with the interval of its gain");
  command->add_flag("--save", options->save, "With --tune: keeps the weight in the collection, if the gain is certain");
  add_embed_flags(*command, options->embed);
  add_embedder_flags(*command, options->embed);
  command->remove_option(command->get_option("--pooling"));
  command->add_option("--pooling", options->poolings, "With commas: mean, weighted-mean, last, echo, routing [what suits the model]")
      ->delimiter(',');
  session.add_options(*command, CliSession::kEngine | CliSession::kCollection);
  command->footer(
      "A corpus of --data is kept as collection eval-NAME, so that a second run only searches; with several poolings as "
      "eval-NAME-POOLING.\n"
      "Examples:\n"
      "  gritstone eval retrieval --data scifact --mode bm25\n"
      "  gritstone eval retrieval --data scifact -m model.gguf --mode bm25,dense,fused --rerank 0,20 --json\n"
      "  gritstone eval retrieval --questions questions.jsonl -c notes -m model.gguf --relevant passage --metrics ndcg@10,success@5\n"
      "  gritstone eval retrieval --questions questions.jsonl -c notes -m model.gguf --tune --save\n"
      "  gritstone eval retrieval --data scifact --from-run fused.trec,other.trec");
  table.add(command, [&session, options, command] { return run(session, *options, command->count("--collection") > 0); });
}

}  // namespace gritstone

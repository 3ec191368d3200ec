#include "pipelines/eval_qa.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/utf8.h"
#include "pipelines/answer_scoring.h"
#include "pipelines/certificate.h"
#include "pipelines/eval_latency.h"
#include "pipelines/qa_metrics.h"
#include "pipelines/qa_run_file.h"

namespace gritstone {
namespace {

// A gold span counts as found if half of it is there: passages are cut at sentences, gold spans often run over one.
bool overlaps(const QaQuestion& question, std::string_view path, std::size_t start, std::size_t end) {
  return std::ranges::any_of(question.gold, [&](const GoldSpan& gold) {
    const bool same = path == gold.document || (path.size() > gold.document.size() && path.ends_with(gold.document) &&
                                                path[path.size() - gold.document.size() - 1] == '/');
    const std::size_t from = std::max(start, gold.start), to = std::min(end, gold.end);
    return same && to > from && 2 * (to - from) >= gold.end - gold.start;
  });
}

bool holds_gold(const QaQuestion& question, std::string_view path, std::size_t start, std::size_t end, std::string_view text) {
  if (!question.gold.empty()) return overlaps(question, path, start, end);
  return score_answer(text, question.answers).contained && !question.answers.empty();
}

constexpr std::size_t kKeptCharacters = 300;

std::string first_characters(const std::string& text, std::size_t count) {
  std::size_t at = 0;
  // A character ends where the next byte continues none.
  for (; at < text.size(); ++at) {
    const bool begins = (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
    if (begins && count-- == 0) break;
  }
  return at == text.size() ? text : text.substr(0, at) + "\u2026";
}

QaRow named_row(const QaQuestion& question, const QaConfig& config) {
  QaRow row;
  row.config = config.name();
  row.id = question.id;
  row.kind = question.kind;
  row.question = question.question;
  row.gold = question.answers;
  row.answerable = !question.answers.empty();
  return row;
}

QaRow row_of(const QaQuestion& question, const QaConfig& config, const AnswerResult& result) {
  QaRow row = named_row(question, config);
  row.answer = result.plain;
  row.abstained = result.abstained;
  const AnswerScore score = score_answer(result.abstained ? std::string_view() : result.plain, question.answers, question.against);
  row.exact_match = score.exact_match;
  row.f1 = score.f1;
  row.contained = row.answerable ? score.contained : result.abstained;
  row.hit =
      std::ranges::any_of(result.passages, [&](const AnswerPassage& p) { return holds_gold(question, p.path, p.start, p.end, p.text); });
  row.citations = result.citations.size();
  row.citations_ok = static_cast<std::size_t>(std::ranges::count_if(result.citations, [&](const Citation& c) {
    // A quoted sentence may be shorter than half of a gold span and still lie in it.
    const bool inside = std::ranges::any_of(
        question.gold, [&](const GoldSpan& gold) { return c.start >= gold.start && c.end <= gold.end && c.path.ends_with(gold.document); });
    return inside || holds_gold(question, c.path, c.start, c.end, c.text);
  }));
  row.prompt_tokens = result.usage.prompt_tokens;
  row.reused_tokens = result.reuse.reused_tokens;
  row.recomputed_tokens = result.reuse.recomputed_tokens;
  row.completion_tokens = result.usage.completion_tokens;
  row.ttft_ms = result.timings.ttft_ms;
  row.total_ms = result.timings.total_ms;
  row.stages = stage_times(result.timings);
  for (const AnswerPassage& p : result.passages) {
    row.passages.push_back({p.path, p.start, p.end, p.score, first_characters(sanitize_utf8(p.text), kKeptCharacters)});
  }
  if (result.budget) {
    row.budget_ms = result.budget->budget_ms;
    row.budget_fits = result.budget->fits;
    row.expected_ms = result.budget->expected_ms;
    row.cautious_ms = result.budget->cautious_ms;
    row.chosen = quality_entry_name(result.budget->chosen);
  }
  for (const Citation& c : result.citations) row.cited.push_back({c.n, c.path, c.start, c.end});
  const std::vector<TokenId> ids = result.trace ? result.trace->ids : std::vector<TokenId>{};
  row.fingerprint = to_hex(xxh128({reinterpret_cast<const std::uint8_t*>(ids.data()), ids.size() * sizeof(TokenId)}));
  return row;
}

// Errors of the machine, of a service or of the user's wish to stop would meet every other question too.
bool ends_run(ErrorCode code) {
  return code == ErrorCode::kCancelled || code == ErrorCode::kDevice || code == ErrorCode::kStorage || code == ErrorCode::kUnavailable;
}

QaRunHeader header_of(std::span<const QaSource> sources, const ModelParts& model, const EvalQaOptions& options) {
  QaRunHeader header;
  header.model = model.hash();
  header.numerics = model.engine().numerics_id();
  header.tokens = options.answer.max_new_tokens;
  header.abstain = options.answer.abstain;
  header.kl = options.kl;
  header.search = options.search;
  for (const QaSource& source : sources) {
    const CollectionInfo info = source.snapshot->info();
    header.sources.push_back({source.label, info.name, source.snapshot->generation(), source.dense_weight});
    header.about.emplace_back(
        source.label.empty() ? "collection" : "baseline " + source.label,
        info.name + ": " + std::to_string(info.documents) + " documents, " + std::to_string(info.chunks) + " passages");
  }
  header.about.insert(header.about.begin(), {"model", model.config->name});
  header.about.insert(header.about.end(), options.about.begin(), options.about.end());
  // What earlier versions could ask: one collection, found in one mode, which no config's name says.
  const bool fused = std::ranges::all_of(options.grid, [](const QaConfig& c) { return c.retrieval.name().empty(); });
  header.could_be_version_2 = sources.size() == 1 && fused;
  return header;
}

// Asks one question under every config that has no row yet.
class Asker {
 public:
  Asker(std::span<const QaSource> sources, const ModelParts& model, const EvalQaOptions& options) : model_(model), options_(options) {
    for (const QaConfig& config : options.grid) {
      const auto source = std::ranges::find(sources, config.retrieval.source, &QaSource::label);
      if (source == sources.end()) {
        throw Error(ErrorCode::kInvalidArgument, "no collection is given for \"" + config.retrieval.source + "\"");
      }
      sources_.push_back(&*source);
      caches_.push_back(options.new_cache ? options.new_cache() : nullptr);
    }
  }

  void ask(const QaQuestion& question, const std::set<std::string>& known, const std::function<void(QaRow)>& done) {
    std::map<std::size_t, Reference> references;
    for (std::size_t c = 0; c < options_.grid.size(); ++c) {
      if (known.contains(options_.grid[c].name())) continue;
      QaRow row;
      try {
        row = ask_as(question, c, references);
      } catch (const Error& error) {
        if (ends_run(error.code())) throw;
        row = named_row(question, options_.grid[c]);
        row.error = error.what();
      }
      done(std::move(row));
    }
  }

 private:
  struct Reference {
    std::optional<AnswerTrace> trace;
    std::vector<float> logits;
  };

  QaRow ask_as(const QaQuestion& question, std::size_t c, std::map<std::size_t, Reference>& references) const {
    const std::size_t r = reference_of(options_.grid, c);
    const AnswerResult result = answer_as(question, c);
    QaRow row = row_of(question, options_.grid[c], result);
    if (options_.grid[c].ttft_budget > 0) return row;  // its policy differs from question to question: no divergence of one
    if (options_.kl && r != c) {
      // A reference that has its row from an earlier run is asked again: its logits were not kept.
      if (!references.contains(r)) references[r] = score_reference(answer_as(question, r), r);
      compare(row, references[r], c);
    } else if (options_.kl) {
      references[r] = score_reference(result, c);
    }
    return row;
  }

  AnswerOptions options_of(std::size_t c) const {
    const QaConfig& config = options_.grid[c];
    AnswerOptions ask = options_.answer;
    ask.search.mode = config.retrieval.mode;
    ask.search.dense_weight = sources_[c]->dense_weight;
    ask.search.k = config.k;
    ask.reuse = config.reuse;
    ask.span_type = config.span_type;
    ask.layout = config.layout;
    ask.passage_tokens = config.passage_tokens;
    ask.keep_trace = true;
    if (caches_[c] != nullptr) ask.cache = caches_[c].get();
    if (config.ttft_budget > 0) {
      ask.budget = options_.start_budget(sources_[c]->snapshot->info(), config.layout);
      ask.budget->ms = config.ttft_budget;
    }
    return ask;
  }

  AnswerResult answer_as(const QaQuestion& question, std::size_t c) const {
    return answer(*sources_[c]->snapshot, sources_[c]->embedder, model_, question.question, options_of(c));
  }

  std::vector<float> score(const AnswerTrace& trace, std::size_t c) const {
    return score_trace(model_, sources_[c]->snapshot->info(), trace, options_.grid[c].reuse, options_of(c));
  }

  Reference score_reference(const AnswerResult& result, std::size_t c) const {
    if (!result.trace || result.trace->ids.empty()) return {};
    return {result.trace, score(*result.trace, c)};
  }

  void compare(QaRow& row, const Reference& reference, std::size_t c) const {
    if (!reference.trace) return;
    TokenAgreement agreement;
    agreement.add(reference.logits, score(*reference.trace, c), model_.config->vocab);
    row.kl.assign(agreement.kl.begin(), agreement.kl.end());
    row.same_top = agreement.same_top;
  }

  std::vector<const QaSource*> sources_;            // of every config
  std::vector<std::unique_ptr<SpanCache>> caches_;  // likewise; null: the options'
  const ModelParts& model_;
  const EvalQaOptions& options_;
};

}  // namespace

std::string QaRetrieval::name() const {
  if (!source.empty()) return source + ":" + std::string(search_mode_name(mode));
  return mode == SearchMode::kFused ? "" : std::string(search_mode_name(mode));
}

std::string QaConfig::name() const {
  std::string name = retrieval.name();
  if (!name.empty()) name += "+";
  if (ttft_budget > 0) {
    char budget[32];
    std::snprintf(budget, sizeof budget, "ttft=%g", ttft_budget);
    name += budget;
  } else {
    name += reuse_name(reuse);
    if (reuse.approximate()) name += "/" + std::string(kv_type_name(span_type));
  }
  name += "/k" + std::to_string(k);
  if (passage_tokens > 0) name.append("p").append(std::to_string(passage_tokens));
  return name.append("/").append(layout_name(layout));
}

std::vector<QaConfig> qa_grid(const QaGridOptions& options) {
  std::vector<QaConfig> grid;
  std::set<std::string> names;
  const auto add = [&](const QaConfig& config) {
    if (names.insert(config.name()).second) grid.push_back(config);
  };
  for (const QaRetrieval& retrieval : options.retrievals) {
    for (const ReusePolicy& policy : options.reuse) {
      for (const KvType type : options.types) {
        for (const std::size_t k : options.ks) {
          for (const std::size_t tokens : options.passage_tokens) {
            for (const PromptLayout layout : options.layouts) add({policy, type, k, layout, retrieval, tokens, 0});
          }
        }
      }
    }
    for (const double budget : options.ttft_budgets) {
      const std::size_t k = *std::ranges::max_element(options.ks);
      for (const PromptLayout layout : options.layouts) add({parse_reuse("auto"), options.types[0], k, layout, retrieval, 0, budget});
    }
  }
  return grid;
}

std::vector<QaRow> eval_qa(std::span<const QaSource> sources, const ModelParts& model, const EvalQaOptions& options) {
  if (options.questions.empty()) throw Error(ErrorCode::kInvalidArgument, "there are no questions");
  if (options.grid.empty()) throw Error(ErrorCode::kInvalidArgument, "there is nothing to compare");
  Asker asker(sources, model, options);
  std::unique_ptr<QaRunFile> file;
  std::map<std::string, std::map<std::string, QaRow>> known;  // by question, by config
  if (!options.run.empty()) {
    file = std::make_unique<QaRunFile>(options.run, header_of(sources, model, options));
    for (const QaRow& row : file->rows()) known[row.id].insert_or_assign(row.config, row);
  }
  std::vector<QaRow> rows;
  for (std::size_t i = 0; i < options.questions.size(); ++i) {
    if (options.on_progress) options.on_progress(i, options.questions.size());
    if (options.answer.cancel.stop_requested()) throw Error(ErrorCode::kCancelled, "cancelled; run again to go on");
    const QaQuestion& question = options.questions[i];
    std::set<std::string> have;
    for (const QaConfig& config : options.grid) {
      const auto it = known[question.id].find(config.name());
      if (it == known[question.id].end() || !it->second.error.empty()) continue;
      have.insert(config.name());
      rows.push_back(it->second);
    }
    asker.ask(question, have, [&](QaRow row) {
      if (file) file->append(row);
      rows.push_back(std::move(row));
    });
  }
  return rows;
}

}  // namespace gritstone

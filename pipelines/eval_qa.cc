#include "pipelines/eval_qa.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "pipelines/answer_scoring.h"
#include "pipelines/certificate.h"
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

QaRow row_of(const QaQuestion& question, const QaConfig& config, const AnswerResult& result) {
  QaRow row;
  row.config = config.name();
  row.id = question.id;
  row.kind = question.kind;
  row.answerable = !question.answers.empty();
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
  const std::vector<TokenId> ids = result.trace ? result.trace->ids : std::vector<TokenId>{};
  row.fingerprint = to_hex(xxh128({reinterpret_cast<const std::uint8_t*>(ids.data()), ids.size() * sizeof(TokenId)}));
  return row;
}

std::string header_of(const Snapshot& snapshot, const ModelParts& model, const EvalQaOptions& options) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
  json.StartObject();
  json.Key("gritstone_qa_run");
  json.Uint(2);
  json.Key("model");
  json.String(model.hash());
  json.Key("numerics");
  json.String(model.engine().numerics_id());
  json.Key("collection");
  json.String(snapshot.info().name);
  json.Key("generation");
  json.Uint64(snapshot.generation());
  json.Key("mode");
  std::string mode(search_mode_name(options.answer.search.mode));
  if (options.answer.search.rerank > 0) mode += "+rerank" + std::to_string(options.answer.search.rerank);
  json.String(mode);
  json.Key("tokens");
  json.Uint64(options.answer.max_new_tokens);
  json.Key("abstain");
  json.Bool(options.answer.abstain);
  json.Key("kl");
  json.Bool(options.kl);
  json.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

// Asks one question under every config that has no row yet.
class Asker {
 public:
  Asker(const Snapshot& snapshot, const Embedder* embedder, const ModelParts& model, const EvalQaOptions& options)
      : snapshot_(snapshot), embedder_(embedder), model_(model), options_(options) {}

  void ask(const QaQuestion& question, const std::set<std::string>& known, const std::function<void(QaRow)>& done) {
    std::map<std::size_t, Reference> references;
    for (std::size_t c = 0; c < options_.grid.size(); ++c) {
      const QaConfig& config = options_.grid[c];
      if (known.contains(config.name())) continue;
      const std::size_t r = reference_of(options_.grid, c);
      const AnswerResult result = answer_as(question, config);
      QaRow row = row_of(question, config, result);
      if (options_.kl && r != c) {
        // A reference that has its row from an earlier run is asked again: its logits were not kept.
        if (!references.contains(r)) references[r] = score_reference(answer_as(question, options_.grid[r]), options_.grid[r]);
        compare(row, references[r], config);
      } else if (options_.kl) {
        references[r] = score_reference(result, config);
      }
      done(std::move(row));
    }
  }

 private:
  struct Reference {
    std::optional<AnswerTrace> trace;
    std::vector<float> logits;
  };

  AnswerOptions options_of(const QaConfig& config) const {
    AnswerOptions ask = options_.answer;
    ask.search.k = config.k;
    ask.reuse = config.reuse;
    ask.span_type = config.span_type;
    ask.layout = config.layout;
    ask.keep_trace = true;
    return ask;
  }

  AnswerResult answer_as(const QaQuestion& question, const QaConfig& config) const {
    return answer(snapshot_, embedder_, model_, question.question, options_of(config));
  }

  Reference score_reference(const AnswerResult& result, const QaConfig& config) const {
    if (!result.trace || result.trace->ids.empty()) return {};
    return {result.trace, score_trace(model_, snapshot_.info(), *result.trace, config.reuse, options_of(config))};
  }

  void compare(QaRow& row, const Reference& reference, const QaConfig& config) const {
    if (!reference.trace) return;
    TokenAgreement agreement;
    agreement.add(reference.logits, score_trace(model_, snapshot_.info(), *reference.trace, config.reuse, options_of(config)),
                  model_.config->vocab);
    row.kl.assign(agreement.kl.begin(), agreement.kl.end());
    row.same_top = agreement.same_top;
  }

  const Snapshot& snapshot_;
  const Embedder* embedder_;
  const ModelParts& model_;
  const EvalQaOptions& options_;
};

}  // namespace

std::string QaConfig::name() const {
  std::string name = reuse_name(reuse);
  if (reuse.kind != ReuseKind::kNone && reuse.kind != ReuseKind::kExact) name += "/" + std::string(kv_type_name(span_type));
  return name + "/k" + std::to_string(k) + "/" + std::string(layout_name(layout));
}

std::vector<QaConfig> qa_grid(const std::vector<ReusePolicy>& reuse, const std::vector<KvType>& types, const std::vector<std::size_t>& ks,
                              const std::vector<PromptLayout>& layouts) {
  std::vector<QaConfig> grid;
  std::set<std::string> names;
  for (const ReusePolicy& policy : reuse) {
    for (const KvType type : types) {
      for (const std::size_t k : ks) {
        for (const PromptLayout layout : layouts) {
          const QaConfig config{policy, type, k, layout};
          if (names.insert(config.name()).second) grid.push_back(config);
        }
      }
    }
  }
  return grid;
}

std::size_t reference_of(const std::vector<QaConfig>& grid, std::size_t config) {
  for (const ReuseKind kind : {ReuseKind::kNone, ReuseKind::kExact}) {
    for (std::size_t i = 0; i < grid.size(); ++i) {
      if (grid[i].reuse.kind == kind && grid[i].k == grid[config].k && grid[i].layout == grid[config].layout) return i;
    }
  }
  return config;
}

std::vector<QaRow> eval_qa(const Snapshot& snapshot, const Embedder* embedder, const ModelParts& model, const EvalQaOptions& options) {
  if (options.questions.empty()) throw Error(ErrorCode::kInvalidArgument, "there are no questions");
  if (options.grid.empty()) throw Error(ErrorCode::kInvalidArgument, "there is nothing to compare");
  std::unique_ptr<QaRunFile> file;
  std::map<std::string, std::map<std::string, QaRow>> known;  // by question, by config
  if (!options.run.empty()) {
    file = std::make_unique<QaRunFile>(options.run, header_of(snapshot, model, options));
    for (const QaRow& row : file->rows()) known[row.id].insert_or_assign(row.config, row);
  }
  Asker asker(snapshot, embedder, model, options);
  std::vector<QaRow> rows;
  for (std::size_t i = 0; i < options.questions.size(); ++i) {
    if (options.on_progress) options.on_progress(i, options.questions.size());
    if (options.answer.cancel.stop_requested()) throw Error(ErrorCode::kCancelled, "cancelled; run again to go on");
    const QaQuestion& question = options.questions[i];
    std::set<std::string> have;
    for (const QaConfig& config : options.grid) {
      const auto it = known[question.id].find(config.name());
      if (it == known[question.id].end()) continue;
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

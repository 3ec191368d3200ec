#include "pipelines/answer_budget.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>
#include <vector>

#include "pipelines/span_naming.h"

namespace gritstone {
namespace {

class Chooser {
 public:
  explicit Chooser(const BudgetSituation& s) : s_(s), budget_(*s.options.budget) {
    if (s.options.cache != nullptr) naming_.emplace(s.model, s.options.cache->store_id(), s.collection, s.options.span_type);
  }

  std::optional<BudgetChoice> choose() {
    const auto start = std::chrono::steady_clock::now();
    for (const QualityEntry& entry : budget_.table.entries) {
      if (may_use(entry)) add(entry);
    }
    if (options_.empty()) return std::nullopt;
    const double gone = s_.retrieval_ms + std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    const double cautious = budget_.costs->cautious(), typical = budget_.costs->typical();
    const StartChoice choice = choose_start(options_, (budget_.ms - gone) / 1e3 / cautious);
    const QualityEntry& entry = *options_[choice.option].entry;
    const double seconds = options_[choice.option].seconds;
    BudgetChoice out{std::move(prompts_[shape_of_[choice.option]]), policy_of(entry), {}, seconds};
    list_left_out(out.prompt);
    BudgetReport& report = out.report;
    report.budget_ms = budget_.ms;
    report.chosen = entry;
    report.chosen.reuse = out.policy;
    report.passages = out.prompt.kept.size();
    report.retrieval_ms = s_.retrieval_ms;
    report.expected_ms = gone + 1e3 * seconds * typical;
    report.cautious_ms = gone + 1e3 * seconds * cautious;
    report.fits = choice.fits;
    report.own_table = budget_.table.own;
    report.considered = options_.size();
    return out;
  }

 private:
  bool may_use(const QualityEntry& entry) const {
    const ReusePolicy& asked = s_.options.reuse;
    if (entry.k > s_.options.search.k || entry.reuse.grit() || asked.grit()) return false;
    if (budget_.table.own && entry.layout != s_.options.layout) return false;
    // Longer passages than the caller wants.
    const std::size_t longest = s_.options.passage_tokens;
    if (longest > 0 && (entry.passage_tokens == 0 || entry.passage_tokens > longest)) return false;
    if (entry.reuse.kind == ReuseKind::kExact) return true;
    if (s_.options.cache == nullptr) return false;
    // Unasked, an approximation is used where it was measured: `auto` resolved to it by a certificate, or the collection has its own table.
    if (!budget_.table.own) return asked.composes();
    return entry.span_type == s_.options.span_type && (asked.automatic || reuse_name(entry.reuse) == reuse_name(asked));
  }

  ReusePolicy policy_of(const QualityEntry& entry) const {
    const ReusePolicy& asked = s_.options.reuse;
    if (asked.kind == ReuseKind::kNone) return {ReuseKind::kNone};
    return !budget_.table.own && entry.reuse.composes() ? asked : entry.reuse;
  }

  // The hits that this mode and k put before the model without a budget; none if this retrieval cannot say.
  std::vector<std::size_t> selected_by(const QualityEntry& entry) const {
    const auto is_best = [this](const SearchHit& hit) {
      return std::ranges::find(s_.best_by_words, hit.chunk.id) != s_.best_by_words.end();
    };
    std::vector<std::size_t> selected;
    if (entry.mode == s_.mode) {
      for (std::size_t i = 0; i < s_.hits.size(); ++i) {
        if (i < entry.k || is_best(s_.hits[i])) selected.push_back(i);
      }
    } else if (entry.mode == SearchMode::kBm25 && entry.k <= s_.best_by_words.size()) {
      for (const ChunkId chunk : s_.best_by_words.first(entry.k)) {
        const auto hit = std::ranges::find(s_.hits, chunk, [](const SearchHit& h) { return h.chunk.id; });
        selected.push_back(static_cast<std::size_t>(hit - s_.hits.begin()));
      }
    }
    return selected;
  }

  void add(const QualityEntry& entry) {
    Shape shape{selected_by(entry), entry.passage_tokens};
    if (shape.first.empty()) return;
    const auto at = static_cast<std::size_t>(std::ranges::find(shapes_, shape) - shapes_.begin());
    if (at == shapes_.size()) {
      prompts_.push_back(s_.prompt_of(shape.first, shape.second));
      shapes_.push_back(std::move(shape));
    }
    const Prompt& prompt = prompts_[at].prompt;
    if (prompt.tokens.empty()) return;
    PromptWork work;
    SpanRates rates;
    if (naming_) {
      work = prompt_work(prompt, *naming_, *s_.options.cache, policy_of(entry));
      rates = s_.options.cache->costs().rates();
    } else {
      work.prompt_tokens = work.live_tokens = prompt.tokens.size();
    }
    options_.push_back({&entry, budget_.costs->start_seconds(work, rates, s_.model.config->layers)});
    shape_of_.push_back(at);
  }

  void list_left_out(AnswerPrompt& prompt) const {
    char reason[64];
    std::snprintf(reason, sizeof reason, "not within %.0f ms to the first token", budget_.ms);
    for (std::size_t i = 0; i < s_.hits.size(); ++i) {
      const ChunkRecord& chunk = s_.hits[i].chunk;
      const auto known = [&](const DroppedPassage& d) { return d.path == chunk.path && d.start == chunk.span.start; };
      if (std::ranges::find(prompt.kept, i) != prompt.kept.end() || std::ranges::any_of(prompt.dropped, known)) continue;
      prompt.dropped.push_back(dropped_passage(chunk, chunk.tokens, reason));
    }
  }

  using Shape = std::pair<std::vector<std::size_t>, std::size_t>;  // hits, tokens of each at most

  const BudgetSituation& s_;
  const StartBudget& budget_;
  std::optional<SpanNaming> naming_;
  std::vector<Shape> shapes_;
  std::vector<AnswerPrompt> prompts_;  // by shape
  std::vector<StartOption> options_;
  std::vector<std::size_t> shape_of_;  // by option
};

}  // namespace

std::optional<BudgetChoice> choose_within_budget(const BudgetSituation& situation) { return Chooser(situation).choose(); }

}  // namespace gritstone

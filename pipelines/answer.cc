#include "pipelines/answer.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "pipelines/answer_budget.h"
#include "pipelines/answer_prompt.h"
#include "pipelines/embed_stage.h"
#include "pipelines/source_spans.h"
#include "pipelines/span_reranker.h"
#include "retriever/grit_format.h"
#include "retriever/passage_text.h"

namespace gritstone {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }

constexpr std::size_t kBm25Always = 2;  // BM25's best so many are always offered to the model

class Answerer {
 public:
  Answerer(const Snapshot& snapshot, const Embedder* embedder, const ModelParts& model, std::string_view question,
           const AnswerOptions& options)
      : snapshot_(snapshot),
        embedder_(embedder),
        model_(model),
        question_(question),
        options_(options),
        format_(*model.tokenizer, choose_prompt_style(*model.config, *model.tokenizer)),
        start_(Clock::now()),
        policy_(options.reuse) {
    const bool continues = options.layout == PromptLayout::kQueryFirst && format_.style() == PromptStyle::kGrit && options.embedding &&
                           embedding_makes_spans(*options.embedding, *model.config);
    if (continues) question_prefix_ = question_prefix();
  }

  AnswerResult run() {
    if (question_.find_first_not_of(" \t\r\n") == std::string_view::npos) {
      throw Error(ErrorCode::kInvalidArgument, "the question is empty");
    }
    result_.generation = snapshot_.generation();
    retrieve();
    if (!abstains_before_generating()) {
      build_prompt();
      if (!asked_.prompt.tokens.empty()) {
        const GenerateResult generated = generate_answer();
        if (options_.keep_trace) result_.trace = AnswerTrace{asked_.prompt, prompt_chunks(), generated.ids, generated.text};
        cite_answer(generated.text);
      }
    }
    result_.timings.total_ms = milliseconds_since(start_);
    return std::move(result_);
  }

 private:
  void retrieve() {
    const Clock::time_point start = Clock::now();
    SearchOptions search_options = options_.search;
    search_options.cancel = options_.cancel;
    search_options.placement = model_.placement;
    if (options_.budget) limit_search(search_options);
    keep_what_search_computes(search_options);
    std::optional<SpanReranker> reranker;
    if (search_options.rerank > 0 && search_options.reranker == nullptr) {
      SpanCache* cache = options_.reuse.kind == ReuseKind::kNone ? nullptr : options_.cache;
      search_options.reranker = &reranker.emplace(model_, cache, snapshot_.info(), options_.span_type, options_.deadline);
    }
    SearchResult found = search(snapshot_, embedder_, question_, search_options);
    if (search_options.mode != SearchMode::kBm25) add_bm25_best(found);
    mode_ = search_options.mode;
    AnswerTimings& t = result_.timings;
    t.embed_ms = found.timings.embed_ms;
    t.bm25_ms = found.timings.bm25_ms;
    t.vector_ms = found.timings.vector_ms;
    t.fuse_ms = found.timings.fuse_ms;
    t.rerank_ms = found.timings.rerank_ms;
    result_.damaged_chunks = found.damaged_chunks;
    if (options_.on_retrieved) options_.on_retrieved(found);
    hits_ = std::move(found.hits);
    t.retrieve_ms = milliseconds_since(start);
    if (options_.budget) options_.budget->costs->saw_search(mode_, (t.retrieve_ms - t.embed_ms - t.rerank_ms) / 1e3);
  }

  void limit_search(SearchOptions& search_options) const {
    const CollectionInfo& info = snapshot_.info();
    const std::size_t chunk = info.chunks == 0 ? 0 : static_cast<std::size_t>(info.tokens / info.chunks);
    // What stands around the question where it is embedded is of the order of its own length.
    const std::size_t query = 2 * model_.tokenizer->count(question_);
    fit_retrieval(search_options, *options_.budget, query, chunk, info.embedded_chunks == info.chunks);
  }

  // The tokens in front of the question where it is embedded.
  std::vector<TokenId> question_prefix() const {
    const std::string& given = options_.search.instruction;
    EmbedTokens pass =
        format_for_embedding(*model_.tokenizer, *options_.embedding, TextRole::kQuery,
                             given.empty() ? options_.embedding->query_instruction : given, question_, model_.config->context);
    pass.tokens.resize(pass.text_first);
    return pass.tokens;
  }

  // A pass that embeds is also a pass of the model, so its states are kept where the policy can use them: of passages that had no vector
  // yet, and of the question.
  void keep_what_search_computes(SearchOptions& search_options) {
    std::optional<SpanNaming> naming;
    if (options_.cache != nullptr && options_.embedding && options_.reuse.kind != ReuseKind::kNone) {
      naming.emplace(model_, options_.cache->store_id(), snapshot_.info(), options_.span_type);
      const bool causal = embedding_makes_spans(*options_.embedding, *model_.config);
      const bool bidirectional = embedding_is_grits(*options_.embedding, *model_.config);
      const bool of_passages = options_.reuse.composes() ? causal : options_.reuse.grit() && bidirectional;
      if (of_passages) search_options.keep_spans = options_.span_type;
      search_options.whole_spans = options_.reuse.grit();
      if (options_.reuse.grit() && bidirectional) search_options.keep_query_span = options_.span_type;
      if (!question_prefix_.empty()) search_options.keep_query_span = naming->prefix_type();
    }
    search_options.on_embedded = [this, naming](const ChunkRecord& chunk, std::span<const float> row, std::shared_ptr<const KvSpan> span,
                                                std::span<const TokenId> ids) {
      if (options_.on_embedded) options_.on_embedded(chunk.id, row);
      if (!naming || !span) return;
      keep(options_.reuse.grit() ? naming->embedding_pass(ids) : naming->chunk(ids), std::move(span), ids, chunk.id);
    };
    search_options.on_query_embedded = [this, naming](std::shared_ptr<const KvSpan> span, std::span<const TokenId> ids) {
      if (naming) keep(question_prefix_.empty() ? naming->embedding_pass(ids) : naming->prefix(nullptr, ids), std::move(span), ids, {});
    };
  }

  // chunk: its owner; absent: of this process alone.
  void keep(const SpanKey& key, std::shared_ptr<const KvSpan> span, std::span<const TokenId> ids, std::optional<ChunkId> chunk) {
    SpanPut put;
    put.key = key;
    put.ids.assign(ids.begin(), ids.end());
    put.span = std::move(span);
    put.chunk = chunk;
    put.on_disk = chunk.has_value();
    put.cost_seconds = 1e-3 * static_cast<double>(ids.size());  // a guess: the pass was shared with other texts
    options_.cache->put(std::move(put), snapshot_.info().name);
  }

  // Names, numbers and codes are what vectors miss, so BM25's best are never crowded out.
  void add_bm25_best(SearchResult& found) {
    SearchOptions words = options_.search;
    words.mode = SearchMode::kBm25;
    words.k = kBm25Always;
    words.rerank = 0;
    words.cancel = options_.cancel;
    SearchResult best = search(snapshot_, nullptr, question_, words);
    found.timings.bm25_ms += best.timings.total_ms;
    for (SearchHit& hit : best.hits) {
      best_by_words_.push_back(hit.chunk.id);
      const bool known = std::any_of(found.hits.begin(), found.hits.end(), [&](const SearchHit& h) { return h.chunk.id == hit.chunk.id; });
      if (known) continue;
      hit.rank = found.hits.size() + 1;
      hit.score = 0;  // of fused search, which did not rank it
      found.hits.push_back(std::move(hit));
    }
  }

  bool abstains_before_generating() {
    if (hits_.empty()) return abstain("nothing was found");
    if (!options_.abstain) return false;
    std::vector<std::string> texts;
    AbstentionSignals signals;
    for (const SearchHit& hit : hits_) {
      texts.push_back(hit.chunk.title + "\n" + passage_text(hit.chunk.heading_path, hit.chunk.text));
      if (hit.dense) signals.cosine = std::max(signals.cosine, static_cast<double>(*hit.dense));
    }
    signals.coverage = question_coverage(question_, texts, snapshot_.info().language);
    if (!lacks_support(signals, options_.abstention)) return false;
    return abstain("no passage is close enough to the question");
  }

  bool abstain(std::string reason) {
    result_.abstained = true;
    result_.abstain_reason = std::move(reason);
    result_.answer = PromptFormat::refusal();
    result_.plain = result_.answer;
    for (const SearchHit& hit : hits_) add_passage(hit);
    if (options_.on_text) options_.on_text(result_.answer);
    return true;
  }

  void add_passage(const SearchHit& hit) {
    const ChunkRecord& c = hit.chunk;
    result_.passages.push_back({result_.passages.size() + 1, c.path, c.heading_path, c.span.start, c.span.end, c.text, hit.score});
  }

  // Sets asked_, and policy_ where a budget chooses it. Without a passage there is nothing to answer from.
  void build_prompt() {
    const Clock::time_point start = Clock::now();
    if (!options_.budget || !choose_prompt()) {
      std::vector<std::size_t> all(hits_.size());
      std::iota(all.begin(), all.end(), std::size_t{0});
      asked_ = prompt_of(all, options_.passage_tokens);
    }
    result_.dropped = std::move(asked_.dropped);
    if (asked_.kept.empty()) {
      abstain("no passage fits into the context");
      return;
    }
    for (std::size_t i = 0; i < asked_.kept.size(); ++i) {
      add_passage(hits_[asked_.kept[i]]);
      const ByteSpan window = asked_.windows[i];
      std::string& text = result_.passages.back().text;
      text = text.substr(window.start, window.end - window.start);
    }
    result_.timings.prompt_ms = milliseconds_since(start);
  }

  AnswerPrompt prompt_of(std::span<const std::size_t> selected, std::size_t passage_tokens) const {
    AnswerPromptRequest request;
    request.question = question_;
    request.layout = options_.layout;
    request.instruction = options_.instruction;
    request.question_prefix = question_prefix_;
    request.language = snapshot_.info().language;
    request.context = model_.config->context;
    request.max_new_tokens = options_.max_new_tokens;
    request.passage_tokens = passage_tokens;
    request.required = {best_by_words_.begin(), best_by_words_.end()};
    if (policy_.grit()) request.only_one = reuse_name(policy_) + " puts one passage before the model";
    return build_answer_prompt(format_, *model_.tokenizer, hits_, selected, request);
  }

  bool choose_prompt() {
    const BudgetSituation situation{
        model_,
        snapshot_.info(),
        options_,
        hits_,
        mode_,
        best_by_words_,
        milliseconds_since(start_),
        [this](std::span<const std::size_t> selected, std::size_t tokens) { return prompt_of(selected, tokens); }};
    std::optional<BudgetChoice> choice = choose_within_budget(situation);
    if (!choice) return false;
    asked_ = std::move(choice->prompt);
    policy_ = choice->policy;
    estimated_seconds_ = choice->estimated_seconds;
    chosen_at_ = Clock::now();
    result_.budget = choice->report;
    if (options_.on_budget) options_.on_budget(*result_.budget);
    return true;
  }

  GenerateResult generate_answer() {
    const Prompt& prompt = asked_.prompt;
    const Clock::time_point composing = Clock::now();
    GenerateRequest request;
    std::optional<PromptComposer> composer;
    ComposedPrompt composed;
    if (options_.cache != nullptr && policy_.kind != ReuseKind::kNone) {
      composer.emplace(model_, *options_.cache, snapshot_.info(), ComposerOptions{policy_, options_.span_type, options_.cancel});
      composed = composer->compose(prompt, prompt_chunks());
      request.prompt = std::move(composed.tokens);
      request.context = std::move(composed.context);
      request.runs = std::move(composed.runs);
      request.save = composed.save;
      report_reuse(composed);
    } else {
      request.prompt = prompt.tokens;
    }
    result_.timings.compose_ms = milliseconds_since(composing);
    const std::size_t live_tokens = request.prompt.size();
    if (options_.drafts) request.draft_source = prompt.tokens;
    request.max_new_tokens = options_.max_new_tokens;
    request.sampling = options_.sampling;
    request.stop_ids = model_.tokenizer->stop_ids();
    request.stop_strings = format_.stop_strings();
    request.stop_strings.insert(request.stop_strings.end(), options_.stop_strings.begin(), options_.stop_strings.end());
    request.on_text = options_.on_text;
    request.priority = options_.priority;
    request.deadline = options_.deadline;
    request.cancel = options_.cancel;
    const double before = milliseconds_since(start_);
    GenerateResult generated = generate(model_.engine(), *model_.tokenizer, std::move(request));
    AnswerTimings& t = result_.timings;
    t.ttft_ms = before + generated.timings.ttft_ms;
    t.queue_ms = generated.timings.queue_ms;
    t.load_ms = generated.timings.load_ms;
    t.prefill_ms = generated.timings.prefill_ms;
    t.decode_ms = generated.timings.decode_ms;
    t.tpot_ms = generated.timings.tpot_ms;
    if (result_.budget) see_start();
    if (composer) options_.cache->costs().saw_ram(composed.bytes, t.load_ms / 1e3);
    if (composer) composer->keep(composed, generated.saved, t.prefill_ms / 1e3 / static_cast<double>(live_tokens));
    result_.usage = generated.usage;
    result_.drafts = generated.drafts;
    // Of a chunk that was just computed nothing was cached.
    if (composer) result_.usage.cached_tokens = composed.reused_tokens;
    result_.finish_reason = generated.finish_reason;
    return generated;
  }

  void see_start() {
    BudgetReport& report = *result_.budget;
    report.actual_ms = result_.timings.ttft_ms;
    report.kept = report.actual_ms <= report.budget_ms;
    const double chosen_ms = std::chrono::duration<double, std::milli>(chosen_at_ - start_).count();
    options_.budget->costs->saw_start(estimated_seconds_, (report.actual_ms - chosen_ms) / 1e3);
  }

  std::vector<PassageOwner> prompt_chunks() const {
    std::vector<PassageOwner> owners;
    for (std::size_t i = 0; i < asked_.kept.size(); ++i) owners.push_back(is_whole(i) ? PassageOwner(chunk_of(i).id) : std::nullopt);
    return owners;
  }

  // Of passage i of the prompt.
  const ChunkRecord& chunk_of(std::size_t i) const { return hits_[asked_.kept[i]].chunk; }
  bool is_whole(std::size_t i) const { return asked_.windows[i] == ByteSpan{0, chunk_of(i).text.size()}; }

  void report_reuse(const ComposedPrompt& composed) {
    ReuseReport& report = result_.reuse;
    report.policy = reuse_name(policy_);
    report.reused_tokens = composed.reused_tokens;
    report.recomputed_tokens = composed.recomputed_tokens;
    report.bytes = composed.bytes;
    report.passages = composed.passages;
  }

  void cite_answer(const std::string& text) {
    const Clock::time_point start = Clock::now();
    std::vector<GroundPassage> ground;
    SourceSpans spans(snapshot_);
    const auto source_span = [&](std::size_t passage, std::size_t from, std::size_t to) {
      const std::size_t offset = asked_.windows[passage].start;
      return spans.locate(chunk_of(passage), offset + from, offset + to);
    };
    for (std::size_t i = 0; i < asked_.kept.size(); ++i) {
      const ChunkRecord& c = chunk_of(i);
      AnswerPassage& shown = result_.passages[i];
      ground.push_back({c.path, c.heading_path, std::nullopt, shown.text});
      if (is_whole(i)) continue;
      const ByteSpan span = source_span(i, 0, shown.text.size());
      shown.start = span.start;
      shown.end = span.end;
    }
    GroundedAnswer grounded = cite(text, question_, ground, snapshot_.info().language, source_span);
    result_.answer = std::move(grounded.text);
    result_.plain = std::move(grounded.plain);
    const bool supported =
        std::any_of(grounded.sentences.begin(), grounded.sentences.end(), [](const AnswerSentence& s) { return s.supported; });
    if (is_refusal(result_.plain)) {
      // A refusal quotes nothing, whatever words it shares with a passage.
      result_.abstained = true;
      result_.abstain_reason = "the model found no answer in the passages";
      result_.answer = result_.plain;
    } else if (!supported && options_.abstain) {
      result_.abstained = true;
      result_.abstain_reason = "no passage supports what the model wrote";
      result_.withheld = std::exchange(result_.plain, std::string(PromptFormat::refusal()));
      result_.answer = result_.plain;
    } else {
      result_.citations = std::move(grounded.citations);
      result_.sentences = std::move(grounded.sentences);
    }
    result_.timings.cite_ms = milliseconds_since(start);
  }

  const Snapshot& snapshot_;
  const Embedder* embedder_;
  const ModelParts& model_;
  std::string_view question_;
  const AnswerOptions& options_;
  PromptFormat format_;
  Clock::time_point start_;
  std::vector<TokenId> question_prefix_;  // of a query-first prompt that continues the question's embedding; else empty
  std::vector<SearchHit> hits_;
  std::vector<ChunkId> best_by_words_;  // always offered to the model
  SearchMode mode_ = SearchMode::kFused;
  ReusePolicy policy_;
  AnswerPrompt asked_;
  double estimated_seconds_ = 0;  // from chosen_at_ to the first token, where a budget chose
  Clock::time_point chosen_at_;
  AnswerResult result_;
};

}  // namespace

AnswerResult answer(const Snapshot& snapshot, const Embedder* embedder, const ModelParts& model, std::string_view question,
                    const AnswerOptions& options) {
  return Answerer(snapshot, embedder, model, question, options).run();
}

}  // namespace gritstone

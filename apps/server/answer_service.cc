#include "apps/server/answer_service.h"

#include <algorithm>

#include "apps/answer_json.h"
#include "apps/server/api_error.h"
#include "apps/server/file_ids.h"
#include "apps/server/filter_json.h"
#include "base/error.h"
#include "index/filter.h"
#include "pipelines/certificate.h"
#include "pipelines/embed_on_demand.h"
#include "pipelines/embed_stage.h"
#include "pipelines/embedder_setup.h"

namespace gritstone {
namespace {

// Questions that follow each other keep the disk for themselves.
constexpr std::chrono::milliseconds kQuiet{500};
// And when none came for so long, the model is free for checking certificates.
constexpr std::chrono::milliseconds kIdle{2000};
constexpr std::size_t kMaxPassages = 50;
constexpr std::int64_t kMaxPassageTokens = 1 << 20;
constexpr std::int64_t kMaxReranked = 50;

// As the command line writes them ("path:manuals/* type:md author=Ada"), or OpenAI's objects.
Filter read_filters(const RequestFields& fields) {
  const rapidjson::Value* value = fields.find("filters");
  if (value == nullptr) return {};
  if (!value->IsString()) return parse_filters(fields, "filters");
  try {
    return parse_filter({value->GetString(), value->GetStringLength()});
  } catch (const Error& error) {
    fields.fail("filters", error.what());
  }
}

// Code points, as OpenAI counts characters.
std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string file_name(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

}  // namespace

AnswerService::AnswerService(ServerContext& context) : context_(context), thread_([this](const std::stop_token& stop) { work(stop); }) {}

AnswerService::~AnswerService() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

AnswerCall AnswerService::read_call(const RequestFields& fields, const std::string& collection, const char* passages_key,
                                    const char* top_k_key) const {
  AnswerCall call;
  call.collection = collection;
  AnswerOptions& options = call.options;
  const GenerationParams params = read_generation_params(fields, context_, options.sampling, top_k_key);
  options.max_new_tokens = params.max_tokens.value_or(std::min(options.max_new_tokens, context_.options().limits.max_tokens));
  options.sampling = params.sampling;
  options.stop_strings = params.stops;
  call.stream = params.stream;
  call.include_usage = params.include_usage;
  options.search.k =
      static_cast<std::size_t>(fields.integer(passages_key, 1, kMaxPassages).value_or(static_cast<std::int64_t>(options.search.k)));
  options.search.mode = parse_search_mode(fields.word("mode", {"fused", "dense", "bm25"}).value_or("fused"));
  options.search.rerank = static_cast<std::size_t>(fields.integer("rerank", 0, kMaxReranked).value_or(0));
  options.search.filter = read_filters(fields);
  options.layout = fields.word("layout", {"docs-first", "query-first"}).value_or("docs-first") == "query-first" ? PromptLayout::kQueryFirst
                                                                                                                : PromptLayout::kDocsFirst;
  options.abstain = fields.boolean("abstain").value_or(true);
  options.instruction = fields.string("instruction", 16384).value_or("");
  options.passage_tokens = static_cast<std::size_t>(fields.integer("passage_tokens", 0, kMaxPassageTokens).value_or(0));
  call.ttft_budget_ms = fields.number("ttft_budget_ms", 1, 3'600'000);
  call.reuse = fields.string("reuse", 64).value_or(context_.options().reuse);
  try {
    parse_reuse(call.reuse);
  } catch (const Error& error) {
    fields.fail("reuse", error.what());
  }
  return call;
}

std::unique_ptr<OpenCollection> AnswerService::open(AnswerCall& call) const {
  auto open = std::make_unique<OpenCollection>(context_.open_collection(call.collection));
  call.info = open->info();
  if (call.options.search.mode == SearchMode::kDense && !open->embedder) {
    throw ApiError::bad_request("the collection has no vectors yet, so mode dense finds nothing", "mode");
  }
  call.options.search.dense_weight = default_dense_weight(call.info);
  return open;
}

AnswerResult AnswerService::run(const OpenCollection& open, AnswerCall& call, const Request& request, ReplyWriter& reply) {
  const ModelParts& parts = context_.model();
  AnswerOptions& options = call.options;
  options.cache = &context_.spans();
  options.span_type = kv_type_from_name(context_.options().span_type).value_or(KvType::kInt8);
  const ResolvedReuse reuse = resolve_reuse(parse_reuse(call.reuse), context_.store(), call.info, parts, options.span_type, options.layout);
  options.reuse = reuse.policy;
  if (call.ttft_budget_ms) {
    // The time it waited for a slot is gone, and a budget of nothing still gets the fastest answer.
    const double left = std::max(1.0, *call.ttft_budget_ms - call.wait_ms);
    options.budget = StartBudget{left, &context_.start_costs(), quality_table_for(context_.store(), call.info, parts, options.layout)};
  }
  if (open.embedder != nullptr && open.embedder->model_options() != nullptr) options.embedding = *open.embedder->model_options();
  if (context_.writable()) {
    options.on_embedded = [&call](ChunkId chunk, std::span<const float> row) { call.embedded[chunk].assign(row.begin(), row.end()); };
  }
  options.deadline = request.deadline;
  options.cancel = request.cancel;
  const Embedder* embedder = options.search.mode == SearchMode::kBm25 ? nullptr : open.embedder.get();
  AnswerResult result = answer(*open.snapshot, embedder, parts, call.question, options);
  if (reuse.certificate) {
    result.reuse.certificate = reuse.certificate->summary();
    if (context_.writable()) watch_.answered(call.collection, call.question, options, result, *reuse.certificate);
  }

  Metrics& metrics = context_.metrics();
  const AnswerTimings& t = result.timings;
  for (const auto& [stage, ms] : {std::pair{Stage::kEmbed, t.embed_ms},
                                  {Stage::kBm25, t.bm25_ms},
                                  {Stage::kVector, t.vector_ms},
                                  {Stage::kFuse, t.fuse_ms},
                                  {Stage::kPrompt, t.prompt_ms},
                                  {Stage::kCompose, t.compose_ms},
                                  {Stage::kLoad, t.load_ms},
                                  {Stage::kPrefill, t.prefill_ms},
                                  {Stage::kDecode, t.decode_ms},
                                  {Stage::kCite, t.cite_ms}}) {
    metrics.observe_stage(stage, ms);
  }
  if (t.ttft_ms > 0) metrics.observe_ttft(t.ttft_ms);
  if (t.tpot_ms) metrics.observe_tpot(*t.tpot_ms);
  ++metrics.answers;
  if (result.abstained) ++metrics.abstentions;
  reply.count_tokens(result.usage.prompt_tokens, result.usage.cached_tokens, result.usage.completion_tokens);
  return result;
}

void AnswerService::keep(AnswerCall call) {
  if (!context_.writable()) return;
  {
    const std::lock_guard lock(mutex_);
    dirty_ = true;
    call.options = {};  // its callbacks point into the request
    if (!call.embedded.empty()) kept_.push_back(std::move(call));
  }
  changed_.notify_all();
}

void AnswerService::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (true) {
    if (watch_.waiting() == 0) {
      changed_.wait(lock, stop, [&] { return dirty_; });
    } else if (!changed_.wait_for(lock, stop, kIdle, [&] { return dirty_; }) && !stop.stop_requested()) {
      lock.unlock();
      check_certificate(stop);
      lock.lock();
      continue;
    }
    if (!dirty_) return;
    dirty_ = false;
    // A question that comes meanwhile sets it again, and the wait begins anew.
    if (changed_.wait_for(lock, stop, kQuiet, [&] { return dirty_; })) continue;
    std::vector<AnswerCall> calls = std::exchange(kept_, {});
    lock.unlock();
    const bool stored = store_kept(std::move(calls));
    lock.lock();
    if (stop.stop_requested()) return;
    // Another process is writing: the spans wait in memory.
    if (!stored) dirty_ = true;
  }
}

void AnswerService::check_certificate(const std::stop_token& stop) {
  Metrics& metrics = context_.metrics();
  if (metrics.slots_busy > 0 || metrics.queue_length > 0) return;
  std::shared_ptr<const Embedder> embedder;
  const auto open = [&](const CollectionInfo& info) -> const Embedder* {
    embedder = context_.open_collection(info.name).embedder;
    return embedder.get();
  };
  try {
    const auto check = watch_.check_one(context_.store(), context_.model(), open, stop);
    if (!check) return;
    ++metrics.certificate_checks;
    if (check->changed) ++metrics.certificate_changes;
    if (check->revoked) ++metrics.certificate_revocations;
  } catch (const std::exception&) {
    // Another writer, a collection that is gone, the end of the server: one sample less.
  }
}

bool AnswerService::store_kept(std::vector<AnswerCall> calls) {
  // What cannot be stored is computed again when it is needed: the cache is worse for it, no answer is wrong.
  bool stored = true;
  try {
    stored = context_.spans().flush();
    for (const AnswerCall& call : calls) keep_embeddings(context_.store(), call.info, call.embedded);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kLocked && error.code() != ErrorCode::kNotFound) ++context_.metrics().keep_failures;
  } catch (const std::exception&) {
    ++context_.metrics().keep_failures;
  }
  return stored;
}

void AnswerService::write_answer(JsonOutput& json, const OpenCollection& open, const AnswerCall& call, const AnswerResult& result) const {
  json.field("collection", call.collection);
  write_answer_members(json, call.question, result, [&](const std::string& path) { return file_id(*open.snapshot, path); });
  json.field("wait_ms", call.wait_ms);
}

void AnswerService::write_annotations(JsonOutput& json, const OpenCollection& open, const AnswerResult& result) const {
  json.begin_array("annotations");
  for (const Citation& citation : result.citations) {
    const std::size_t at = result.answer.find(std::string("[").append(std::to_string(citation.n)).append("]"));
    json.begin_object().field("type", "file_citation");
    json.field("index", characters(std::string_view(result.answer).substr(0, at)));
    json.field("file_id", file_id(*open.snapshot, citation.path)).field("filename", file_name(citation.path));
    json.field("n", citation.n).field("heading", citation.heading).field("start", citation.start).field("end", citation.end);
    json.field("text", citation.text).field("strength", citation.strength).end_object();
  }
  json.end_array();
}

}  // namespace gritstone

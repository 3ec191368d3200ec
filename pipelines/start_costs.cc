#include "pipelines/start_costs.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <system_error>

#include "base/checked_file.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "pipelines/random_tokens.h"
#include "pipelines/statistics.h"

namespace gritstone {
namespace {

constexpr std::size_t kRatios = 64;
constexpr std::size_t kFewRatios = 20;  // of fewer the 95th percentile says nothing
constexpr double kFirstMargin = 1.25;
constexpr std::size_t kProbes[] = {8, 32, 128, 384};
constexpr std::size_t kBehind = 32;  // tokens of the pass that is timed behind a context
constexpr std::uint64_t kMaxFileBytes = 1 << 16;

double timed(Engine& engine, Job job, JobOutput* output = nullptr) {
  job.wants.logits = Wants::Logits::kLast;
  const auto start = std::chrono::steady_clock::now();
  JobOutput result = engine.run(std::move(job));
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const double loading = result.load_seconds;
  if (output != nullptr) *output = std::move(result);
  return elapsed.count() - loading;
}

}  // namespace

StartCosts::StartCosts(std::filesystem::path file) : file_(std::move(file)) {
  if (file_.empty()) return;
  try {
    load();
  } catch (const Error&) {
    // Not there, or damaged: measured anew.
    passes_.clear();
    ratios_.clear();
  }
}

StartCosts::~StartCosts() { save(); }

void StartCosts::load() {
  const rapidjson::Document json = parse_json(read_file(file_, kMaxFileBytes), file_.string());
  const auto damaged = [] { return Error(ErrorCode::kDamagedData, "not a file of measurements"); };
  const auto numbers = [&](const char* key) {
    const auto member = json.IsObject() ? json.FindMember(key) : rapidjson::Value::ConstMemberIterator{};
    if (!json.IsObject() || member == json.MemberEnd() || !member->value.IsArray()) throw damaged();
    std::vector<double> values;
    for (const rapidjson::Value& value : member->value.GetArray()) {
      if (!value.IsNumber() || !(value.GetDouble() >= 0)) throw damaged();
      values.push_back(value.GetDouble());
    }
    return values;
  };
  const std::vector<double> tokens = numbers("pass_tokens"), seconds = numbers("pass_seconds"), search = numbers("search_seconds");
  if (tokens.size() != seconds.size() || search.size() != search_.size() || !std::ranges::is_sorted(tokens)) throw damaged();
  ratios_ = numbers("ratios");
  for (std::size_t i = 0; i < tokens.size(); ++i) passes_.emplace_back(tokens[i], seconds[i]);
  std::ranges::copy(search, search_.begin());
  context_seconds_ = json_number(json, "context_seconds").value_or(0);
}

void StartCosts::save() noexcept {
  try {
    const std::lock_guard lock(mutex_);
    if (!changed_ || file_.empty()) return;
    rapidjson::StringBuffer buffer;
    rapidjson::Writer<rapidjson::StringBuffer> json(buffer);
    const auto array = [&json](const char* key, const auto& values, const auto& of) {
      json.Key(key);
      json.StartArray();
      for (const auto& value : values) json.Double(of(value));
      json.EndArray();
    };
    const auto itself = [](double value) { return value; };
    json.StartObject();
    array("pass_tokens", passes_, [](const auto& pass) { return pass.first; });
    array("pass_seconds", passes_, [](const auto& pass) { return pass.second; });
    json.Key("context_seconds");
    json.Double(context_seconds_);
    array("ratios", ratios_, itself);
    array("search_seconds", search_, itself);
    json.EndObject();
    std::error_code ignored;  // writing says what is wrong
    std::filesystem::create_directories(file_.parent_path(), ignored);
    write_file_atomically(file_, as_bytes({buffer.GetString(), buffer.GetSize()}));
    changed_ = false;
  } catch (const std::exception&) {
    // A full or read-only disk costs the memory of it, nothing else.
  }
}

bool StartCosts::measured() const {
  const std::lock_guard lock(mutex_);
  return !passes_.empty();
}

void StartCosts::measure(Engine& engine, std::stop_token stop) {
  const ModelConfig& config = engine.config();
  std::vector<std::pair<double, double>> passes;
  const auto pass = [&](std::size_t tokens) {
    Job job;
    job.tokens = random_tokens(tokens, config.vocab, 1);
    job.cancel = stop;
    return job;
  };
  std::shared_ptr<const KvSpan> context;
  std::size_t longest = 0;
  timed(engine, pass(std::min(kProbes[0], config.context)));  // pages of the weights come in
  for (const std::size_t wanted : kProbes) {
    const std::size_t tokens = std::min(wanted, config.context / 2);
    if (tokens <= longest) break;
    longest = tokens;
    Job job = pass(tokens);
    job.wants.kv = {{0, tokens, engine.options().kv_type == KvType::kF32 ? KvType::kF32 : KvType::kBF16}};
    JobOutput output;
    double seconds = timed(engine, std::move(job), &output);
    // A short pass is soon over, so that one moment of other work would count double.
    if (tokens <= 128) seconds = std::min(seconds, timed(engine, pass(tokens)));
    passes.emplace_back(static_cast<double>(tokens), seconds);
    context = output.kv.at(0);
  }
  if (passes.empty()) throw Error(ErrorCode::kInvalidArgument, "the model's context is too short to time passes");
  const std::size_t behind = std::min(kBehind, config.context - longest);
  double deeper = 0;
  for (int round = 0; round < 2; ++round) {
    Job job = pass(behind);
    Segment segment;
    segment.span = context;
    segment.length = longest;
    job.context = {segment};
    const double seconds = timed(engine, std::move(job));
    deeper = round == 0 ? seconds : std::min(deeper, seconds);
  }
  const std::lock_guard lock(mutex_);
  passes_ = std::move(passes);
  context_seconds_ = std::max(0.0, deeper - curve(static_cast<double>(behind))) / static_cast<double>(behind * longest);
  ratios_.clear();
  changed_ = true;
}

// Between the passes that were timed; beyond the longest by its slope, and what attention adds to that.
double StartCosts::curve(double tokens) const {
  if (passes_.empty()) return 0;
  // A pass of a few tokens reads nearly all the weights that one of eight does.
  if (tokens <= passes_.front().first) return passes_.front().second;
  for (std::size_t i = 1; i < passes_.size(); ++i) {
    const auto [t0, s0] = passes_[i - 1];
    const auto [t1, s1] = passes_[i];
    if (tokens <= t1) return s0 + (s1 - s0) * (tokens - t0) / (t1 - t0);
  }
  const auto [last, seconds] = passes_.back();
  if (passes_.size() == 1) return seconds * tokens / last;
  const auto [before, less] = passes_[passes_.size() - 2];
  const double more = tokens - last;
  const double deeper = last + more / 2 - (last + before) / 2;
  return seconds + more * (seconds - less) / (last - before) + context_seconds_ * more * deeper;
}

double StartCosts::pass_seconds(std::size_t tokens, std::size_t context) const {
  const std::lock_guard lock(mutex_);
  if (tokens == 0) return 0;
  const auto live = static_cast<double>(tokens);
  return curve(live) + context_seconds_ * live * static_cast<double>(context);
}

double StartCosts::start_seconds(const PromptWork& work, const SpanRates& rates, std::size_t layers) const {
  double seconds = pass_seconds(work.live_tokens, work.context_tokens);
  if (work.missing_spans > 0) {
    // One job a span, in one batch: the attention of each is a short one's.
    seconds += pass_seconds(work.missing_tokens);
  }
  if (work.probe_tokens > 0) seconds += pass_seconds(work.probe_tokens) * std::min(1.0, 2.0 / static_cast<double>(layers));
  const auto ram = static_cast<double>(work.ram_bytes + work.disk_bytes), disk = static_cast<double>(work.disk_bytes);
  if (rates.ram_bytes_per_second > 0) seconds += ram / rates.ram_bytes_per_second;
  if (rates.disk_bytes_per_second > 0) seconds += disk / rates.disk_bytes_per_second;
  return seconds;
}

double StartCosts::typical() const {
  const std::lock_guard lock(mutex_);
  return ratios_.empty() ? 1 : quantile(ratios_, 0.5);
}

double StartCosts::cautious() const {
  const std::lock_guard lock(mutex_);
  if (ratios_.empty()) return kFirstMargin;
  const double high = quantile(ratios_, 0.95);
  return ratios_.size() < kFewRatios ? std::max(kFirstMargin, high) : high;
}

void StartCosts::saw_start(double estimated_seconds, double actual_seconds) {
  if (!(estimated_seconds > 0) || !(actual_seconds > 0)) return;
  const std::lock_guard lock(mutex_);
  if (ratios_.size() == kRatios) ratios_.erase(ratios_.begin());
  ratios_.push_back(actual_seconds / estimated_seconds);
  changed_ = true;
}

void StartCosts::saw_search(SearchMode mode, double seconds) {
  const std::lock_guard lock(mutex_);
  double& known = search_.at(static_cast<std::size_t>(mode));
  known = known > 0 ? 0.75 * known + 0.25 * seconds : seconds;
  changed_ = true;
}

double StartCosts::search_seconds(SearchMode mode) const {
  const std::lock_guard lock(mutex_);
  return search_.at(static_cast<std::size_t>(mode));
}

}  // namespace gritstone

#include "model/engine.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "model/active_job.h"
#include "model/backend.h"
#include "model/job_layout.h"
#include "model/step_collector.h"

namespace gritstone {
namespace {

// Between two turns of a bulk job that cannot be split, while others run.
constexpr std::chrono::seconds kBulkTurn{5};

// After so many steps that fitted, a batch that had been made smaller may grow again: what took the memory may be gone.
constexpr std::size_t kStepsUntilGrowth = 32;

class JobEngine : public Engine {
 public:
  JobEngine(const ModelFile& file, const EngineOptions& options, std::unique_ptr<Backend> backend)
      : config_(file.config()),
        options_(options),
        backend_(std::move(backend)),
        pages_((options.kv_slots + kKvBlock - 1) / kKvBlock),
        batch_tokens_(options.max_batch_tokens),
        numerics_id_(backend_->name() + (options.compute == ComputeMode::kF32 ? "-f32-" : "-fast-") +
                     std::string(kv_type_name(options.kv_type)) + "-v" + std::to_string(backend_->numerics_version())),
        thread_([this] { loop(); }) {}

  ~JobEngine() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  const ModelConfig& config() const noexcept override { return config_; }
  const EngineOptions& options() const noexcept override { return options_; }
  const std::string& numerics_id() const noexcept override { return numerics_id_; }
  std::size_t threads() const noexcept override { return backend_->threads(); }

  std::future<JobOutput> submit(Job job) override {
    JobLayout layout;
    try {
      layout = validate_job(job, config_);
      const std::size_t slots = pages_.total() * kKvBlock;
      if (layout.capacity > slots) {
        throw Error(ErrorCode::kMemoryBudget,
                    "the job needs " + std::to_string(layout.capacity) + " KV slots, the pool has " + std::to_string(slots));
      }
    } catch (...) {
      std::promise<JobOutput> failed;
      failed.set_exception(std::current_exception());
      return failed.get_future();
    }
    std::lock_guard lock(mutex_);
    auto active = std::make_unique<ActiveJob>(std::move(job), std::move(layout), next_order_++);
    std::future<JobOutput> future = active->promise.get_future();
    if (active->priority() < Priority::kBulk) pressing_ = true;
    arrived_.push_back(std::move(active));
    wake_.notify_one();
    return future;
  }

 private:
  using JobPtr = std::unique_ptr<ActiveJob>;

  void loop() {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        if (waiting_.empty() && running_.empty()) wake_.wait(lock, [&] { return stopping_ || !arrived_.empty(); });
        if (stopping_) break;
        std::move(arrived_.begin(), arrived_.end(), std::back_inserter(waiting_));
        arrived_.clear();
        pressing_ = false;
      }
      drop_ended(waiting_);
      drop_ended(running_);
      admit();
      if (!running_.empty()) step();
    }
    const auto cancelled = std::make_exception_ptr(Error(ErrorCode::kCancelled, "the engine is shutting down"));
    for (auto* jobs : {&arrived_, &waiting_, &running_}) {
      for (JobPtr& job : *jobs) job->promise.set_exception(cancelled);
    }
  }

  // Ends jobs that were cancelled or are too late.
  void drop_ended(std::vector<JobPtr>& jobs) {
    const auto now = Clock::now();
    std::erase_if(jobs, [&](JobPtr& job) {
      if (job->job.cancel.stop_requested()) {
        fail(*job, std::make_exception_ptr(Error(ErrorCode::kCancelled, "cancelled")));
        return true;
      }
      if (job->job.deadline && now >= *job->job.deadline) {
        fail(*job, std::make_exception_ptr(Error(ErrorCode::kDeadline, "deadline exceeded")));
        return true;
      }
      return false;
    });
  }

  void fail(ActiveJob& job, const std::exception_ptr& error) {
    give_back(job);
    job.promise.set_exception(error);
  }

  void give_back(ActiveJob& job) {
    backend_->release(job.kv);
    pages_.release(job.kv.pages);
  }

  // Moves waiting jobs to the running ones while pages last, by priority and arrival. The first that does not fit stops admission, so
  // that a large job is not starved by small ones.
  void admit() {
    std::stable_sort(waiting_.begin(), waiting_.end(), [](const JobPtr& a, const JobPtr& b) {
      return a->priority() != b->priority() ? a->priority() < b->priority() : a->order < b->order;
    });
    std::size_t taken = 0;
    for (JobPtr& job : waiting_) {
      const std::size_t pages = (job->layout.capacity + kKvBlock - 1) / kKvBlock;
      if (pages > pages_.free()) break;
      const bool leaves_room = pages_.free() - pages >= pages_.total() / 2;
      if (options_.max_bulk_tokens > 0 && job->priority() == Priority::kBulk && !leaves_room && !running_.empty()) break;
      ++taken;
      try {
        job->admit(pages_, *backend_);
      } catch (const Error&) {  // no room on the device for its spans
        fail(*job, std::current_exception());
        continue;
      }
      job->begin_round(config_);
      running_.push_back(std::move(job));
    }
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(taken));
  }

  // Tokens that bulk jobs may have in this step.
  std::size_t bulk_budget(bool beside_others, const ActiveJob& first) const {
    if (!beside_others) return options_.max_bulk_tokens;
    if (first.splittable()) return std::max<std::size_t>(options_.max_bulk_tokens / 4, 1);
    // It would hold the others up for as long as it takes, so it gets a turn now and then, whole.
    return Clock::now() - last_bulk_ >= kBulkTurn ? std::max(options_.max_bulk_tokens, first.remaining()) : 0;
  }

  // Picks tokens for the next step: by priority and arrival until the batch is full; prefills are cut, bidirectional jobs are not.
  std::vector<Slice> choose() {
    std::vector<ActiveJob*> order;
    for (JobPtr& job : running_) order.push_back(job.get());
    std::stable_sort(order.begin(), order.end(), [](const ActiveJob* a, const ActiveJob* b) {
      return a->priority() != b->priority() ? a->priority() < b->priority() : a->order < b->order;
    });
    std::vector<Slice> slices;
    std::size_t budget = batch_tokens_;
    bool bulk_began = false;
    for (ActiveJob* job : order) {
      // Bulk jobs come last in the order, so from the first of them on its own budget counts.
      if (options_.max_bulk_tokens > 0 && job->priority() == Priority::kBulk && !bulk_began) {
        bulk_began = true;
        budget = std::min(budget, bulk_budget(!slices.empty(), *job));
        if (budget == 0) break;
      }
      std::size_t count = job->remaining();
      if (count > budget) {
        if (job->splittable()) {
          count = budget;
        } else if (!slices.empty()) {
          continue;
        }
      }
      if (count == 0) continue;
      slices.push_back({job, count});
      budget -= std::min(budget, count);
      if (budget == 0) break;
    }
    // Rows that go through more layers first: then the rows of every layer are a prefix of the step.
    std::stable_sort(slices.begin(), slices.end(), [](const Slice& a, const Slice& b) {
      const JobLayout &x = a.job->layout, &y = b.job->layout;
      return x.depth != y.depth ? x.depth > y.depth : x.probe && !y.probe;
    });
    return slices;
  }

  void step() {
    const auto begin = Clock::now();
    std::vector<Slice> slices = choose();
    StepRows rows;
    for (Slice& slice : slices) {
      slice.row_begin = rows.size();
      slice.job->plan(rows, slice.count);
    }
    for (const Slice& slice : slices) {
      for (const std::size_t row : slice.job->logit_rows(slice.count)) rows.logit_rows.push_back(slice.row_begin + row);
      rows.logit_tops.resize(rows.logit_rows.size(), slice.job->job.wants.top_logits);
    }
    const auto is_bulk = [](const Slice& slice) { return slice.job->priority() == Priority::kBulk; };
    // Who comes does not wait for a step of bulk work: it is abandoned and done again. Not twice in a row, so that it ends.
    const bool only_bulk = options_.max_bulk_tokens > 0 && std::all_of(slices.begin(), slices.end(), is_bulk);
    StepCollector collector(config_, slices, only_bulk && !bulk_gave_way_ ? &pressing_ : nullptr);
    StepLogits logits;
    try {
      logits = backend_->forward(rows, collector);
    } catch (const Error& error) {
      recover(error, slices);
      return;
    }
    if (collector.abandoned()) {
      bulk_gave_way_ = true;
      return;
    }
    if (batch_tokens_ < options_.max_batch_tokens && ++fitting_steps_ % kStepsUntilGrowth == 0) {
      batch_tokens_ = std::min(2 * batch_tokens_, options_.max_batch_tokens);
    }
    if (std::any_of(slices.begin(), slices.end(), is_bulk)) {
      bulk_gave_way_ = false;
      last_bulk_ = Clock::now();
    }
    collector.deal_out(logits);
    const double loading = backend_->load_seconds();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    for (const Slice& slice : slices) {
      slice.job->done += slice.count;
      slice.job->compute_seconds += slice.job->loading ? seconds - loading : seconds;
      if (slice.job->loading) slice.job->load_seconds += loading;
      slice.job->loading = false;
      if (slice.job->remaining() == 0) finish_round(*slice.job);
    }
    drop_without_pages();
    std::this_thread::yield();  // who was just told of a token runs now, not after the next step
  }

  // After a step that the device could not do: with half the tokens it may fit; otherwise its jobs end with the error.
  void recover(const Error& error, const std::vector<Slice>& slices) {
    std::size_t rows = 0;
    bool splittable = false;
    for (const Slice& slice : slices) {
      rows += slice.count;
      splittable = splittable || (slice.job->splittable() && slice.count > 1) || slices.size() > 1;
    }
    if (error.code() == ErrorCode::kMemoryBudget && splittable && rows > 1) {
      batch_tokens_ = std::max<std::size_t>(std::min(batch_tokens_, rows) / 2, 1);
      fitting_steps_ = 0;
      return;
    }
    for (const Slice& slice : slices) fail(*slice.job, std::make_exception_ptr(error));
    drop_without_pages();
  }

  void drop_without_pages() {
    std::erase_if(running_, [](const JobPtr& job) { return job->kv.pages.empty(); });
  }

  // All tokens of the round are computed: hand them to `next`, and end the job if that does not continue it. Ended jobs have no pages.
  void finish_round(ActiveJob& job) {
    try {
      job.output.queued_seconds = job.queued_seconds;
      job.output.load_seconds = job.load_seconds;
      job.output.compute_seconds = job.compute_seconds;
      if (job.job.next) {
        std::optional<NextTokens> next = job.job.next(job.output);
        if (next) {
          check_continuation(*next);
          if (!job.continue_with(std::move(*next)))
            throw Error(ErrorCode::kInvalidArgument, "the continuation exceeds the job's reserved slots");
          job.begin_round(config_);
          return;
        }
      }
      for (const SlotRange& range : job.layout.saved) {
        job.output.kv.push_back(std::make_shared<const KvSpan>(backend_->save(job.kv, range.slot, range.count, range.type)));
      }
      give_back(job);
      job.promise.set_value(std::move(job.output));
    } catch (...) {
      fail(job, std::current_exception());
    }
  }

  void check_continuation(const NextTokens& next) const {
    for (const TokenId token : next.tokens) {
      if (token < 0 || static_cast<std::size_t>(token) >= config_.vocab) {
        throw Error(ErrorCode::kInvalidArgument, "continuation: token " + std::to_string(token) + " is outside the vocabulary");
      }
    }
    if (next.logits == Wants::Logits::kRows)
      throw Error(ErrorCode::kInvalidArgument, "continuation: logits of chosen rows are not supported");
    if (next.top_logits > kMaxTopLogits)
      throw Error(ErrorCode::kInvalidArgument, "continuation: the " + std::to_string(next.top_logits) +
                                                   " largest logits of a row; at most " + std::to_string(kMaxTopLogits));
  }

  const ModelConfig config_;
  const EngineOptions options_;
  const std::unique_ptr<Backend> backend_;
  KvPages pages_;
  std::size_t batch_tokens_;       // max_batch_tokens, or less for a while after the device ran out of memory
  std::size_t fitting_steps_ = 0;  // since then
  const std::string numerics_id_;
  Clock::time_point last_bulk_{};  // the last step with bulk work ended
  bool bulk_gave_way_ = false;     // since then a step of bulk work was abandoned

  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> pressing_{false};  // arrived_ has a job that is not bulk work
  bool stopping_ = false;
  std::uint64_t next_order_ = 0;
  std::vector<JobPtr> arrived_;  // guarded by mutex_; the rest belongs to the engine's thread
  std::vector<JobPtr> waiting_;
  std::vector<JobPtr> running_;
  std::thread thread_;  // last: starts when all else is ready
};

}  // namespace

std::unique_ptr<Engine> Engine::create(const ModelFile& file, const EngineOptions& options) {
  if (options.kv_slots == 0 || options.max_batch_tokens == 0)
    throw Error(ErrorCode::kInvalidArgument, "kv_slots and max_batch_tokens must be positive");
  if (options.kv_type == KvType::kInt4)
    throw Error(ErrorCode::kInvalidArgument, "int4 is a type of stored spans, not of the live KV cache");
  return std::make_unique<JobEngine>(file, options,
                                     options.device == Device::kCuda ? make_cuda_backend(file, options) : make_cpu_backend(file, options));
}

}  // namespace gritstone

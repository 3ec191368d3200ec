#include "pipelines/background_ingest.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "pipelines/embed_stage.h"
#include "pipelines/index_upload.h"

namespace gritstone {
namespace {

// A full disk stays full for a while: the pause doubles with every failure in a row.
std::chrono::milliseconds pause_after(std::chrono::milliseconds retry, std::size_t failures) {
  return retry * (std::size_t{1} << std::min<std::size_t>(failures - 1, 6));
}

// Errors that pass by themselves: another writer, a full disk that somebody empties, an embedder that is started again.
bool is_passing(ErrorCode code) {
  return code == ErrorCode::kLocked || code == ErrorCode::kStorage || code == ErrorCode::kMemoryBudget || code == ErrorCode::kUnavailable;
}

}  // namespace

BackgroundIngest::BackgroundIngest(Store& store, ModelParts model, BackgroundOptions options)
    : store_(store), model_(std::move(model)), options_(std::move(options)) {
  wakes_ = 1;  // what an earlier process left
  text_thread_ = std::jthread([this](const std::stop_token& stop) { run_text(stop); });
  vector_thread_ = std::jthread([this](const std::stop_token& stop) { run_vectors(stop); });
}

BackgroundIngest::~BackgroundIngest() {
  stop();
  text_thread_.join();
  vector_thread_.join();
}

void BackgroundIngest::wake() {
  const std::lock_guard guard(mutex_);
  ++wakes_;
  changed_.notify_all();
}

void BackgroundIngest::interrupt() {
  const std::lock_guard guard(mutex_);
  for (auto* pass : {&text_pass_, &pass_}) {
    if (*pass) (*pass)->request_stop();
  }
  ++wakes_;
  changed_.notify_all();
}

void BackgroundIngest::stop() {
  text_thread_.request_stop();
  vector_thread_.request_stop();
  const std::lock_guard guard(mutex_);
  for (auto* pass : {&text_pass_, &pass_}) {
    if (*pass) (*pass)->request_stop();
  }
  changed_.notify_all();
}

std::size_t BackgroundIngest::uncommitted(const CollectionInfo& info) const {
  const std::lock_guard guard(mutex_);
  if (embedding_ != info.id) return 0;
  const std::size_t pending = info.chunks - std::min(info.embedded_chunks, info.chunks);
  return pending - std::min(left_, pending);
}

bool BackgroundIngest::wait_idle(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [this] { return text_idle_ == wakes_ && vector_idle_ == wakes_; });
}

void BackgroundIngest::report(const std::string& problem) const {
  if (options_.on_problem) options_.on_problem(problem);
}

// Until the time is over, somebody wakes us, or the end.
void BackgroundIngest::sleep(const std::stop_token& stop, std::chrono::milliseconds time, std::uint64_t seen) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, stop, time, [&] { return wakes_ != seen; });
}

void BackgroundIngest::run_text(const std::stop_token& stop) {
  std::uint64_t seen = 0;
  std::size_t failures = 0;  // in a row
  while (!stop.stop_requested()) {
    {
      const std::lock_guard guard(mutex_);
      seen = wakes_;
      text_pass_.emplace();
      if (stop.stop_requested()) return;
    }
    const std::stop_token pass = text_pass_->get_token();
    try {
      const bool more = next_text(pass);
      failures = 0;
      if (more) continue;
    } catch (const std::exception& error) {
      if (stop.stop_requested()) return;
      ++failures;
      report(std::string("indexing uploads: ") + error.what());
    }
    if (failures == 0) {
      const std::lock_guard guard(mutex_);
      text_idle_ = seen;
      changed_.notify_all();
    }
    sleep(stop, failures > 0 ? pause_after(options_.retry, failures) : options_.idle_look, seen);
  }
}

bool BackgroundIngest::next_text(const std::stop_token& stop) {
  // Links that wait for vectors are in progress too.
  for (const FileLink& link : store_.pending_links()) {
    if (link.searchable) continue;
    if (stop.stop_requested()) return false;
    try {
      index_upload(store_, link, model_, options_.patience, stop);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled) return true;  // interrupted: look what is still wanted
      if (is_passing(error.code())) throw;
      report("file " + link.key + ": " + error.what());
      fail_link(store_, link, "server_error", "the file could not be indexed (" + std::string(error_name(error.code())) + ")",
                options_.patience, stop);
    } catch (const std::bad_alloc&) {
      fail_link(store_, link, "server_error", "the file could not be indexed (out of memory)", options_.patience, stop);
    }
    wake();  // the vector thread
    return true;
  }
  return false;
}

void BackgroundIngest::run_vectors(const std::stop_token& stop) {
  std::uint64_t seen = 0;
  std::size_t failures = 0;  // in a row
  while (!stop.stop_requested()) {
    {
      const std::lock_guard guard(mutex_);
      seen = wakes_;
      pass_.emplace();
      embedding_ = 0;
      if (stop.stop_requested()) return;
    }
    const std::stop_token pass = pass_->get_token();
    try {
      const bool more = next_vectors(pass);
      failures = 0;
      if (more) continue;
    } catch (const std::exception& error) {
      if (stop.stop_requested()) return;
      const auto* known = dynamic_cast<const Error*>(&error);
      if (known != nullptr && known->code() == ErrorCode::kCancelled) continue;  // interrupted, or the collection changed: look again
      ++failures;
      report(std::string("computing vectors: ") + error.what());
    }
    if (failures == 0) {
      const std::lock_guard guard(mutex_);
      vector_idle_ = seen;
      changed_.notify_all();
    }
    sleep(stop, failures > 0 ? pause_after(options_.retry, failures) : options_.idle_look, seen);
  }
}

bool BackgroundIngest::next_vectors(const std::stop_token& stop) {
  for (const CollectionInfo& collection : store_.collections()) {
    if (collection.embedded_chunks >= collection.chunks) continue;
    const auto known = given_up_.find(collection.id);
    if (known != given_up_.end() && known->second == collection.generation) continue;
    return embed(collection, stop);
  }
  return false;
}

bool BackgroundIngest::embed(const CollectionInfo& seen, const std::stop_token& stop) {
  try {
    CollectionInfo collection = seen;
    EmbedderManifest manifest;
    {
      // Whoever holds the lock for long is `index`, which computes these vectors itself.
      const auto job = store_.begin_write(std::chrono::milliseconds(200), stop);
      const auto now = store_.find_collection(collection.name);
      if (!now || now->embedded_chunks >= now->chunks) return true;
      manifest = resolve_manifest(model_, *now, {});
      if (!manifest_from_json(now->manifest)) {
        job->set_manifest(now->name, manifest_to_json(manifest));
        job->commit();
      }
      collection = store_.find_collection(collection.name).value();
    }
    BriefTarget target(
        store_, collection, [&](WriteJob& job) { job.complete_links(collection.name); }, stop);
    EmbedStageOptions options;
    options.batch = options_.batch;
    options.stop = stop;
    options.on_progress = [&](std::size_t computed, std::size_t total, std::size_t) {
      const std::lock_guard guard(mutex_);
      embedding_ = collection.id;
      left_ = total - std::min(computed, total);
    };
    const EmbedStageResult done = embed_pending(target, collection, model_, manifest, options);
    const auto job = store_.begin_write(options_.patience, stop);
    if (!store_.find_collection(collection.name)) return true;
    job->complete_links(collection.name);
    job->commit();
    job->publish_vectors(collection.name);
    if (done.chunks == 0) given_up_[collection.id] = store_.find_collection(collection.name).value_or(collection).generation;
    return true;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kLocked) return false;  // looked at again later
    if (error.code() == ErrorCode::kCancelled || is_passing(error.code())) throw;
    if (error.code() == ErrorCode::kNotFound) return true;  // removed meanwhile
    give_up(seen, error.what(), stop);
    return true;
  }
}

// What will not get better by trying: another embedder, damaged chunks, a device that fails. Tried again when the collection changes.
void BackgroundIngest::give_up(const CollectionInfo& collection, const std::string& message, const std::stop_token& stop) {
  report("collection " + collection.name + ": " + message);
  for (const FileLink& link : store_.pending_links()) {
    if (link.collection != collection.id || !link.searchable) continue;
    fail_link(store_, link, "server_error", "the text is searchable by words, but its vectors could not be computed", options_.patience,
              stop);
  }
  const auto now = store_.find_collection(collection.name);
  given_up_[collection.id] = now ? now->generation : collection.generation;
}

}  // namespace gritstone

// Uploaded files are indexed, and missing vectors computed, beside everything else the process does.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "index/store.h"
#include "pipelines/model_parts.h"

namespace gritstone {

struct BackgroundOptions {
  // How often collections are looked through for vectors that another process left to do (index --dense later).
  std::chrono::milliseconds idle_look{10'000};
  // Waiting for a writer in another process, then trying again.
  std::chrono::milliseconds patience{60'000};
  std::chrono::milliseconds retry{5'000};
  std::size_t batch = 16;                              // chunks a pass of the model: how much a stop may have to wait for
  std::function<void(const std::string&)> on_problem;  // for the log; called from both threads
};

// Two threads: one commits text and BM25 of what is queued, so that files are searchable at once; the other computes vectors, at the
// engine's lowest priority. The queue is the links in progress in the store, so it survives the process; a failing file never stops
// another. The store's write lock is held for single commits only.
// Thread-safe. Borrows store and model, which must outlive it.
class BackgroundIngest {
 public:
  BackgroundIngest(Store& store, ModelParts model, BackgroundOptions options = {});
  ~BackgroundIngest();  // stop(), then waits for both threads
  BackgroundIngest(const BackgroundIngest&) = delete;
  BackgroundIngest& operator=(const BackgroundIngest&) = delete;

  // Something was put into the queue.
  void wake();
  // Something was deleted: the file being read and the vectors being computed may be for nobody. What is still wanted begins again.
  void interrupt();
  // Returns at once; the threads end with what they are at. The queue stays for the next process.
  void stop();
  // How many of the collection's vectors are computed and not yet committed: 0 unless its vectors are being computed.
  //   info  as of the snapshot that the answer is compared with
  std::size_t uncommitted(const CollectionInfo& info) const;
  // Waits until nothing is queued or pending that could be done; false if that takes longer than `limit`.
  bool wait_idle(std::chrono::milliseconds limit);

 private:
  void run_text(const std::stop_token& stop);
  void run_vectors(const std::stop_token& stop);
  // True: something was done, look again.
  bool next_text(const std::stop_token& stop);
  bool next_vectors(const std::stop_token& stop);
  bool embed(const CollectionInfo& collection, const std::stop_token& stop);
  void give_up(const CollectionInfo& collection, const std::string& message, const std::stop_token& stop);
  void sleep(const std::stop_token& stop, std::chrono::milliseconds time, std::uint64_t seen);
  void report(const std::string& problem) const;

  Store& store_;
  const ModelParts model_;
  const BackgroundOptions options_;

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::uint64_t wakes_ = 0;      // by wake() and by the text thread
  std::uint64_t text_idle_ = 0;  // the number of wakes that were seen when there was nothing left to do
  std::uint64_t vector_idle_ = 0;
  std::optional<std::stop_source> text_pass_;       // of the file being read
  std::optional<std::stop_source> pass_;            // of the vectors being computed
  std::int64_t embedding_ = 0;                      // collection of the pass; 0: none
  std::size_t left_ = 0;                            // chunks that the pass has still to compute
  std::map<std::int64_t, std::uint64_t> given_up_;  // collection -> generation that could not be embedded; vector thread only
  std::jthread text_thread_;
  std::jthread vector_thread_;
};

}  // namespace gritstone

// What became of every request of a load run, one JSON line each, written as it completes: a crash loses none of them.
#pragma once

#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>

#include "pipelines/load_generator.h"

namespace gritstone {

// {"index":7,"due":1.25,"begun":1.25,"first_token":1.9,"ended":3.0,"tokens":31,"ok":true,"error":"","stages":{"prefill_ms":512.5}}
// Times in seconds on the run's clock; first_token null where there was none.
std::string request_record_json(const RequestRecord& record);

// Thread-safe.
class RequestRecordFile {
 public:
  // Begins the file anew. Throws Error(kStorage).
  explicit RequestRecordFile(std::filesystem::path path);
  // Does not throw, because it is called from the threads that ask: see finish().
  void write(const RequestRecord& record) noexcept;
  // Throws Error(kStorage) if a line could not be written.
  void finish();

 private:
  const std::filesystem::path path_;
  std::mutex mutex_;
  std::ofstream out_;
};

}  // namespace gritstone

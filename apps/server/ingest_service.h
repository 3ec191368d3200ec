// Background indexing as a part of the server: starts with the model, ends with the server.
#pragma once

#include <memory>
#include <mutex>

#include "apps/server/request.h"
#include "apps/server/server_context.h"
#include "pipelines/background_ingest.h"

namespace gritstone {

// Thread-safe. What is queued before the model is loaded is indexed once it is.
class IngestService {
 public:
  // Hooks itself to the context, which must outlive it.
  static std::shared_ptr<IngestService> start(ServerContext& context);

  void wake();       // something was queued
  void interrupt();  // something was deleted
  // As BackgroundIngest::uncommitted().
  std::size_t uncommitted(const CollectionInfo& info);

 private:
  std::mutex mutex_;
  bool stopping_ = false;
  std::unique_ptr<BackgroundIngest> background_;
};

// For a change of the store on behalf of a request: waits a few seconds for another writer. Throws ApiError: 403 (the store was opened for
// reading); Error(kLocked), which is 503 with Retry-After; Error(kCancelled).
std::unique_ptr<WriteJob> begin_write(ServerContext& context, const Request& request);

}  // namespace gritstone

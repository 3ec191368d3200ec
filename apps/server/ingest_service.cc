#include "apps/server/ingest_service.h"

#include "apps/server/api_error.h"
#include "apps/terminal.h"

namespace gritstone {
namespace {

// Other requests hold the lock for milliseconds; `gritstone index` for as long as it runs, and then a client had better come back.
constexpr std::chrono::seconds kPatience{5};

}  // namespace

std::shared_ptr<IngestService> IngestService::start(ServerContext& context) {
  auto service = std::make_shared<IngestService>();
  if (!context.writable()) return service;
  context.when_ready([service, &context] {
    const std::lock_guard guard(service->mutex_);
    if (service->stopping_) return;
    BackgroundOptions options;
    options.on_problem = [](const std::string& problem) { print_err("gritstone: warning: " + printable(problem) + "\n"); };
    service->background_ = std::make_unique<BackgroundIngest>(context.store(), context.model(), options);
  });
  context.when_stopping([service] {
    const std::lock_guard guard(service->mutex_);
    service->stopping_ = true;
    if (service->background_) service->background_->stop();
  });
  return service;
}

void IngestService::wake() {
  const std::lock_guard guard(mutex_);
  if (background_) background_->wake();
}

void IngestService::interrupt() {
  const std::lock_guard guard(mutex_);
  if (background_) background_->interrupt();
}

std::size_t IngestService::uncommitted(const CollectionInfo& info) {
  const std::lock_guard guard(mutex_);
  return background_ ? background_->uncommitted(info) : 0;
}

std::unique_ptr<WriteJob> begin_write(ServerContext& context, const Request& request) {
  if (!context.writable()) throw ApiError(403, "permission_error", "this server has its store for reading only", {}, "read_only");
  return context.store().begin_write(kPatience, request.cancel);
}

}  // namespace gritstone

// What the parts of /v1/vector_stores share.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/server/ingest_service.h"
#include "apps/server/request_json.h"
#include "apps/server/router.h"
#include "apps/server/server_context.h"
#include "index/uploaded_file.h"

namespace gritstone {

using IngestServicePtr = std::shared_ptr<IngestService>;

void add_store_file_routes(Router& router, ServerContext& context, const IngestServicePtr& ingest);
void add_file_batch_routes(Router& router, ServerContext& context, const IngestServicePtr& ingest);
void add_store_search_route(Router& router, ServerContext& context);

void add_route(Router& router, const char* method, const char* path, Handler handler, BodyKind body = BodyKind::kNone,
               Work work = Work::kLight);

// The collection that the request's {vector_store_id} names. Throws ApiError (404).
std::string require_store(const Request& request);
std::shared_ptr<const Snapshot> require_snapshot(const ServerContext& context, const Request& request);
[[noreturn]] void no_store(const std::string& id);

// Members of a request, checked as OpenAI does. All throw ApiError (400).
//   metadata: at most 16 texts; as JSON, absent if not given
std::optional<std::string> metadata_json(const RequestFields& fields);
//   attributes: at most 16 texts, numbers or booleans
std::optional<std::string> attributes_json(const RequestFields& fields, const char* key = "attributes");
//   chunking_strategy: passages have no overlap here, whatever is asked for
std::size_t chunk_tokens(const RequestFields& fields);

// Puts a file on the collection's list in the job's transaction; one that failed or was cancelled is tried again. Throws ApiError (404,
// 400).
FileLink attach(WriteJob& job, const std::string& collection, const std::string& file_id, const FileLink& wanted, bool has_attributes,
                const std::string& param);

// Ids of the collection's files, oldest first, with their status: uploads, and documents that the command line indexed.
struct ListedFile {
  std::string key;
  std::int64_t created = 0;
  LinkStatus status = LinkStatus::kCompleted;
  std::string batch;
  std::optional<DocumentId> document;  // not uploaded
};
std::vector<ListedFile> listed_files(const Snapshot& snapshot);
// The page of a request over some of them, with ?filter=.
std::string files_page(const Request& request, const Snapshot& snapshot, std::vector<ListedFile> files, IngestService& ingest);

}  // namespace gritstone

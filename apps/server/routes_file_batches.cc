// /v1/vector_stores/{id}/file_batches: several files attached at once, and how far they are together.
#include <array>
#include <random>

#include "apps/server/api_error.h"
#include "apps/server/store_objects.h"
#include "apps/server/vector_store_routes.h"

namespace gritstone {
namespace {

constexpr std::size_t kMaxFiles = 500;
constexpr std::string_view kPrefix = "vsfb_";

std::string new_batch() {
  std::random_device random;
  std::array<std::uint8_t, 12> bytes{};
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return to_hex(bytes);
}

[[noreturn]] void no_batch(const Request& request) {
  throw ApiError::not_found("No file batch found with id '" + request.param("batch_id") + "'.", "batch_id");
}

// Its files that are still on the list. A batch is known by its files, so one whose files were all taken off is gone.
std::vector<ListedFile> require_batch(const Snapshot& snapshot, const Request& request) {
  const std::string id = request.param("batch_id");
  if (!id.starts_with(kPrefix) || id.size() == kPrefix.size()) no_batch(request);
  std::vector<ListedFile> files = listed_files(snapshot);
  std::erase_if(files, [&](const ListedFile& file) { return file.batch != id.substr(kPrefix.size()); });
  if (files.empty()) no_batch(request);
  return files;
}

void reply_with(const Snapshot& snapshot, const std::vector<ListedFile>& files, ReplyWriter& reply) {
  FileCounts counts;
  for (const ListedFile& file : files) counts.add(file.status);
  const char* status = counts.in_progress > 0 ? "in_progress" : counts.cancelled > 0 ? "cancelled" : "completed";
  JsonOutput json;
  json.begin_object().field("id", std::string(kPrefix) + files.front().batch).field("object", "vector_store.files_batch");
  json.field("created_at", files.front().created).field("vector_store_id", vector_store_id(snapshot.info().name)).field("status", status);
  write_file_counts(json, counts);
  json.end_object();
  reply.json(json.text());
}

struct Item {
  std::string id;
  std::string param;
  std::optional<std::string> attributes;
  std::size_t tokens = 0;
};

// {"file_ids":[...]} with attributes and chunking_strategy for all, or {"files":[{"file_id",...}]} with their own.
std::vector<Item> items_of(const RequestFields& fields) {
  const rapidjson::Value* ids = fields.array("file_ids", kMaxFiles);
  const rapidjson::Value* files = fields.array("files", kMaxFiles);
  if ((ids == nullptr) == (files == nullptr)) fields.fail("file_ids", "give either file_ids or files", "missing_required_parameter");
  std::vector<Item> items;
  const auto attributes = attributes_json(fields);
  const std::size_t tokens = chunk_tokens(fields);
  for (rapidjson::SizeType i = 0; ids != nullptr && i < ids->Size(); ++i) {
    const std::string param = "file_ids[" + std::to_string(i) + "]";
    if (!(*ids)[i].IsString()) throw ApiError::bad_request(param + " must be a string", param, "invalid_type");
    items.push_back({(*ids)[i].GetString(), param, attributes, tokens});
  }
  for (rapidjson::SizeType i = 0; files != nullptr && i < files->Size(); ++i) {
    const RequestFields file((*files)[i], "files[" + std::to_string(i) + "].");
    items.push_back({file.required_string("file_id", 256), file.name("file_id"), attributes_json(file), chunk_tokens(file)});
  }
  if (items.empty()) fields.fail(ids != nullptr ? "file_ids" : "files", "is empty");
  return items;
}

void create(ServerContext& context, const IngestServicePtr& ingest, const Request& request, ReplyWriter& reply) {
  const std::string collection = require_store(request);
  const rapidjson::Document body = parse_request_json(request.body);
  const std::vector<Item> items = items_of(RequestFields(body));
  FileLink wanted;
  wanted.batch = new_batch();
  {
    const auto job = begin_write(context, request);
    if (!context.store().find_collection(collection)) no_store(request.param("vector_store_id"));
    for (const Item& item : items) {
      wanted.attributes = item.attributes.value_or("{}");
      wanted.chunk_tokens = item.tokens;
      attach(*job, collection, item.id, wanted, item.attributes.has_value(), item.param);
    }
    job->commit();
  }
  ingest->wake();
  const auto snapshot = require_snapshot(context, request);
  std::vector<ListedFile> files = listed_files(*snapshot);
  std::erase_if(files, [&](const ListedFile& file) { return file.batch != wanted.batch; });
  if (files.empty()) throw ApiError::conflict("the files were taken off the list while they were attached", "file_ids");
  reply_with(*snapshot, files, reply);
}

void get(ServerContext& context, const Request& request, ReplyWriter& reply) {
  const auto snapshot = require_snapshot(context, request);
  reply_with(*snapshot, require_batch(*snapshot, request), reply);
}

void list(ServerContext& context, const IngestServicePtr& ingest, const Request& request, ReplyWriter& reply) {
  const auto snapshot = require_snapshot(context, request);
  reply.json(files_page(request, *snapshot, require_batch(*snapshot, request), *ingest));
}

// What is not indexed yet is not going to be; what is searchable stays.
void cancel(ServerContext& context, const IngestServicePtr& ingest, const Request& request, ReplyWriter& reply) {
  const std::string collection = require_store(request);
  {
    const auto job = begin_write(context, request);
    for (const ListedFile& file : require_batch(*require_snapshot(context, request), request)) {
      auto link = job->find_link(collection, file.key);
      if (!link || link->status != LinkStatus::kInProgress || link->searchable) continue;
      link->status = LinkStatus::kCancelled;
      job->update_link(*link);
    }
    job->commit();
  }
  ingest->interrupt();
  get(context, request, reply);
}

}  // namespace

void add_file_batch_routes(Router& router, ServerContext& context, const IngestServicePtr& ingest) {
  const std::string all = "/v1/vector_stores/{vector_store_id}/file_batches";
  const std::string one = all + "/{batch_id}";
  add_route(
      router, "POST", all.c_str(), [&context, ingest](const Request& q, ReplyWriter& r) { create(context, ingest, q, r); },
      BodyKind::kJson);
  add_route(router, "GET", one.c_str(), [&context](const Request& q, ReplyWriter& r) { get(context, q, r); });
  add_route(
      router, "POST", (one + "/cancel").c_str(), [&context, ingest](const Request& q, ReplyWriter& r) { cancel(context, ingest, q, r); },
      BodyKind::kOptionalJson);
  add_route(router, "GET", (one + "/files").c_str(), [&context, ingest](const Request& q, ReplyWriter& r) { list(context, ingest, q, r); });
}

}  // namespace gritstone

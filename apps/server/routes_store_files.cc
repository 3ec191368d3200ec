// /v1/vector_stores/{id}/files: which files a collection has, how far they are, and their text.
#include <algorithm>

#include "apps/server/api_error.h"
#include "apps/server/paging.h"
#include "apps/server/store_objects.h"
#include "apps/server/vector_store_routes.h"

namespace gritstone {
namespace {

[[noreturn]] void no_file(const Request& request) {
  throw ApiError::not_found(
      "No file found with id '" + request.param("file_id") + "' in vector store '" + request.param("vector_store_id") + "'.", "file_id");
}

StoreFile require_store_file(const Snapshot& snapshot, const Request& request) {
  const auto key = file_key_of(request.param("file_id"));
  auto file = key ? find_store_file(snapshot, *key) : std::nullopt;
  if (!file) no_file(request);
  return std::move(*file);
}

void reply_with(ServerContext& context, const IngestServicePtr& ingest, const std::string& collection, const std::string& key,
                const Request& request, ReplyWriter& reply) {
  std::shared_ptr<const Snapshot> snapshot;
  try {
    snapshot = context.store().snapshot(collection);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    no_store(request.param("vector_store_id"));
  }
  const auto file = find_store_file(*snapshot, key);
  if (!file) no_file(request);  // deleted since
  JsonOutput json;
  write_store_file(json, *snapshot, *file, ingest->uncommitted(snapshot->info()));
  reply.json(json.text());
}

void create(ServerContext& context, const IngestServicePtr& ingest, const Request& request, ReplyWriter& reply) {
  const std::string collection = require_store(request);
  const rapidjson::Document body = parse_request_json(request.body);
  const RequestFields fields(body);
  const std::string id = fields.required_string("file_id", 256);
  FileLink wanted;
  const auto attributes = attributes_json(fields);
  wanted.attributes = attributes.value_or("{}");
  wanted.chunk_tokens = chunk_tokens(fields);
  FileLink link;
  {
    const auto job = begin_write(context, request);
    if (!context.store().find_collection(collection)) no_store(request.param("vector_store_id"));
    link = attach(*job, collection, id, wanted, attributes.has_value(), "file_id");
    job->commit();
  }
  ingest->wake();
  reply_with(context, ingest, collection, link.key, request, reply);
}

void list(ServerContext& context, const IngestServicePtr& ingest, const Request& request, ReplyWriter& reply) {
  const auto snapshot = require_snapshot(context, request);
  reply.json(files_page(request, *snapshot, listed_files(*snapshot), *ingest));
}

void get(ServerContext& context, const IngestServicePtr& ingest, const Request& request, ReplyWriter& reply) {
  const auto snapshot = require_snapshot(context, request);
  JsonOutput json;
  write_store_file(json, *snapshot, require_store_file(*snapshot, request), ingest->uncommitted(snapshot->info()));
  reply.json(json.text());
}

void modify(ServerContext& context, const IngestServicePtr& ingest, const Request& request, ReplyWriter& reply) {
  const std::string collection = require_store(request);
  const rapidjson::Document body = parse_request_json(request.body);
  const RequestFields fields(body);
  const auto attributes = attributes_json(fields);
  if (!attributes) fields.fail("attributes", "is missing", "missing_required_parameter");
  std::string key;
  {
    const auto job = begin_write(context, request);
    const StoreFile file = require_store_file(*require_snapshot(context, request), request);
    key = file.key;
    if (file.link) {
      job->set_link_attributes(collection, key, *attributes);
    } else if (file.document) {
      DocumentMeta meta = *file.document;
      meta.attributes = attribute_texts(*attributes);
      job->update_document_meta(collection, meta);
    }
    job->commit();
  }
  reply_with(context, ingest, collection, key, request, reply);
}

void remove(ServerContext& context, const IngestServicePtr& ingest, const Request& request, ReplyWriter& reply) {
  const std::string collection = require_store(request);
  {
    const auto job = begin_write(context, request);
    const StoreFile file = require_store_file(*require_snapshot(context, request), request);
    if (file.link) {
      job->unlink_file(collection, file.key);
    } else {
      job->remove_document(collection, file.document->path);
    }
    job->commit();
  }
  ingest->interrupt();
  JsonOutput json;
  json.begin_object()
      .field("id", request.param("file_id"))
      .field("object", "vector_store.file.deleted")
      .field("deleted", true)
      .end_object();
  reply.json(json.text());
}

// The text as it was cut into passages; each says where in the file it stands.
void content(ServerContext& context, const Request& request, ReplyWriter& reply) {
  const auto snapshot = require_snapshot(context, request);
  const StoreFile file = require_store_file(*snapshot, request);
  JsonOutput json;
  json.begin_object().field("object", "vector_store.file_content.page").field("file_id", file_id(file.key));
  json.field("filename", file.document ? file.document->path : file.link->path).key("attributes").raw(attributes_json(file));
  json.begin_array("data");
  for (std::size_t i = 0; file.document && i < file.document->chunks; ++i) {
    const auto chunk = snapshot->chunk_at(file.document->id, i);
    if (!chunk) break;
    json.begin_object().field("type", "text").field("text", chunk->text).field("start", chunk->span.start).field("end", chunk->span.end);
    json.field("heading", chunk->heading_path).end_object();
  }
  json.end_array().field("has_more", false).key("next_page").null();
  json.end_object();
  reply.json(json.text());
}

}  // namespace

std::vector<ListedFile> listed_files(const Snapshot& snapshot) {
  std::vector<ListedFile> files;
  std::vector<std::string> uploaded;
  for (FileLink& link : snapshot.links()) {
    files.push_back({link.key, link.created, link.status, link.batch, std::nullopt});
    uploaded.push_back(std::move(link.path));
  }
  std::sort(uploaded.begin(), uploaded.end());
  for (const Snapshot::DocumentName& name : snapshot.document_names()) {
    if (std::binary_search(uploaded.begin(), uploaded.end(), name.path)) continue;
    files.push_back({document_key(snapshot.info().id, name.path), name.mtime_ns / 1'000'000'000, LinkStatus::kCompleted, {}, name.id});
  }
  // Uploads of one second keep the order of their links.
  std::stable_sort(files.begin(), files.end(), [](const ListedFile& a, const ListedFile& b) { return a.created < b.created; });
  return files;
}

std::string files_page(const Request& request, const Snapshot& snapshot, std::vector<ListedFile> files, IngestService& ingest) {
  const PageQuery query = page_query(request, 20, 100);
  if (const auto wanted = request.query_value("filter")) {
    bool known = false;
    for (const LinkStatus status : {LinkStatus::kInProgress, LinkStatus::kCompleted, LinkStatus::kFailed, LinkStatus::kCancelled}) {
      known = known || *wanted == link_status_name(status);
    }
    if (!known) throw ApiError::bad_request("filter must be one of: in_progress, completed, failed, cancelled", "filter", "invalid_value");
    std::erase_if(files, [&](const ListedFile& file) { return *wanted != link_status_name(file.status); });
  }
  if (!query.ascending) std::reverse(files.begin(), files.end());
  std::vector<std::string> ids;
  for (const ListedFile& file : files) ids.push_back(file_id(file.key));
  const std::size_t uncommitted = ingest.uncommitted(snapshot.info());
  return page_json(page_range(query, ids), ids, [&](JsonOutput& json, std::size_t i) {
    const ListedFile& listed = files[i];
    StoreFile file;
    if (listed.document) {  // without looking through all documents for the key
      file = {listed.key, std::nullopt, snapshot.document(*listed.document), listed.created};
    } else {
      file = find_store_file(snapshot, listed.key).value();
    }
    write_store_file(json, snapshot, file, uncommitted);
  });
}

void add_store_file_routes(Router& router, ServerContext& context, const IngestServicePtr& ingest) {
  const char* files = "/v1/vector_stores/{vector_store_id}/files";
  const char* one = "/v1/vector_stores/{vector_store_id}/files/{file_id}";
  add_route(
      router, "POST", files, [&context, ingest](const Request& q, ReplyWriter& r) { create(context, ingest, q, r); }, BodyKind::kJson);
  add_route(router, "GET", files, [&context, ingest](const Request& q, ReplyWriter& r) { list(context, ingest, q, r); });
  add_route(router, "GET", one, [&context, ingest](const Request& q, ReplyWriter& r) { get(context, ingest, q, r); });
  add_route(
      router, "POST", one, [&context, ingest](const Request& q, ReplyWriter& r) { modify(context, ingest, q, r); }, BodyKind::kJson);
  add_route(router, "DELETE", one, [&context, ingest](const Request& q, ReplyWriter& r) { remove(context, ingest, q, r); });
  add_route(router, "GET", "/v1/vector_stores/{vector_store_id}/files/{file_id}/content",
            [&context](const Request& q, ReplyWriter& r) { content(context, q, r); });
}

}  // namespace gritstone

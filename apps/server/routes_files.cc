// /v1/files: uploaded files, as OpenAI has them.
#include "apps/server/api_error.h"
#include "apps/server/ingest_service.h"
#include "apps/server/multipart.h"
#include "apps/server/paging.h"
#include "apps/server/routes.h"
#include "apps/server/store_objects.h"

namespace gritstone {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;
// Boundaries, headers and the other fields of the form.
constexpr std::size_t kFormOverhead = std::size_t{64} << 10;
constexpr std::size_t kMaxFieldBytes = 1024;

void require_purpose(std::string_view purpose) {
  for (const char* known : {"assistants", "batch", "fine-tune", "vision", "user_data", "evals"}) {
    if (purpose == known) return;
  }
  throw ApiError::bad_request("purpose must be one of: assistants, batch, fine-tune, vision, user_data, evals", "purpose", "invalid_value");
}

[[noreturn]] void no_file(const std::string& id) { throw ApiError::not_found("No such File object: " + id, "id"); }

UploadedFile require_file(const ServerContext& context, const Request& request) {
  const std::string id = request.param("file_id");
  const auto key = file_key_of(id);
  auto file = key ? context.store().find_file(*key) : std::nullopt;
  if (!file) no_file(id);
  return std::move(*file);
}

void upload(ServerContext& context, const Request& request, ReplyWriter& reply) {
  std::optional<MultipartPart> file;
  std::optional<std::string> purpose;
  for (MultipartPart& part : parse_multipart(request.body, request.header("content-type"))) {
    const auto once = [&](bool first) {
      if (!first) throw ApiError::bad_request("the form has " + part.name + " twice", part.name, "invalid_value");
    };
    if (part.name == "file") {
      once(!file);
      if (!part.filename) throw ApiError::bad_request("file must be a file with a name", "file", "invalid_type");
      file = std::move(part);
    } else if (part.name == "purpose") {
      once(!purpose);
      purpose = std::string(part.data.substr(0, kMaxFieldBytes));
    } else if (part.name.starts_with("expires_after")) {
      throw ApiError::bad_request("files do not expire here; delete them", "expires_after", "unsupported_parameter");
    } else if (part.data.size() > kMaxFieldBytes) {
      throw ApiError::bad_request("an unknown field of the form is too long", {}, "invalid_value");
    }
  }
  if (!file) throw ApiError::bad_request("file is missing", "file", "missing_required_parameter");
  if (!purpose) throw ApiError::bad_request("purpose is missing", "purpose", "missing_required_parameter");
  require_purpose(*purpose);
  if (file->data.size() > kMaxFileBytes) {
    throw ApiError(
        413, "invalid_request_error",
        "the file has " + std::to_string(file->data.size()) + " bytes, at most " + std::to_string(kMaxFileBytes) + " are allowed", "file",
        "file_too_large");
  }
  const UploadedFile stored = begin_write(context, request)->put_file(*file->filename, *purpose, file->data);
  JsonOutput json;
  write_file(json, stored);
  reply.json(json.text());
}

void list(ServerContext& context, const Request& request, ReplyWriter& reply) {
  const PageQuery query = page_query(request, 10000, 10000);
  const auto purpose = request.query_value("purpose");
  std::vector<UploadedFile> files = context.store().files();
  if (purpose) std::erase_if(files, [&](const UploadedFile& file) { return file.purpose != *purpose; });
  if (query.ascending) std::reverse(files.begin(), files.end());
  std::vector<std::string> ids;
  for (const UploadedFile& file : files) ids.push_back(file_id(file.key));
  reply.json(page_json(page_range(query, ids), ids, [&](JsonOutput& json, std::size_t i) { write_file(json, files[i]); }));
}

void get(ServerContext& context, const Request& request, ReplyWriter& reply) {
  JsonOutput json;
  write_file(json, require_file(context, request));
  reply.json(json.text());
}

void content(ServerContext& context, const Request& request, ReplyWriter& reply) {
  const UploadedFile file = require_file(context, request);
  // Never as a page of this site: a document is data, whatever it says it is (nosniff is on every answer).
  reply.set_header("Content-Disposition", "attachment");
  reply.send(200, "application/octet-stream", context.store().file_bytes(file.key));
}

void remove(ServerContext& context, const Request& request, ReplyWriter& reply) {
  const std::string id = request.param("file_id");
  const auto key = file_key_of(id);
  if (!key) no_file(id);
  {
    const auto job = begin_write(context, request);
    if (!job->remove_file(*key)) no_file(id);
    job->commit();
  }
  JsonOutput json;
  json.begin_object().field("id", id).field("object", "file").field("deleted", true).end_object();
  reply.json(json.text());
}

}  // namespace

void add_file_routes(Router& router, ServerContext& context) {
  const auto with = [&context](void (*handler)(ServerContext&, const Request&, ReplyWriter&)) {
    return [&context, handler](const Request& request, ReplyWriter& reply) { handler(context, request, reply); };
  };
  Route post;
  post.method = "POST";
  post.path = "/v1/files";
  post.handler = with(upload);
  post.body = BodyKind::kMultipart;
  post.body_limit = kMaxFileBytes + kFormOverhead;
  router.add(std::move(post));
  const auto add = [&](const char* method, const char* path, void (*handler)(ServerContext&, const Request&, ReplyWriter&)) {
    Route route;
    route.method = method;
    route.path = path;
    route.handler = with(handler);
    router.add(std::move(route));
  };
  add("GET", "/v1/files", list);
  add("GET", "/v1/files/{file_id}", get);
  add("DELETE", "/v1/files/{file_id}", remove);
  add("GET", "/v1/files/{file_id}/content", content);
}

}  // namespace gritstone

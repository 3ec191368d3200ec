// Members that requests to vector stores share.
#include "apps/server/api_error.h"
#include "apps/server/store_objects.h"
#include "apps/server/vector_store_routes.h"
#include "base/utf8.h"

namespace gritstone {
namespace {

constexpr std::size_t kMaxPairs = 16;
constexpr std::size_t kMaxKey = 64;  // characters, as OpenAI counts
constexpr std::size_t kMaxValue = 512;

// An object of few short members as JSON text; numbers and booleans only where `scalars`.
std::optional<std::string> pairs(const RequestFields& fields, const char* key, bool scalars) {
  const rapidjson::Value* object = fields.object(key);
  if (object == nullptr) return std::nullopt;
  if (object->MemberCount() > kMaxPairs) fields.fail(key, "has more than " + std::to_string(kMaxPairs) + " members", "invalid_value");
  for (const auto& member : object->GetObject()) {
    const std::string name(member.name.GetString(), member.name.GetStringLength());
    if (count_code_points(name) > kMaxKey) fields.fail(key, "a key is longer than 64 characters", "invalid_value");
    const bool text = member.value.IsString();
    if (text && count_code_points({member.value.GetString(), member.value.GetStringLength()}) <= kMaxValue) continue;
    if (text) fields.fail(key, "the value of \"" + name + "\" is longer than 512 characters", "invalid_value");
    if (scalars && (member.value.IsNumber() || member.value.IsBool())) continue;
    fields.fail(key, "the value of \"" + name + "\" must be a " + (scalars ? "string, a number or a boolean" : "string"), "invalid_type");
  }
  return json_text(*object);
}

}  // namespace

void add_route(Router& router, const char* method, const char* path, Handler handler, BodyKind body, Work work) {
  Route route;
  route.method = method;
  route.path = path;
  route.handler = std::move(handler);
  route.body = body;
  route.work = work;
  router.add(std::move(route));
}

void no_store(const std::string& id) { throw ApiError::not_found("No vector store found with id '" + id + "'.", "vector_store_id"); }

std::string require_store(const Request& request) {
  const std::string id = request.param("vector_store_id");
  auto name = collection_of(id);
  if (!name) no_store(id);
  return std::move(*name);
}

std::shared_ptr<const Snapshot> require_snapshot(const ServerContext& context, const Request& request) {
  const std::string name = require_store(request);
  try {
    return context.store().snapshot(name);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    no_store(request.param("vector_store_id"));
  }
}

std::optional<std::string> metadata_json(const RequestFields& fields) { return pairs(fields, "metadata", false); }

std::optional<std::string> attributes_json(const RequestFields& fields, const char* key) { return pairs(fields, key, true); }

std::size_t chunk_tokens(const RequestFields& fields) {
  const rapidjson::Value* object = fields.object("chunking_strategy");
  if (object == nullptr) return ChunkerOptions{}.max_tokens;
  const RequestFields strategy(*object, fields.name("chunking_strategy") + ".");
  const auto type = strategy.word("type", {"auto", "static"});
  if (!type) strategy.fail("type", "is missing", "missing_required_parameter");
  const rapidjson::Value* given = strategy.object("static");
  if (*type == "auto") {
    if (given != nullptr) strategy.fail("static", "belongs to type static only");
    return ChunkerOptions{}.max_tokens;
  }
  if (given == nullptr) strategy.fail("static", "is missing", "missing_required_parameter");
  const RequestFields sizes(*given, strategy.name("static") + ".");
  const auto size = sizes.integer("max_chunk_size_tokens", 100, 4096);
  if (!size) sizes.fail("max_chunk_size_tokens", "is missing", "missing_required_parameter");
  sizes.integer("chunk_overlap_tokens", 0, 2048);  // has no effect
  return static_cast<std::size_t>(*size);
}

FileLink attach(WriteJob& job, const std::string& collection, const std::string& id, const FileLink& wanted, bool has_attributes,
                const std::string& param) {
  const auto key = file_key_of(id);
  if (!key) throw ApiError::not_found("No such File object: " + id, param);
  const auto known = job.find_link(collection, *key);
  FileLink link;
  try {
    // Failed before: a link of its own, so that nothing of the old one comes back.
    if (known && (known->status == LinkStatus::kFailed || known->status == LinkStatus::kCancelled)) job.unlink_file(collection, *key);
    link = job.link_file(collection, *key, wanted);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    throw ApiError::not_found("No such File object: " + id, param);
  }
  if (has_attributes && link.attributes != wanted.attributes) {
    job.set_link_attributes(collection, *key, wanted.attributes);
    link.attributes = wanted.attributes;
  }
  return link;
}

}  // namespace gritstone

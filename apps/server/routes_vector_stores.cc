// /v1/vector_stores: collections, as OpenAI has them.
#include <algorithm>

#include "apps/server/api_error.h"
#include "apps/server/paging.h"
#include "apps/server/routes.h"
#include "apps/server/store_objects.h"
#include "apps/server/vector_store_routes.h"
#include "base/utf8.h"

namespace gritstone {
namespace {

constexpr std::size_t kMaxName = 256;  // characters
constexpr std::size_t kMaxFiles = 500;
constexpr std::size_t kMaxStem = 56;  // leaves room for "-1234567" in a collection's 64

// "Café notes (2024)" -> "caf-notes-2024".
std::string slug(std::string_view name) {
  std::string text;
  for (char c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    const bool kept = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c == '_' && !text.empty());
    if (kept) {
      text += c;
    } else if (!text.empty() && text.back() != '-') {
      text += '-';
    }
    if (text.size() == kMaxStem) break;
  }
  while (!text.empty() && text.back() == '-') text.pop_back();
  return text.empty() ? "store" : text;
}

// Under the write lock, so that the name stays free.
std::string free_name(const Store& store, const std::string& stem) {
  for (std::size_t n = 1;; ++n) {
    std::string name = n == 1 ? stem : stem + "-" + std::to_string(n);
    if (!store.find_collection(name)) return name;
  }
}

std::optional<std::string> name_of(const RequestFields& fields) {
  auto name = fields.string("name");
  if (name && count_code_points(*name) > kMaxName) fields.fail("name", "is longer than " + std::to_string(kMaxName) + " characters");
  return name;
}

CollectionCard card_of(const ServerContext& context, const CollectionInfo& info) {
  const auto cards = context.store().cards();
  const auto found = cards.find(info.id);
  if (found != cards.end()) return found->second;
  CollectionCard card;
  card.title = info.name;
  return card;
}

void reply_with(ServerContext& context, const Snapshot& snapshot, ReplyWriter& reply) {
  JsonOutput json;
  write_vector_store(json, snapshot, card_of(context, snapshot.info()));
  reply.json(json.text());
}

void create(ServerContext& context, const IngestServicePtr& ingest, const Request& request, ReplyWriter& reply) {
  const rapidjson::Document body = request.body.empty() ? parse_request_json("{}") : parse_request_json(request.body);
  const RequestFields fields(body);
  CollectionCard card;
  card.title = name_of(fields).value_or("");
  card.metadata = metadata_json(fields).value_or("{}");
  fields.refuse("expires_after", "vector stores do not expire here; delete them");
  FileLink wanted;
  wanted.chunk_tokens = chunk_tokens(fields);
  const rapidjson::Value* files = fields.array("file_ids", kMaxFiles);
  std::string name;
  {
    const auto job = begin_write(context, request);
    name = free_name(context.store(), slug(card.title));
    job->create_collection({.name = name});
    job->set_card(name, card);
    for (rapidjson::SizeType i = 0; files != nullptr && i < files->Size(); ++i) {
      const std::string param = "file_ids[" + std::to_string(i) + "]";
      if (!(*files)[i].IsString()) throw ApiError::bad_request(param + " must be a string", param, "invalid_type");
      attach(*job, name, (*files)[i].GetString(), wanted, false, param);
    }
    job->commit();
  }
  ingest->wake();
  reply_with(context, *context.store().snapshot(name), reply);
}

void list(ServerContext& context, const Request& request, ReplyWriter& reply) {
  const PageQuery query = page_query(request, 20, 100);
  struct Listed {
    CollectionInfo info;
    CollectionCard card;
  };
  std::vector<Listed> stores;
  const auto cards = context.store().cards();
  for (CollectionInfo& info : context.store().collections()) {
    const auto card = cards.find(info.id);
    if (card != cards.end()) stores.push_back({std::move(info), card->second});
  }
  std::sort(stores.begin(), stores.end(), [&](const Listed& a, const Listed& b) {
    const auto x = std::pair(a.card.created, a.info.id), y = std::pair(b.card.created, b.info.id);
    return query.ascending ? x < y : y < x;
  });
  std::vector<std::string> ids;
  for (const Listed& store : stores) ids.push_back(vector_store_id(store.info.name));
  const PageRange range = page_range(query, ids);
  // One that was removed since is left out: its snapshot cannot be taken.
  std::vector<std::shared_ptr<const Snapshot>> snapshots(stores.size());
  std::vector<std::string> shown_ids;
  std::vector<std::size_t> shown;
  for (std::size_t i = range.begin; i < range.end; ++i) {
    try {
      snapshots[i] = context.store().snapshot(stores[i].info.name);
      shown.push_back(i);
      shown_ids.push_back(ids[i]);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kNotFound) throw;
    }
  }
  reply.json(page_json({0, shown.size(), range.has_more}, shown_ids,
                       [&](JsonOutput& json, std::size_t i) { write_vector_store(json, *snapshots[shown[i]], stores[shown[i]].card); }));
}

void get(ServerContext& context, const Request& request, ReplyWriter& reply) {
  reply_with(context, *require_snapshot(context, request), reply);
}

void modify(ServerContext& context, const Request& request, ReplyWriter& reply) {
  const std::string name = require_store(request);
  const rapidjson::Document body = parse_request_json(request.body);
  const RequestFields fields(body);
  const auto title = name_of(fields);
  const auto metadata = metadata_json(fields);
  fields.refuse("expires_after", "vector stores do not expire here; delete them");
  {
    const auto job = begin_write(context, request);
    const auto info = context.store().find_collection(name);
    if (!info) no_store(request.param("vector_store_id"));
    CollectionCard card = card_of(context, *info);
    if (title) card.title = *title;
    if (metadata) card.metadata = *metadata;
    job->set_card(name, card);
    job->commit();
  }
  reply_with(context, *require_snapshot(context, request), reply);
}

void remove(ServerContext& context, const IngestServicePtr& ingest, const Request& request, ReplyWriter& reply) {
  const std::string name = require_store(request);
  {
    const auto job = begin_write(context, request);
    if (!job->remove_collection(name)) no_store(request.param("vector_store_id"));
    job->commit();
  }
  ingest->interrupt();
  JsonOutput json;
  json.begin_object().field("id", vector_store_id(name)).field("object", "vector_store.deleted").field("deleted", true).end_object();
  reply.json(json.text());
}

}  // namespace

void add_vector_store_routes(Router& router, ServerContext& context) {
  const IngestServicePtr ingest = IngestService::start(context);
  add_route(
      router, "POST", "/v1/vector_stores", [&context, ingest](const Request& q, ReplyWriter& r) { create(context, ingest, q, r); },
      BodyKind::kOptionalJson);
  add_route(router, "GET", "/v1/vector_stores", [&context](const Request& q, ReplyWriter& r) { list(context, q, r); });
  add_route(router, "GET", "/v1/vector_stores/{vector_store_id}", [&context](const Request& q, ReplyWriter& r) { get(context, q, r); });
  add_route(
      router, "POST", "/v1/vector_stores/{vector_store_id}", [&context](const Request& q, ReplyWriter& r) { modify(context, q, r); },
      BodyKind::kJson);
  add_route(router, "DELETE", "/v1/vector_stores/{vector_store_id}",
            [&context, ingest](const Request& q, ReplyWriter& r) { remove(context, ingest, q, r); });
  add_store_file_routes(router, context, ingest);
  add_file_batch_routes(router, context, ingest);
  add_store_search_route(router, context);
}

}  // namespace gritstone

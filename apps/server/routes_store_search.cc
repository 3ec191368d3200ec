// /v1/vector_stores/{id}/search: the passages that match, as OpenAI shows them, with our scores beside.
#include <algorithm>
#include <map>

#include "apps/server/api_error.h"
#include "apps/server/filter_json.h"
#include "apps/server/store_objects.h"
#include "apps/server/vector_store_routes.h"
#include "base/utf8.h"
#include "pipelines/embedder_setup.h"
#include "retriever/search.h"

namespace gritstone {
namespace {

constexpr std::size_t kMaxQuery = 8192;  // characters
constexpr std::size_t kMaxQueries = 8;

struct Query {
  std::vector<std::string> texts;
  SearchOptions options;
  double threshold = 0;
  bool has_threshold = false;
};

std::vector<std::string> queries_of(const RequestFields& fields) {
  const rapidjson::Value* given = fields.find("query");
  if (given == nullptr) fields.fail("query", "is missing", "missing_required_parameter");
  std::vector<std::string> texts;
  if (given->IsArray()) {
    for (const rapidjson::Value& text : fields.array("query", kMaxQueries)->GetArray()) {
      if (!text.IsString() || text.GetStringLength() == 0) fields.fail("query", "must hold texts that are not empty", "invalid_type");
      texts.emplace_back(text.GetString(), text.GetStringLength());
    }
  } else {
    texts.push_back(fields.required_string("query"));
  }
  if (texts.empty()) fields.fail("query", "is empty");
  for (const std::string& text : texts) {
    if (count_code_points(text) > kMaxQuery) fields.fail("query", "is longer than " + std::to_string(kMaxQuery) + " characters");
  }
  return texts;
}

void read_ranking(const RequestFields& fields, Query& query) {
  const rapidjson::Value* object = fields.object("ranking_options");
  if (object == nullptr) return;
  const RequestFields ranking(*object, fields.name("ranking_options") + ".");
  // There is one way to rank here; the names of OpenAI's are accepted.
  if (const auto ranker = ranking.string("ranker"); ranker && count_code_points(*ranker) > 64) ranking.fail("ranker", "is too long");
  if (const auto threshold = ranking.number("score_threshold", 0, 1)) {
    query.threshold = *threshold;
    query.has_threshold = true;
  }
  if (const rapidjson::Value* weights = ranking.object("hybrid_search")) {
    const RequestFields hybrid(*weights, ranking.name("hybrid_search") + ".");
    const double dense = hybrid.number("embedding_weight", 0, 1e6).value_or(0);
    const double words = hybrid.number("text_weight", 0, 1e6).value_or(0);
    if (dense + words > 0) query.options.dense_weight = dense / (dense + words);
  }
}

Query read_query(const Request& request, const CollectionInfo& info) {
  const rapidjson::Document body = parse_request_json(request.body);
  const RequestFields fields(body);
  Query query;
  query.texts = queries_of(fields);
  SearchOptions& options = query.options;
  options.k = static_cast<std::size_t>(fields.integer("max_num_results", 1, 50).value_or(10));
  options.filter = parse_filters(fields, "filters");
  options.dense_weight = default_dense_weight(info);
  options.cancel = request.cancel;
  fields.boolean("rewrite_query");  // queries are taken as they are
  if (const auto mode = fields.word("mode", {"fused", "dense", "bm25"})) options.mode = parse_search_mode(*mode);
  read_ranking(fields, query);
  // Three passages a document, but for a collection of so few documents that this would not fill the answer.
  const std::size_t share = (options.k + std::max<std::size_t>(1, info.documents) - 1) / std::max<std::size_t>(1, info.documents);
  options.max_per_document = std::max(options.max_per_document, share);
  return query;
}

void optional_score(JsonOutput& json, const char* name, const std::optional<float>& score) {
  json.key(name);
  if (score) {
    json.value(*score);
  } else {
    json.null();
  }
}

void write_hit(JsonOutput& json, const SearchHit& hit, const StoreFile& file) {
  json.begin_object().field("file_id", file_id(file.key)).field("filename", hit.chunk.path).field("score", hit.score);
  json.key("attributes").raw(attributes_json(file)).begin_array("content");
  json.begin_object().field("type", "text").field("text", hit.chunk.text).end_object().end_array();
  // Ours.
  json.field("heading", hit.chunk.heading_path).field("start", hit.chunk.span.start).field("end", hit.chunk.span.end);
  json.begin_object("scores");
  optional_score(json, "bm25", hit.bm25);
  optional_score(json, "dense", hit.dense);
  json.end_object().begin_object("ranks").field("bm25", hit.bm25_rank).field("dense", hit.dense_rank).end_object().end_object();
}

// Of several queries each passage counts once, with its best score.
std::vector<SearchHit> search_all(const OpenCollection& collection, const Query& query, SearchTimings& timings, bool& incomplete) {
  std::vector<SearchHit> hits;
  for (const std::string& text : query.texts) {
    SearchResult result = search(*collection.snapshot, collection.embedder.get(), text, query.options);
    timings.embed_ms += result.timings.embed_ms;
    timings.bm25_ms += result.timings.bm25_ms;
    timings.vector_ms += result.timings.vector_ms;
    timings.fuse_ms += result.timings.fuse_ms;
    timings.total_ms += result.timings.total_ms;
    incomplete = incomplete || result.vectors_incomplete;
    for (SearchHit& hit : result.hits) {
      const auto same = std::find_if(hits.begin(), hits.end(), [&](const SearchHit& h) { return h.chunk.id == hit.chunk.id; });
      if (same == hits.end()) {
        hits.push_back(std::move(hit));
      } else if (same->score < hit.score) {
        *same = std::move(hit);
      }
    }
  }
  std::stable_sort(hits.begin(), hits.end(), [](const SearchHit& a, const SearchHit& b) { return a.score > b.score; });
  if (query.has_threshold) std::erase_if(hits, [&](const SearchHit& hit) { return hit.score < query.threshold; });
  if (hits.size() > query.options.k) hits.resize(query.options.k);
  return hits;
}

void run(ServerContext& context, const Request& request, ReplyWriter& reply) {
  const std::string name = require_store(request);
  if (!context.store().find_collection(name)) no_store(request.param("vector_store_id"));
  const OpenCollection collection = context.open_collection(name, "vector_store_id");
  Query query = read_query(request, collection.info());
  query.options.placement = context.model().placement;
  // Nothing is there to be found; it is no error that it has no vectors.
  if (collection.info().chunks == 0) query.options.mode = SearchMode::kBm25;
  SearchTimings timings;
  bool incomplete = false;
  const std::vector<SearchHit> hits = search_all(collection, query, timings, incomplete);
  std::map<std::string, StoreFile> files;
  JsonOutput json;
  json.begin_object().field("object", "vector_store.search_results.page").array("search_query", query.texts).begin_array("data");
  for (const SearchHit& hit : hits) {
    const auto [at, fresh] = files.try_emplace(hit.chunk.path);
    if (fresh) {
      at->second.key = collection.snapshot->file_key(hit.chunk.path);
      at->second.link = collection.snapshot->find_link(at->second.key);
      at->second.document = collection.snapshot->document(hit.chunk.document);
    }
    write_hit(json, hit, at->second);
  }
  json.end_array().field("has_more", false).key("next_page").null();
  json.field("generation", collection.info().generation).field("vectors_incomplete", incomplete);
  json.begin_object("timings").field("embed_ms", timings.embed_ms).field("bm25_ms", timings.bm25_ms).field("vector_ms", timings.vector_ms);
  json.field("fuse_ms", timings.fuse_ms).field("total_ms", timings.total_ms).end_object().end_object();
  reply.json(json.text());
}

}  // namespace

void add_store_search_route(Router& router, ServerContext& context) {
  add_route(
      router, "POST", "/v1/vector_stores/{vector_store_id}/search", [&context](const Request& q, ReplyWriter& r) { run(context, q, r); },
      BodyKind::kJson, Work::kModel);
}

}  // namespace gritstone

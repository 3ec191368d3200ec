// POST /v1/rerank: documents in the order in which they fit a query.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numeric>

#include "apps/json_output.h"
#include "apps/server/api_error.h"
#include "apps/server/generation_params.h"
#include "apps/server/model_embedder.h"
#include "apps/server/request_json.h"
#include "apps/server/routes.h"
#include "retriever/likelihood.h"

namespace gritstone {
namespace {

constexpr std::size_t kMaxDocuments = 1000;
// Likelihood needs a row of logits for each: 100 MB with OLMoE's vocabulary.
constexpr std::size_t kMaxQueryTokens = 512;

std::vector<std::string> read_documents(const RequestFields& fields) {
  const rapidjson::Value* documents = fields.array("documents", kMaxDocuments);
  if (documents == nullptr) fields.fail("documents", "is missing", "missing_required_parameter");
  std::vector<std::string> texts;
  for (rapidjson::SizeType i = 0; i < documents->Size(); ++i) {
    const rapidjson::Value& item = (*documents)[i];
    const std::string name = "documents[" + std::to_string(i) + "]";
    if (item.IsString()) {
      texts.emplace_back(item.GetString(), item.GetStringLength());
    } else if (item.IsObject()) {
      texts.push_back(RequestFields(item, name + ".").required_string("text"));
    } else {
      fields.fail(name, "must be a string or an object with a text", "invalid_type");
    }
  }
  if (texts.empty()) fields.fail("documents", "is empty");
  return texts;
}

struct Scored {
  std::vector<double> scores;
  std::size_t tokens = 0;
};

Scored by_cosine(const Embedder& embedder, const std::string& query, const std::vector<std::string>& documents, const Request& request) {
  const std::size_t dim = embedder.dim();
  std::vector<float> rows((documents.size() + 1) * dim);
  EmbedRequest wanted;
  wanted.cancel = request.cancel;
  wanted.texts = std::span(&query, 1);
  wanted.role = TextRole::kQuery;
  const EmbedResult asked = embedder.embed(wanted, MatrixView<float>(rows.data(), 1, dim));
  wanted.texts = documents;
  wanted.role = TextRole::kDocument;
  const EmbedResult read = embedder.embed(wanted, MatrixView<float>(rows.data() + dim, documents.size(), dim));
  Scored scored;
  scored.tokens = std::accumulate(read.tokens.begin(), read.tokens.end(), asked.tokens[0]);
  for (std::size_t i = 1; i <= documents.size(); ++i) {
    scored.scores.push_back(std::inner_product(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(dim),
                                               rows.begin() + static_cast<std::ptrdiff_t>(i * dim), 0.0));
  }
  return scored;
}

Scored by_likelihood(const ModelParts& parts, const std::string& query, const std::vector<std::string>& documents, const Request& request) {
  LikelihoodRequest wanted;
  wanted.question = query;
  wanted.passages = documents;
  wanted.deadline = request.deadline;
  wanted.cancel = request.cancel;
  LikelihoodResult result = question_likelihood(parts.engine(), *parts.tokenizer, wanted);
  // Mean log-probability a token; as a probability it lies in (0, 1], which clients expect of a relevance score.
  for (double& score : result.scores) score = std::exp(score);
  return {std::move(result.scores), result.tokens};
}

void rerank(ServerContext& context, const std::shared_ptr<ModelEmbedder>& own, const Request& request, ReplyWriter& reply) {
  const rapidjson::Document body = parse_request_json(request.body);
  const RequestFields fields(body);
  const std::optional<std::string> model = fields.string("model", 512);
  const std::string collection = collection_of_model(context, model);
  const ModelParts& parts = context.model();
  const std::string query = fields.required_string("query", 65536);
  const std::vector<std::string> documents = read_documents(fields);
  const std::size_t top_n = static_cast<std::size_t>(fields.integer("top_n", 1, 1'000'000).value_or(kMaxDocuments));
  const bool return_documents = fields.boolean("return_documents").value_or(false);
  std::string method = fields.word("method", {"auto", "cosine", "likelihood"}).value_or("auto");
  if (const std::size_t tokens = parts.tokenizer->count(query); tokens > kMaxQueryTokens) {
    fields.fail("query", "has " + std::to_string(tokens) + " tokens, at most " + std::to_string(kMaxQueryTokens) + " are allowed",
                "context_length_exceeded");
  }
  if (method == "auto") method = parts.config->grit_tuned ? "cosine" : "likelihood";

  const auto start = std::chrono::steady_clock::now();
  Scored scored;
  if (method == "cosine") {
    const std::shared_ptr<const Embedder> embedder =
        collection.empty() ? own->get(parts) : context.open_collection(collection, "model").embedder;
    if (!embedder) fields.fail("model", "this collection has no vectors yet");
    scored = by_cosine(*embedder, query, documents, request);
  } else {
    scored = by_likelihood(parts, query, documents, request);
  }
  const double total_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  reply.count_tokens(scored.tokens, 0, 0);
  std::vector<std::size_t> order(documents.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scored.scores[a] > scored.scores[b]; });
  order.resize(std::min(order.size(), top_n));

  JsonOutput json;
  json.begin_object().field("id", random_id("rerank-")).field("object", "list").field("model", model.value_or(context.model_id()));
  json.field("method", method).begin_array("results");
  for (const std::size_t i : order) {
    json.begin_object().field("index", i).field("relevance_score", scored.scores[i]);
    if (return_documents) json.begin_object("document").field("text", documents[i]).end_object();
    json.end_object();
  }
  json.end_array().begin_object("usage").field("prompt_tokens", scored.tokens).field("total_tokens", scored.tokens).end_object();
  json.begin_object("timings").field("total_ms", total_ms).end_object().end_object();
  reply.json(json.text());
}

}  // namespace

void add_rerank_routes(Router& router, ServerContext& context) {
  auto own = std::make_shared<ModelEmbedder>();
  for (const char* path : {"/v1/rerank", "/rerank"}) {
    router.add({.method = "POST",
                .path = path,
                .handler = [&context, own](const Request& request, ReplyWriter& reply) { rerank(context, own, request, reply); },
                .body = BodyKind::kJson,
                .work = Work::kModel});
  }
}

}  // namespace gritstone

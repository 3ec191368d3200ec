// POST /v1/embeddings.
#include <bit>
#include <memory>

#include "apps/json_output.h"
#include "apps/server/api_error.h"
#include "apps/server/base64.h"
#include "apps/server/generation_params.h"
#include "apps/server/model_embedder.h"
#include "apps/server/request_json.h"
#include "apps/server/routes.h"

namespace gritstone {
namespace {

constexpr std::size_t kMaxInputs = 2048;
// More texts than this are work for the background: they give way to questions.
constexpr std::size_t kInteractiveInputs = 8;

std::string decode_ids(const RequestFields& fields, const rapidjson::Value& ids, const std::string& name, const Tokenizer& tokenizer) {
  std::vector<TokenId> tokens;
  for (const rapidjson::Value& id : ids.GetArray()) {
    if (!id.IsInt() || id.GetInt() < 0 || static_cast<std::size_t>(id.GetInt()) >= tokenizer.vocab_size()) {
      fields.fail(name,
                  "token ids must be integers from 0 to " + std::to_string(tokenizer.vocab_size() - 1) + ", of this model's tokenizer");
    }
    tokens.push_back(id.GetInt());
  }
  return tokenizer.decode(tokens);
}

// A string, a list of strings, a list of token ids, or a list of lists of token ids.
std::vector<std::string> read_input(const RequestFields& fields, const Tokenizer& tokenizer) {
  const rapidjson::Value* input = fields.find("input");
  if (input == nullptr) fields.fail("input", "is missing", "missing_required_parameter");
  std::vector<std::string> texts;
  if (input->IsString()) {
    texts.emplace_back(input->GetString(), input->GetStringLength());
  } else if (input->IsArray() && !input->Empty() && (*input)[0].IsNumber()) {
    texts.push_back(decode_ids(fields, *input, "input", tokenizer));
  } else if (input->IsArray()) {
    fields.array("input", kMaxInputs);
    for (rapidjson::SizeType i = 0; i < input->Size(); ++i) {
      const rapidjson::Value& item = (*input)[i];
      const std::string name = "input[" + std::to_string(i) + "]";
      if (item.IsString()) {
        texts.emplace_back(item.GetString(), item.GetStringLength());
      } else if (item.IsArray()) {
        texts.push_back(decode_ids(fields, item, name, tokenizer));
      } else {
        fields.fail(name, "must be a string or a list of token ids", "invalid_type");
      }
      if (texts.back().empty()) fields.fail(name, "is empty");
    }
  } else {
    fields.fail("input", "must be a string, a list of strings, or token ids", "invalid_type");
  }
  if (texts.empty() || (texts.size() == 1 && texts[0].empty())) fields.fail("input", "is empty");
  return texts;
}

void refuse_long_texts(const RequestFields& fields, const std::vector<std::string>& texts, const Embedder& embedder,
                       const Tokenizer& tokenizer) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    // A token is at least one byte, so that most texts need not be tokenised twice.
    if (texts[i].size() <= embedder.max_tokens()) continue;
    const std::size_t tokens = tokenizer.count(texts[i]);
    if (tokens <= embedder.max_tokens()) continue;
    fields.fail("input",
                "text " + std::to_string(i) + " has " + std::to_string(tokens) + " tokens, at most " +
                    std::to_string(embedder.max_tokens()) + " fit; \"truncate\": true cuts it",
                "context_length_exceeded");
  }
}

std::string base64_floats(std::span<const float> row) {
  static_assert(std::endian::native == std::endian::little, "the format is little-endian f32");
  return base64_encode({reinterpret_cast<const std::uint8_t*>(row.data()), row.size_bytes()});
}

void embeddings(ServerContext& context, const std::shared_ptr<ModelEmbedder>& own, const Request& request, ReplyWriter& reply) {
  const rapidjson::Document body = parse_request_json(request.body);
  const RequestFields fields(body);
  const ModelParts& parts = context.model();
  const std::optional<std::string> model = fields.string("model", 512);
  const std::string collection = collection_of_model(context, model);
  const bool base64 = fields.word("encoding_format", {"float", "base64"}).value_or("float") == "base64";
  const bool truncate = fields.boolean("truncate").value_or(false);
  const bool query = fields.word("input_type", {"query", "document"}).value_or("document") == "query";
  const std::vector<std::string> texts = read_input(fields, *parts.tokenizer);
  EmbedRequest wanted;
  wanted.instruction = fields.string("instruction", 4096).value_or("");
  if (!wanted.instruction.empty() && !query) fields.fail("instruction", "belongs to \"input_type\": \"query\"");

  std::shared_ptr<const Embedder> embedder;
  if (collection.empty()) {
    embedder = own->get(parts);
  } else {
    embedder = context.open_collection(collection, "model").embedder;
    if (!embedder) fields.fail("model", "this collection has no vectors yet");
  }
  if (const auto dimensions = fields.integer("dimensions", 1, 1 << 20);
      dimensions && *dimensions != static_cast<std::int64_t>(embedder->dim())) {
    fields.fail("dimensions", "this model's embeddings have " + std::to_string(embedder->dim()) + " dimensions and cannot be shortened");
  }
  if (!truncate) refuse_long_texts(fields, texts, *embedder, *parts.tokenizer);

  wanted.texts = texts;
  wanted.role = query ? TextRole::kQuery : TextRole::kDocument;
  wanted.bulk = texts.size() > kInteractiveInputs;
  wanted.cancel = request.cancel;
  std::vector<float> rows(texts.size() * embedder->dim());
  const auto start = std::chrono::steady_clock::now();
  const EmbedResult result = embedder->embed(wanted, MatrixView<float>(rows.data(), texts.size(), embedder->dim()));
  const double embed_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  context.metrics().observe_stage(Stage::kEmbed, embed_ms);
  std::size_t tokens = 0;
  for (const std::size_t n : result.tokens) tokens += n;
  reply.count_tokens(tokens, 0, 0);

  JsonOutput json;
  json.begin_object().field("object", "list").begin_array("data");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::span<const float> row(rows.data() + i * embedder->dim(), embedder->dim());
    json.begin_object().field("object", "embedding").field("index", i);
    if (base64) {
      json.field("embedding", base64_floats(row));
    } else {
      json.array("embedding", row);
    }
    json.end_object();
  }
  json.end_array().field("model", model.value_or(context.model_id()));
  json.begin_object("usage").field("prompt_tokens", tokens).field("total_tokens", tokens).end_object();
  json.field("truncated", result.truncated());
  json.begin_object("timings").field("embed_ms", embed_ms).end_object().end_object();
  reply.json(json.text());
}

}  // namespace

void add_embedding_routes(Router& router, ServerContext& context) {
  auto own = std::make_shared<ModelEmbedder>();
  router.add({.method = "POST",
              .path = "/v1/embeddings",
              .handler = [&context, own](const Request& request, ReplyWriter& reply) { embeddings(context, own, request, reply); },
              .body = BodyKind::kJson,
              .work = Work::kModel});
}

}  // namespace gritstone

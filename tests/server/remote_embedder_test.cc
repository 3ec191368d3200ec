// An embedder by URL, from one call to a collection that is indexed, searched and answered from with it: against a service in this process.
#include "apps/server/client/remote_embedder.h"

#include <cmath>
#include <future>

#include "apps/json_output.h"
#include "apps/server/client/embedding_reply.h"
#include "base/json.h"
#include "pipelines/answer.h"
#include "pipelines/background_ingest.h"
#include "pipelines/byte_counter.h"
#include "pipelines/embedder_setup.h"
#include "tests/base/expect_error.h"
#include "tests/server/scripted_service.h"
#include "tests/server/server_fixture.h"

namespace gritstone {
namespace {

using Send = ScriptedService::Send;

// Letters counted in eight classes: similar words, similar vectors. Not normalised, so that the client has to.
std::vector<float> letters(const std::string& text) {
  std::vector<float> row(8, 0.01f);
  for (const char c : text) row[static_cast<unsigned char>(c) % 8] += 1;
  return row;
}

// A service with OpenAI's shape. fail: the answer to a request, in place of embeddings; empty: embeddings.
struct FakeEmbedder {
  std::function<std::string(std::size_t number)> fail;
  std::size_t dim = 8;
  std::mutex mutex;
  std::vector<std::string> texts;
  ScriptedService service{[this](const ScriptedRequest& request, const Send& send) { return serve(request, send); }};

  bool serve(const ScriptedRequest& request, const Send& send) {
    if (fail) {
      if (const std::string answer = fail(request.number); !answer.empty()) return send(answer);
    }
    const rapidjson::Document body = parse_json(request.body, "request");
    JsonOutput json;
    json.begin_object().begin_array("data");
    // In reverse: the order is that of the indexes.
    for (rapidjson::SizeType i = body["input"].Size(); i-- > 0;) {
      const std::string text = body["input"][i].GetString();
      {
        const std::lock_guard lock(mutex);
        texts.push_back(text);
      }
      std::vector<float> row = letters(text);
      row.resize(dim, 0.5f);
      json.begin_object().field("index", i).array("embedding", row).end_object();
    }
    json.end_array().begin_object("usage").field("prompt_tokens", 10 * body["input"].Size()).end_object().end_object();
    return send(ScriptedService::answer(200, json.text()));
  }

  RemoteEmbedding remote() const { return {service.url("/v1"), "letters", "q: ", "d: "}; }
  EmbedOverrides overrides() const {
    EmbedOverrides o;
    o.remote = EmbedOverrides::Remote{service.url("/v1"), "letters", "q: ", "d: "};
    return o;
  }
};

EmbedResult embed(const Embedder& embedder, const std::vector<std::string>& texts, std::vector<float>& rows,
                  TextRole role = TextRole::kDocument, std::stop_token stop = {}) {
  rows.assign(texts.size() * embedder.dim(), 0);
  EmbedRequest request;
  request.texts = texts;
  request.role = role;
  request.cancel = std::move(stop);
  return embedder.embed(request, MatrixView<float>(rows.data(), texts.size(), embedder.dim()));
}

TEST(RemoteEmbedder, EmbedsInBatchesInOrderAndNormalised) {
  FakeEmbedder fake;
  const RemoteEmbedder embedder(fake.remote(), 0, {});
  EXPECT_EQ(embedder.dim(), 8u);
  EXPECT_EQ(embedder.model_options(), nullptr);
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < 70; ++i) texts.push_back(std::string(i + 1, static_cast<char>('a' + i % 8)));
  std::vector<float> rows;
  const EmbedResult result = embed(embedder, texts, rows);
  EXPECT_EQ(fake.service.requests(), 1u + 3u) << "one for the dimension, then 32, 32 and 6";
  std::size_t tokens = 0;
  for (const std::size_t t : result.tokens) tokens += t;
  EXPECT_EQ(tokens, 700u) << "the service's own count";
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::vector<float> expected = letters("d: " + texts[i]);
    double norm = 0;
    for (const float v : expected) norm += static_cast<double>(v) * static_cast<double>(v);
    for (std::size_t k = 0; k < 8; ++k) ASSERT_NEAR(rows[i * 8 + k], static_cast<double>(expected[k]) / std::sqrt(norm), 1e-6) << i;
  }
  embed(embedder, {"when?", " "}, rows, TextRole::kQuery);
  const std::lock_guard lock(fake.mutex);
  EXPECT_EQ(fake.texts[fake.texts.size() - 1], "q: when?");
  std::vector<float> wrong(9);
  EmbedRequest request;
  request.texts = std::span(texts).first(1);
  EXPECT_GS_ERROR(embedder.embed(request, MatrixView<float>(wrong.data(), 1, 9)), ErrorCode::kInvalidArgument, "expected [1, 8]");
}

TEST(RemoteEmbedder, TriesAgainWhileTheServiceIsBusyAndSaysWhatItRefuses) {
  FakeEmbedder fake;
  fake.fail = [](std::size_t number) {
    if (number == 0) return ScriptedService::answer(429, "{}", "application/json", "Retry-After: 1\r\n");
    if (number == 1) return ScriptedService::answer(503, "{}");
    return std::string();
  };
  const RemoteEmbedder embedder(fake.remote(), 8, {});
  std::vector<float> rows;
  const auto begun = std::chrono::steady_clock::now();
  embed(embedder, {"x"}, rows);
  EXPECT_EQ(fake.service.requests(), 3u);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(1900)) << "a second as asked for, then one of its own";

  fake.fail = [](std::size_t) {
    return ScriptedService::answer(503, R"({"error":{"message":"loading"}})", "application/json", "Retry-After: 60\r\n");
  };
  EXPECT_GS_ERROR(embed(embedder, {"x"}, rows), ErrorCode::kUnavailable, fake.service.url("/v1/embeddings") + ": status 503: loading");
  fake.fail = [](std::size_t) { return ScriptedService::answer(404, R"({"error":{"message":"no model letters"}})"); };
  EXPECT_GS_ERROR(embed(embedder, {"x"}, rows), ErrorCode::kInvalidArgument, "no model letters");
  fake.fail = [](std::size_t) { return ScriptedService::answer(429, "{}"); };
  std::stop_source stop;
  auto stopped = std::async(std::launch::async, [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stop.request_stop();
  });
  EXPECT_GS_ERROR(embed(embedder, {"x"}, rows, TextRole::kDocument, stop.get_token()), ErrorCode::kCancelled, "busy");
}

TEST(EmbeddingReply, IsCheckedInEveryWay) {
  const auto read = [](const std::string& body, std::size_t texts = 2, std::size_t columns = 0) {
    std::vector<float> rows;
    read_embedding_reply(body, texts, columns, rows);
    return rows;
  };
  EXPECT_EQ(read(R"({"data":[{"index":1,"embedding":[3,4]},{"index":0,"embedding":[1,2]}]})"), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(read(R"({"data":[{"embedding":[1]},{"embedding":[2]}]})"), (std::vector<float>{1, 2})) << "without indexes: as they stand";
  // struct.pack('<2f', 1, -2) in base64.
  EXPECT_EQ(read(R"({"data":[{"index":0,"embedding":"AACAPwAAAMA="}]})", 1), (std::vector<float>{1, -2}));
  for (const auto& [body, part] : {std::pair{"<html>", "not the answer of an embedder"},
                                   {"[]", "\"data\" was expected"},
                                   {R"({"data":{}})", "no list"},
                                   {R"({"data":[{"index":0,"embedding":[1]}]})", "1 embeddings came for 2 texts"},
                                   {R"({"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]})", "came twice"},
                                   {R"({"data":[{"index":0,"embedding":[1]},{"index":2,"embedding":[1]}]})", "no valid index"},
                                   {R"({"data":[{"index":0,"embedding":[1]},{"index":-1,"embedding":[1]}]})", "no valid index"},
                                   {R"({"data":[{"index":0},{"index":1}]})", "embedding 0 is missing"},
                                   {R"({"data":[1,2]})", "data[0] is no object"},
                                   {R"({"data":[{"index":0,"embedding":[]},{"index":1,"embedding":[]}]})", "is empty"},
                                   {R"({"data":[{"index":0,"embedding":["a"]},{"index":1,"embedding":[1]}]})", "no number"},
                                   {R"({"data":[{"index":0,"embedding":[1e39]},{"index":1,"embedding":[1]}]})", "not finite"},
                                   {R"({"data":[{"index":0,"embedding":"AACAPwA="},{"index":1,"embedding":[1]}]})", "no base64"}}) {
    EXPECT_GS_ERROR(read(body), ErrorCode::kUnavailable, part);
  }
  EXPECT_GS_ERROR(read(R"({"data":[{"index":0,"embedding":[1,2]},{"index":1,"embedding":[1]}]})"), ErrorCode::kInvalidArgument,
                  "dimension is 2, the embedder gives 1");
}

class ByUrl : public ServerTest {
 protected:
  ByUrl() {
    files.parts.remote_embedder = [](const RemoteEmbedding& remote, std::size_t dim, const std::stop_token& stop) {
      ServiceClientOptions client;
      client.connect_limit = std::chrono::seconds(2);
      return std::unique_ptr<Embedder>(std::make_unique<RemoteEmbedder>(remote, dim, client, stop));
    };
    no_model.remote_embedder = files.parts.remote_embedder;
  }
  IngestOptions index_options() const {
    IngestOptions o = files.options();
    o.collection = "remote";
    o.embed = fake.overrides();
    return o;
  }
  IngestResult index() { return ingest(*files.store, ByteCounter(), &no_model, index_options()); }
  CollectionInfo info() const { return *files.store->find_collection("remote"); }

  FakeEmbedder fake;
  ModelParts no_model;
};

TEST_F(ByUrl, IndexesAndSearchesWithoutAModel) {
  const IngestResult result = index();
  EXPECT_EQ(result.added, 2u);
  EXPECT_EQ(result.pending, 0u);
  EXPECT_TRUE(result.tuned_embedder);
  EXPECT_EQ(info().dim, 8u);
  const auto manifest = manifest_from_json(info().manifest);
  ASSERT_TRUE(manifest && manifest->remote);
  EXPECT_EQ(*manifest->remote, fake.remote());
  EXPECT_EQ(manifest->dim, 8u);
  EXPECT_FALSE(manifest->statistics) << "another's model is not whitened";
  EXPECT_GT(default_dense_weight(info()), default_dense_weight(*files.store->find_collection("notes")));

  const auto snapshot = files.store->snapshot("remote");
  const auto embedder = open_collection_embedder(no_model, info());
  SearchOptions dense;
  dense.mode = SearchMode::kDense;
  const SearchResult found = search(*snapshot, embedder.get(), "Green tea is not oxidised. Black tea is.", dense);
  ASSERT_FALSE(found.hits.empty());
  EXPECT_NE(found.hits[0].chunk.path.find("tea.txt"), std::string::npos);
  const AnswerResult answered = answer(*snapshot, embedder.get(), files.parts, "How many hearts has an octopus?", {});
  EXPECT_FALSE(answered.answer.empty());

  // Nothing changed, nothing is asked; a collection is remembered as embedded by URL without being told again.
  const std::size_t before = fake.service.requests();
  IngestOptions again = index_options();
  again.embed = {};
  EXPECT_EQ(ingest(*files.store, ByteCounter(), &no_model, again).unchanged, 2u);
  EXPECT_EQ(fake.service.requests(), before);
  files.write("new.txt", "A third text.\n");
  EXPECT_EQ(ingest(*files.store, ByteCounter(), &no_model, again).pending, 0u);
  EXPECT_EQ(fake.service.requests(), before + 1);
}

TEST_F(ByUrl, WhatIsUnreachableLeavesTextAndTheNextRunGoesOn) {
  for (int i = 0; i < 100; ++i) files.write("many/" + std::to_string(i) + ".txt", "Text number " + std::to_string(i) + " of many.\n");
  fake.service.stop();
  EXPECT_GS_ERROR(index(), ErrorCode::kUnavailable, fake.service.url("/v1") + ": connection refused");
  EXPECT_EQ(info().documents, 102u) << "text is committed";
  EXPECT_FALSE(files.store->snapshot("remote")->bm25("octopus", 5).empty());
  EXPECT_EQ(open_collection_embedder(no_model, info()), nullptr) << "no service is asked for a collection without vectors";

  FakeEmbedder moved;  // another port: it is the same service elsewhere
  moved.fail = [](std::size_t number) { return number == 2 ? ScriptedService::answer(500, "{}") : std::string(); };
  IngestOptions elsewhere = index_options();
  elsewhere.embed = moved.overrides();
  EXPECT_GS_ERROR(ingest(*files.store, ByteCounter(), &no_model, elsewhere), ErrorCode::kUnavailable, "status 500");
  elsewhere.embed = {};
  EXPECT_EQ(manifest_from_json(info().manifest)->remote->url, moved.service.url("/v1")) << "where it is now is remembered";
  const IngestResult rest = ingest(*files.store, ByteCounter(), &no_model, elsewhere);
  EXPECT_EQ(rest.pending, 0u);
  EXPECT_EQ(info().embedded_chunks, info().chunks);
}

TEST_F(ByUrl, VectorsThatCameBeforeAFailureAreKept) {
  for (int i = 0; i < 200; ++i) files.write("many/" + std::to_string(i) + ".txt", "Text number " + std::to_string(i) + " of many.\n");
  // The dimension, then 64 texts of the first batch, then nothing more.
  fake.fail = [](std::size_t number) { return number >= 3 ? ScriptedService::answer(500, "{}") : std::string(); };
  EXPECT_GS_ERROR(index(), ErrorCode::kUnavailable, "status 500");
  EXPECT_EQ(info().embedded_chunks, 64u);
  fake.fail = {};
  EXPECT_EQ(index().embedded, info().chunks - 64);
}

TEST_F(ByUrl, RefusesAnotherModelPrefixOrDimension) {
  index();
  const auto refused = [&](const std::function<void(EmbedOverrides&)>& change, const char* part) {
    IngestOptions changed = index_options();
    change(changed.embed);
    EXPECT_GS_ERROR(ingest(*files.store, ByteCounter(), &no_model, changed), ErrorCode::kInvalidArgument, part);
  };
  refused([](EmbedOverrides& o) { o.remote->model = "other"; }, "model is \"letters\" at http://127.0.0.1");
  refused([](EmbedOverrides& o) { o.remote->query_prefix = "query: "; }, "query prefix is \"q: \", this command uses \"query: \"");
  refused([](EmbedOverrides& o) { o.remote->document_prefix = ""; }, "document prefix is \"d: \"");
  refused([](EmbedOverrides& o) { o.pooling = Pooling::kMean; }, "an embedder by URL has its own");
  refused([](EmbedOverrides& o) { o.remote->model = "other"; }, "gritstone collection reembed -c remote");
  // A collection of the model's own is not mixed with it, and the other way round.
  IngestOptions own = files.options();
  own.embed = fake.overrides();
  EXPECT_GS_ERROR(files.index(own), ErrorCode::kInvalidArgument, "this command uses \"letters\" at http://");
  IngestOptions without = index_options();
  without.collection = "new";
  without.embed.remote->model.clear();
  EXPECT_GS_ERROR(ingest(*files.store, ByteCounter(), &no_model, without), ErrorCode::kInvalidArgument, "--embedder-model NAME");

  fake.dim = 12;
  const auto embedder = open_collection_embedder(no_model, info());
  EXPECT_GS_ERROR(search(*files.store->snapshot("remote"), embedder.get(), "tea", {}), ErrorCode::kInvalidArgument,
                  "dimension is 8, the embedder gives 12");
  // Embedding anew asks first, and then takes what it gives.
  IngestOptions anew = index_options();
  fake.service.stop();
  EXPECT_GS_ERROR(reembed(*files.store, no_model, anew), ErrorCode::kUnavailable, "refused");
  EXPECT_EQ(info().embedded_chunks, info().chunks) << "the vectors that were there are still there";
  FakeEmbedder wider;
  wider.dim = 12;
  anew.embed = wider.overrides();
  EXPECT_EQ(reembed(*files.store, no_model, anew).pending, 0u);
  EXPECT_EQ(info().dim, 12u);
}

TEST_F(ByUrl, IsServedAndIndexedInTheBackground) {
  index();
  files.engine.set_script("An octopus has three hearts [1].");
  start();
  const HttpResponse answered =
      post("/v1/answer", R"({"collection":"remote","question":"How many hearts has an octopus?","mode":"dense"})");
  EXPECT_EQ(answered.status, 200) << answered.body;
  const HttpResponse rows = post("/v1/embeddings", R"({"model":"gritstone/remote","input":["green tea"]})");
  EXPECT_EQ(rows.status, 200) << rows.body;
  EXPECT_EQ(rows.json()["data"][0]["embedding"].Size(), 8u);
  // A text that another process left without vector.
  files.write("late.txt", "A text that comes later.\n");
  IngestOptions later = index_options();
  later.dense_now = false;
  ingest(*files.store, ByteCounter(), &no_model, later);
  BackgroundIngest background(*files.store, files.parts);
  EXPECT_TRUE(background.wait_idle(std::chrono::seconds(30)));
  EXPECT_TRUE(eventually([&] { return info().embedded_chunks == info().chunks; }));  // the server computes vectors too
  fake.service.stop();
  const HttpResponse failed = post("/v1/answer", R"({"collection":"remote","question":"What is tea?"})");
  EXPECT_EQ(failed.status, 502) << failed.body;
  EXPECT_NE(failed.error("message").find("embedder does not answer"), std::string::npos);
  // The line is written when the request is let go, which may be after its answer was read.
  EXPECT_TRUE(eventually([&] { return log_text().find("connection refused") != std::string::npos; })) << log_text();
  EXPECT_EQ(post("/v1/answer", R"({"collection":"remote","question":"What is tea?","mode":"bm25"})").status, 200);
}

}  // namespace
}  // namespace gritstone

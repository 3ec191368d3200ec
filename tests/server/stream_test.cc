// Server-sent events: their shapes, clients that leave, clients that do not read.
#include "base/error.h"
#include "tests/server/server_fixture.h"

namespace gritstone {
namespace {

const std::string kChat = R"({"messages":[{"role":"user","content":"Hi"}],"stream":true,"temperature":0,"max_tokens":200)";

class Stream : public ServerTest {
 protected:
  static std::string post_text(const std::string& path, const std::string& body, const std::string& version = "1.1") {
    return "POST " + path + " HTTP/" + version +
           "\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
};

TEST_F(Stream, ChunksToTheLetter) {
  files.engine.set_script("Good day");
  start();
  const HttpResponse r = post("/v1/chat/completions", kChat + R"(,"stream_options":{"include_usage":true}})");
  ASSERT_EQ(r.status, 200) << r.body;
  EXPECT_EQ(r.headers.at("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(r.headers.at("cache-control"), "no-store");
  EXPECT_TRUE(r.complete);
  const std::vector<SseEvent> events = parse_events(r.body);
  ASSERT_GE(events.size(), 5u);
  EXPECT_EQ(events.back().data, "[DONE]");
  std::string id, text;
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    EXPECT_EQ(events[i].name, "");
    const auto chunk = parse_json(events[i].data, "chunk");
    if (id.empty()) id = chunk["id"].GetString();
    EXPECT_EQ(chunk["id"].GetString(), id);
    EXPECT_STREQ(chunk["object"].GetString(), "chat.completion.chunk");
    EXPECT_TRUE(chunk["created"].IsInt64());
    const bool usage_chunk = i + 2 == events.size();
    if (usage_chunk) {
      EXPECT_EQ(chunk["choices"].Size(), 0u);
      EXPECT_EQ(chunk["usage"]["completion_tokens"].GetInt(), 9);
      continue;
    }
    EXPECT_TRUE(chunk["usage"].IsNull());
    const rapidjson::Value& choice = chunk["choices"][0];
    if (i == 0) {
      EXPECT_STREQ(choice["delta"]["role"].GetString(), "assistant");
      EXPECT_STREQ(choice["delta"]["content"].GetString(), "");
    }
    const bool last = i + 3 == events.size();
    if (last) {
      EXPECT_STREQ(choice["finish_reason"].GetString(), "stop");
      EXPECT_FALSE(choice["delta"].HasMember("content"));
      EXPECT_TRUE(chunk.HasMember("timings"));
    } else {
      EXPECT_TRUE(choice["finish_reason"].IsNull());
      text += choice["delta"]["content"].GetString();
    }
  }
  EXPECT_EQ(text, "Good day");
}

TEST_F(Stream, WithoutUsageThereIsNone) {
  start();
  const HttpResponse r = post("/v1/chat/completions", kChat + "}");
  EXPECT_EQ(r.body.find("usage"), std::string::npos);
  EXPECT_EQ(parse_events(r.body).back().data, "[DONE]");
}

TEST_F(Stream, CompletionsStreamToo) {
  files.engine.set_script("abc");
  start();
  const HttpResponse r = post("/v1/completions", R"({"prompt":"x","stream":true,"temperature":0})");
  const std::vector<SseEvent> events = parse_events(r.body);
  std::string text;
  for (const SseEvent& e : events) {
    if (e.data != "[DONE]") text += parse_json(e.data, "chunk")["choices"][0]["text"].GetString();
  }
  EXPECT_EQ(text, "abc");
  EXPECT_EQ(events.back().data, "[DONE]");
}

TEST_F(Stream, AnswerSendsSourcesFirst) {
  start();
  const HttpResponse r = post("/v1/answer", R"({"collection":"notes","question":"How many hearts does an octopus have?","stream":true})");
  const std::vector<SseEvent> events = parse_events(r.body);
  ASSERT_GE(events.size(), 4u);
  EXPECT_EQ(events[0].name, "retrieval");
  const auto retrieval = parse_json(events[0].data, "retrieval");
  ASSERT_GT(retrieval["sources"].Size(), 0u);
  for (const char* member : {"n", "file_id", "path", "heading", "start", "end", "text", "score", "scores"}) {
    EXPECT_TRUE(retrieval["sources"][0].HasMember(member)) << member;
  }
  EXPECT_TRUE(retrieval["generation"].IsUint64());
  std::string text;
  for (std::size_t i = 1; i + 2 < events.size(); ++i) {
    EXPECT_EQ(events[i].name, "delta");
    text += parse_json(events[i].data, "delta")["text"].GetString();
  }
  EXPECT_EQ(events[events.size() - 2].name, "answer");
  const auto answer = parse_json(events[events.size() - 2].data, "answer");
  EXPECT_EQ(answer["answer"].GetString(), text);
  EXPECT_EQ(answer["citations"].Size(), 1u);
  EXPECT_EQ(events.back().name, "done");
  EXPECT_EQ(events.back().data, "[DONE]");
}

TEST_F(Stream, ABudgetIsAnsweredBeforeTheFirstWord) {
  start();
  const std::string question = R"({"collection":"notes","question":"How many hearts does an octopus have?","ttft_budget_ms":)";
  const HttpResponse r = post("/v1/answer", question + R"(60000,"stream":true})");
  const std::vector<SseEvent> events = parse_events(r.body);
  ASSERT_GE(events.size(), 5u);
  EXPECT_EQ(events[0].name, "retrieval");
  EXPECT_EQ(events[1].name, "budget");
  const auto before = parse_json(events[1].data, "budget");
  EXPECT_TRUE(before["fits"].GetBool());
  EXPECT_TRUE(before["actual_ms"].IsNull());
  EXPECT_LE(before["budget_ms"].GetDouble(), 60000) << "less what it waited for a slot";
  EXPECT_EQ(events[2].name, "delta");
  const auto answer = parse_json(events[events.size() - 2].data, "answer");
  EXPECT_TRUE(answer["budget"]["kept"].GetBool());
  EXPECT_EQ(answer["budget"]["actual_ms"].GetDouble(), answer["timings"]["ttft_ms"].GetDouble());
  EXPECT_EQ(answer["budget"]["passages"].GetUint64(), answer["passages"].Size());
  for (const std::string bad : {"0", "-5", "\"soon\"", "4000000"}) EXPECT_EQ(post("/v1/answer", question + bad + "}").status, 400) << bad;
}

TEST_F(Stream, CollectionChatEndsWithAnnotations) {
  start();
  const HttpResponse r =
      post("/v1/chat/completions",
           R"({"model":"gritstone/notes","stream":true,"messages":[{"role":"user","content":"How many hearts does an octopus have?"}]})");
  const std::vector<SseEvent> events = parse_events(r.body);
  ASSERT_GE(events.size(), 3u);
  const auto last = parse_json(events[events.size() - 2].data, "chunk");
  ASSERT_EQ(last["choices"][0]["delta"]["annotations"].Size(), 1u) << events[events.size() - 2].data;
  EXPECT_STREQ(last["gritstone"]["answer"].GetString(), "An octopus has three hearts [1].");
}

TEST_F(Stream, ErrorsBeforeTheFirstEventAreStatuses) {
  start();
  EXPECT_EQ(post("/v1/chat/completions", R"({"messages":[],"stream":true})").status, 400);
  EXPECT_EQ(post("/v1/answer", R"({"collection":"none","question":"a","stream":true})").status, 404);
}

TEST_F(Stream, ErrorsLaterAreEvents) {
  extra_routes = [](Router& r) {
    r.add({.method = "GET", .path = "/test/openai", .handler = [](const Request&, ReplyWriter& reply) {
             reply.start_events(EventStyle::kOpenAi);
             reply.event("one");
             throw Error(ErrorCode::kDevice, "secret detail /etc/x");
           }});
    r.add({.method = "GET", .path = "/test/named", .handler = [](const Request&, ReplyWriter& reply) {
             reply.start_events(EventStyle::kNamed);
             reply.event("a", "two\nlines");
             throw Error(ErrorCode::kInvalidArgument, "wrong");
           }});
    r.add({.method = "GET", .path = "/test/silent", .handler = [](const Request&, ReplyWriter&) {}});
    r.add({.method = "GET", .path = "/test/throws", .handler = [](const Request&, ReplyWriter&) { throw 7; }});
  };
  start();
  const HttpResponse openai = request("GET", "/test/openai");
  EXPECT_TRUE(openai.complete);
  EXPECT_EQ(parse_events(openai.body).size(), 2u);
  EXPECT_NE(openai.body.find("server_error"), std::string::npos);
  EXPECT_EQ(openai.body.find("secret"), std::string::npos);
  ASSERT_TRUE(eventually([&] { return log_text().find("secret detail") != std::string::npos; }));
  const std::vector<SseEvent> named = parse_events(request("GET", "/test/named").body);
  ASSERT_EQ(named.size(), 3u);
  EXPECT_EQ(named[0].data, "two\nlines");
  EXPECT_EQ(named[1].name, "error");
  EXPECT_EQ(named[2].name, "done");
  EXPECT_EQ(request("GET", "/test/silent").status, 500);
  EXPECT_EQ(request("GET", "/test/throws").status, 500);
}

TEST_F(Stream, SilenceIsFilledWithComments) {
  options.limits.ping = std::chrono::milliseconds(20);
  files.engine.set_step_ms(150);
  start();
  const HttpResponse r = post("/v1/chat/completions", R"({"messages":[{"role":"user","content":"Hi"}],"stream":true,"max_tokens":2})");
  EXPECT_NE(r.body.find(": ping\n\n"), std::string::npos) << r.body;
  EXPECT_EQ(parse_events(r.body).back().data, "[DONE]");
}

TEST_F(Stream, Http10GetsAStreamThatEndsWithTheConnection) {
  start();
  HttpClient client(server->port());
  client.send(post_text("/v1/chat/completions", kChat + "}", "1.0"));
  const HttpResponse r = client.response();
  EXPECT_EQ(r.headers.count("transfer-encoding"), 0u);
  EXPECT_EQ(parse_events(r.body).back().data, "[DONE]");
}

TEST_F(Stream, ConnectionsAreKeptAndPipelined) {
  start();
  HttpClient client(server->port());
  EXPECT_EQ(client.request("GET", "/v1/models").status, 200);
  const HttpResponse streamed = client.request("POST", "/v1/chat/completions", kChat + "}");
  EXPECT_TRUE(streamed.complete);
  EXPECT_EQ(client.request("GET", "/health").status, 200);
  const std::string get = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n";
  client.send(get + post_text("/v1/chat/completions", kChat + "}") + get);
  EXPECT_EQ(client.response().status, 200);
  EXPECT_TRUE(client.response().complete);
  EXPECT_EQ(client.response().status, 200);
}

TEST_F(Stream, AConnectionServesAHundredRequests) {
  start();
  HttpClient client(server->port());
  for (int i = 1; i <= 100; ++i) {
    const HttpResponse r = client.request("GET", "/health");
    ASSERT_EQ(r.status, 200) << i;
    EXPECT_EQ(r.headers.count("connection"), i == 100 ? 1u : 0u) << i;
  }
  EXPECT_FALSE(client.receive());
  EXPECT_TRUE(client.closed());
}

TEST_F(Stream, ExpectContinueIsAnswered) {
  start();
  HttpClient client(server->port());
  const std::string body = kChat + "}";
  client.send(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n");
  ASSERT_TRUE(client.receive_until("\r\n\r\n"));
  EXPECT_TRUE(client.buffer().starts_with("HTTP/1.1 100 Continue"));
  client.send(body);
  EXPECT_EQ(client.response().status, 200);
}

// Clients leave while they wait in line, while their prompt is read, at the first token, in the middle, orderly or not.
TEST_F(Stream, WhoLeavesFreesTheSlotAndDisturbsNobody) {
  options.limits.slots = 2;
  files.engine.set_script(std::string(150, 'x'));
  files.engine.set_step_ms(2);
  start();
  const std::string quiet = post("/v1/chat/completions", R"({"messages":[{"role":"user","content":"Hi"}],"temperature":0})")
                                .json()["choices"][0]["message"]["content"]
                                .GetString();
  std::atomic<bool> stop{false};
  std::atomic<int> same{0}, different{0};
  std::thread neighbour([&] {
    while (!stop) {
      const HttpResponse r = post("/v1/chat/completions", R"({"messages":[{"role":"user","content":"Hi"}],"temperature":0})");
      const bool equal = r.status == 200 && r.json()["choices"][0]["message"]["content"].GetString() == quiet;
      ++(equal ? same : different);
    }
  });
  for (int i = 0; i < 60; ++i) {
    auto client = std::make_unique<HttpClient>(server->port());
    const bool streams = i % 2 == 0;
    client->send(post_text("/v1/chat/completions", streams ? kChat + "}" : R"({"messages":[{"role":"user","content":"Hi"}]})"));
    if (i % 3 == 1) std::this_thread::sleep_for(std::chrono::milliseconds(i % 7));
    if (i % 3 == 2 && streams) client->receive_until("\"content\":\"x");
    if (i % 4 < 2) {
      client->reset();
    } else {
      client->close();
    }
  }
  stop = true;
  neighbour.join();
  EXPECT_TRUE(idle());
  EXPECT_GT(same, 0);
  EXPECT_EQ(different, 0);
  EXPECT_GT(context->metrics().disconnects.load(), 30u);
}

TEST_F(Stream, WhoDoesNotReadIsCutOff) {
  options.limits.output_bytes = 64 << 10;
  std::atomic<bool> cancelled{false};
  extra_routes = [&](Router& r) {
    r.add({.method = "GET", .path = "/test/flood", .handler = [&](const Request&, ReplyWriter& reply) {
             reply.start_events(EventStyle::kNamed);
             const std::string piece(1000, 'x');
             try {
               for (int i = 0; i < 1000000; ++i) reply.event("delta", piece);
             } catch (const Error& error) {
               cancelled = error.code() == ErrorCode::kCancelled;
               throw;
             }
           }});
  };
  start();
  HttpClient client(server->port(), 4096);
  client.send("GET /test/flood HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return cancelled.load(); }));
  EXPECT_TRUE(idle());
  EXPECT_EQ(context->metrics().slow_readers.load(), 1u);
  EXPECT_EQ(request("GET", "/health").status, 200);
}

TEST_F(Stream, WhoReadsNothingOfALongAnswerIsCutOffToo) {
  options.limits.write_stall = std::chrono::milliseconds(100);
  extra_routes = [](Router& r) {
    r.add({.method = "GET", .path = "/test/long", .handler = [](const Request&, ReplyWriter& reply) {
             reply.send(200, "text/plain", std::string(64 << 20, 'x'));
           }});
  };
  start();
  HttpClient client(server->port(), 4096);
  client.send("GET /test/long HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_TRUE(eventually([&] { return context->metrics().slow_readers == 1; }));
  EXPECT_TRUE(idle());
}

TEST_F(Stream, SlowSendersAreCutOff) {
  options.limits.head_time = std::chrono::milliseconds(60);
  options.limits.body_time = std::chrono::milliseconds(60);
  options.limits.idle_time = std::chrono::milliseconds(60);
  start();
  HttpClient head(server->port());
  head.send("GET /v1/models HTTP/1.1\r\nHost: loc");
  EXPECT_EQ(head.response().status, 408);
  HttpClient body(server->port());
  body.send("POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{");
  EXPECT_EQ(body.response().status, 408);
  HttpClient silent(server->port());
  EXPECT_FALSE(silent.receive());
  EXPECT_TRUE(silent.closed());
  HttpClient kept(server->port());
  EXPECT_EQ(kept.request("GET", "/health").status, 200);
  EXPECT_FALSE(kept.receive());
  EXPECT_TRUE(kept.closed());
}

}  // namespace
}  // namespace gritstone

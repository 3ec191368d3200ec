// The client side: addresses, events cut anywhere, answers whole, in chunks and cut off, limits, stops, connections kept.
#include "apps/server/client/http_client.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "apps/server/base64.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"
#include "tests/server/scripted_service.h"

namespace gritstone {
namespace {

using Milliseconds = std::chrono::milliseconds;
using Send = ScriptedService::Send;

HttpReply get(ScriptedService& service, ServiceClientOptions options = {}) {
  ServiceClient client(parse_url(service.url()), options);
  HttpCall call;
  call.target = "/x";
  return client.call(call);
}

TEST(HttpUrl, IsReadOrRefused) {
  const HttpUrl url = parse_url("http://localhost:8080/v1/");
  EXPECT_FALSE(url.tls);
  EXPECT_EQ(url.host, "localhost");
  EXPECT_EQ(url.port, "8080");
  EXPECT_EQ(url.text("/embeddings"), "http://localhost:8080/v1/embeddings");
  const HttpUrl tls = parse_url("https://example.org");
  EXPECT_TRUE(tls.tls);
  EXPECT_EQ(tls.port, "443");
  EXPECT_EQ(tls.authority(), "example.org") << "the scheme's own port is not named";
  EXPECT_EQ(parse_url("http://[::1]:80").host, "::1");
  EXPECT_EQ(parse_url("http://[::1]:81/a").text(), "http://[::1]:81/a");
  for (const char* wrong :
       {"", "localhost:8080", "ftp://x", "http://", "http://:80", "http://x:", "http://x:0", "http://x:65536", "http://x:8a",
        "http://x/?q=1", "http://x/#f", "http://[::1", "http://[::1]x", "http://[::1]:", "http://a b/", "http://x/\r\nHost: y"}) {
    EXPECT_GS_ERROR(parse_url(wrong), ErrorCode::kInvalidArgument, "expected http://HOST:PORT/PATH");
  }
  try {
    parse_url("http://user:secret@host/");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos) << error.what();
  }
}

TEST(EventStream, GivesTheSameEventsHoweverItIsCut) {
  const std::string stream =
      "\xEF\xBB\xBF: ping\n\nevent: delta\ndata: one\ndata:two\nid: 7\n\ndata\n\r\ndata: {\"a\":1}\r\n\r\nevent: x\rdata:  y\r\rretry: "
      "5\ndata: z\n\n"
      "event: lost\n\ndata: cut off";
  const std::vector<std::pair<std::string, std::string>> expected{
      {"delta", "one\ntwo"}, {"message", ""}, {"message", "{\"a\":1}"}, {"x", " y"}, {"message", "z"}};
  for (std::size_t size = 1; size <= stream.size(); ++size) {
    std::vector<std::pair<std::string, std::string>> events;
    EventStreamParser parser([&](StreamEvent&& event) { events.emplace_back(event.name, event.data); });
    for (std::size_t i = 0; i < stream.size(); i += size) parser.feed(std::string_view(stream).substr(i, size), {});
    ASSERT_EQ(events, expected) << "in pieces of " << size;
  }
  EventStreamParser parser([](StreamEvent&&) {});
  const std::string piece(1 << 20, 'x');
  EXPECT_GS_ERROR(
      {
        for (int i = 0; i < 17; ++i) parser.feed(piece, {});
      },
      ErrorCode::kUnavailable, "more than 16 MiB");
}

TEST(ServiceClient, ReadsAnswersHoweverTheyAreFramed) {
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
  const std::vector<std::string> answers{
      head + "Content-Length: 5\r\n\r\nhello",
      head + "Transfer-Encoding: chunked\r\n\r\n" + ScriptedService::chunk("he") + ScriptedService::chunk("llo") + "0\r\n\r\n",
      head + "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: t\r\n\r\n",
      head + "Connection: close\r\n\r\nhello",
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + head + "Content-Length: 5\r\n\r\nhello",
  };
  for (const std::string& answer : answers) {
    for (const bool slowly : {false, true}) {
      ScriptedService service([&](const ScriptedRequest&, const Send& send) {
        const std::size_t step = slowly ? 7 : answer.size();
        for (std::size_t i = 0; i < answer.size(); i += step) {
          send(std::string_view(answer).substr(i, step));
          if (slowly) std::this_thread::sleep_for(Milliseconds(1));
        }
        return false;
      });
      const HttpReply reply = get(service);
      EXPECT_EQ(reply.status, 200) << answer;
      EXPECT_EQ(reply.body, "hello") << answer;
      EXPECT_EQ(reply.content_type, "text/plain");
    }
  }
}

TEST(ServiceClient, SendsWhatItShould) {
  std::string head, body;
  ScriptedService service([&](const ScriptedRequest& request, const Send& send) {
    head = request.head;
    body = request.body;
    return send(ScriptedService::answer(429, R"({"error":{"message":"the queue is full"}})", "application/json", "Retry-After: 3\r\n"));
  });
  ServiceClientOptions options;
  options.bearer = "key-123";
  ServiceClient client(parse_url(service.url("/v1")), options);
  HttpCall call;
  call.method = "POST";
  call.target = "/embeddings";
  call.body = "{}";
  const HttpReply reply = client.call(call);
  EXPECT_TRUE(head.starts_with("POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(service.port()) + "\r\n")) << head;
  EXPECT_NE(head.find("\r\nAuthorization: Bearer key-123\r\n"), std::string::npos) << head;
  EXPECT_EQ(body, "{}");
  EXPECT_EQ(reply.retry_after, 3.0);
  EXPECT_FALSE(reply.ok());
  EXPECT_EQ(refusal_text("URL", reply), "URL: status 429: the queue is full");
  EXPECT_GS_ERROR(require_ok("URL", reply), ErrorCode::kUnavailable, "the queue is full");
  EXPECT_GS_ERROR(require_ok("URL", HttpReply{401, "text/plain", "no\nentry", {}}), ErrorCode::kInvalidArgument, "URL: status 401: no");
  EXPECT_GS_ERROR(require_ok("URL", HttpReply{302, "", "", {}}), ErrorCode::kInvalidArgument, "moved elsewhere");
  options.bearer = "key\r\nX: y";
  EXPECT_GS_ERROR(ServiceClient(parse_url(service.url()), options), ErrorCode::kInvalidArgument, "printable");
}

TEST(ServiceClient, SaysWhatWentWrong) {
  const auto failure = [](const std::string& answer, const char* part, ServiceClientOptions options = {}) {
    ScriptedService service([&](const ScriptedRequest&, const Send& send) {
      send(answer);
      return false;
    });
    EXPECT_GS_ERROR(get(service, options), ErrorCode::kUnavailable, part);
    EXPECT_GS_ERROR(get(service, options), ErrorCode::kUnavailable, service.url("/x"));  // the address is named
  };
  failure("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "ended half-way");
  failure("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "ended half-way");
  failure("HTTP/1.1 200 OK\r\nContent-Le", "ended half-way");
  failure("", "closed without an answer");
  failure("SSH-2.0-OpenSSH_9.2\r\n\r\n", "no HTTP");
  failure("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "no HTTP");
  ServiceClientOptions small;
  small.max_body = 1000;
  failure("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", "larger than 1000 B", small);
  failure("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + ScriptedService::chunk(std::string(2000, 'x')), "larger than", small);
  failure("HTTP/1.1 200 OK\r\n\r\n" + std::string(2000, 'x'), "larger than", small);
  failure("HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x'), "no HTTP");

  ScriptedService gone([](const ScriptedRequest&, const Send&) { return false; });
  const std::string url = gone.url();
  gone.stop();
  ServiceClient client(parse_url(url), {});
  HttpCall call;
  EXPECT_GS_ERROR(client.call(call), ErrorCode::kUnavailable, url + ": connection refused");
  ServiceClient nowhere(parse_url("http://no-such-host.invalid"), {});
  EXPECT_GS_ERROR(nowhere.call(call), ErrorCode::kUnavailable, "the host is not known");
}

TEST(ServiceClient, WaitsAsLongAsAllowedAndStopsWhenTold) {
  ScriptedService silent([](const ScriptedRequest&, const Send&) {
    std::this_thread::sleep_for(Milliseconds(400));
    return false;
  });
  ServiceClientOptions options;
  options.silence_limit = Milliseconds(50);
  EXPECT_GS_ERROR(get(silent, options), ErrorCode::kUnavailable, "no answer within 0.05 s");

  ServiceClient client(parse_url(silent.url()), {});
  std::stop_source stop;
  HttpCall call;
  call.stop = stop.get_token();
  const auto begun = std::chrono::steady_clock::now();
  std::thread stopper([&] {
    std::this_thread::sleep_for(Milliseconds(30));
    stop.request_stop();
  });
  EXPECT_GS_ERROR(client.call(call), ErrorCode::kCancelled, "interrupted");
  stopper.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, Milliseconds(350)) << "well before the silence ends";
  EXPECT_GS_ERROR(client.call(call), ErrorCode::kCancelled, "interrupted");  // stopped before it began
}

TEST(ServiceClient, KeepsConnectionsAndReplacesThoseTheServerClosed) {
  ScriptedService service([](const ScriptedRequest& request, const Send& send) {
    send(ScriptedService::answer(200, "{}"));
    return request.number != 2;  // closes without saying so
  });
  ServiceClient client(parse_url(service.url()), {});
  const HttpCall call;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.call(call).status, 200);
  EXPECT_EQ(service.connections(), 1u);
  std::this_thread::sleep_for(Milliseconds(50));
  EXPECT_EQ(client.call(call).status, 200);
  EXPECT_EQ(service.connections(), 2u);
  EXPECT_EQ(service.requests(), 4u);
}

TEST(ServiceClient, HandsOutEventsWithTheTimeTheyCame) {
  ScriptedService service([](const ScriptedRequest&, const Send& send) {
    send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n");
    send(ScriptedService::chunk("event: a\ndata: 1\n\nda"));
    std::this_thread::sleep_for(Milliseconds(60));
    send(ScriptedService::chunk("ta: 2\n\n"));
    send("0\r\n\r\n");
    return true;
  });
  ServiceClient client(parse_url(service.url()), {});
  std::vector<StreamEvent> events;
  HttpCall call;
  call.on_event = [&](StreamEvent&& event) { events.push_back(std::move(event)); };
  const HttpReply reply = client.call(call);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].name, "a");
  EXPECT_EQ(events[1].data, "2");
  EXPECT_GE(events[1].came - events[0].came, Milliseconds(40));
  EXPECT_EQ(reply.body, "");
}

TEST(ClientKey, ComesFromAFileThatOnlyItsOwnerReads) {
  const TempDirectory directory;
  const std::filesystem::path file = directory / "key";
  std::ofstream(file) << "sk-1\nrest\n";
  std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  EXPECT_EQ(client_key(file.string(), "--key", "GRITSTONE_TEST_KEY"), "sk-1");
  std::filesystem::permissions(file, std::filesystem::perms::owner_all | std::filesystem::perms::others_read);
  EXPECT_GS_ERROR(client_key(file.string(), "--key", "GRITSTONE_TEST_KEY"), ErrorCode::kInvalidArgument, "chmod 600");
  EXPECT_GS_ERROR(client_key((directory / "none").string(), "--key", "GRITSTONE_TEST_KEY"), ErrorCode::kNotFound, "--key");
  EXPECT_EQ(client_key("", "--key", "GRITSTONE_TEST_KEY"), "");
  ::setenv("GRITSTONE_TEST_KEY", "two words", 1);
  EXPECT_GS_ERROR(client_key("", "--key", "GRITSTONE_TEST_KEY"), ErrorCode::kInvalidArgument, "GRITSTONE_TEST_KEY: a key");
  ::unsetenv("GRITSTONE_TEST_KEY");
}

// RFC 4648, section 10.
TEST(Base64, DecodesWhatItEncodesAndNothingElse) {
  for (const auto& [text, plain] :
       {std::pair{"", ""}, {"Zg==", "f"}, {"Zm8=", "fo"}, {"Zm9v", "foo"}, {"Zm9vYg==", "foob"}, {"Zm9vYmE=", "fooba"}}) {
    const auto bytes = base64_decode(text);
    ASSERT_TRUE(bytes) << text;
    EXPECT_EQ(std::string(bytes->begin(), bytes->end()), plain);
    EXPECT_EQ(base64_encode(*bytes), text);
  }
  for (const char* wrong : {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm9*", "Zm 9", "Zm9v\n"}) {
    EXPECT_FALSE(base64_decode(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace gritstone

// The end of the server, as SIGTERM asks for it: no new work, what was accepted is finished, what takes too long is told.
#include <atomic>

#include "tests/server/server_fixture.h"

namespace gritstone {
namespace {

const std::string kStream = R"({"messages":[{"role":"user","content":"Hi"}],"stream":true,"max_tokens":4000,"temperature":0})";

class Shutdown : public ServerTest {
 protected:
  static std::string post_text(const std::string& body) {
    return "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body;
  }
};

TEST_F(Shutdown, AnIdleServerEndsAtOnce) {
  start();
  HttpClient kept(server->port());
  EXPECT_EQ(kept.request("GET", "/health").status, 200);
  const std::uint16_t port = server->port();
  EXPECT_TRUE(stop());
  EXPECT_FALSE(kept.receive());
  EXPECT_TRUE(kept.closed());
  EXPECT_FALSE(HttpClient(port).connected());
}

TEST_F(Shutdown, WhileLoadingItEndsToo) {
  start(nullptr, false);
  EXPECT_EQ(request("GET", "/health").status, 503);
  EXPECT_TRUE(stop());
}

TEST_F(Shutdown, StreamsUnderWayAreFinished) {
  files.engine.set_script(std::string(100, 'x'));
  files.engine.set_step_ms(3);
  options.limits.slots = 2;
  start();
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server->port()));
    clients.back()->send(post_text(kStream));
  }
  // Two are being answered, three wait in line.
  ASSERT_TRUE(eventually([&] { return context->metrics().slots_busy == 2 && context->metrics().queue_length == 3; }));
  EXPECT_TRUE(server->stop());
  for (const auto& client : clients) {
    const HttpResponse r = client->response();
    EXPECT_EQ(r.status, 200);
    EXPECT_TRUE(r.complete);
    EXPECT_EQ(parse_events(r.body).back().data, "[DONE]");
  }
}

TEST_F(Shutdown, WhatTakesTooLongEndsWithAnErrorEvent) {
  files.engine.set_script(std::string(4000, 'x'));
  files.engine.set_step_ms(5);
  options.limits.drain = std::chrono::milliseconds(100);
  options.limits.slots = 1;
  start();
  HttpClient stream(server->port()), waiting(server->port());
  stream.send(post_text(kStream));
  ASSERT_TRUE(stream.receive_until("\"content\":\"x"));
  waiting.send(post_text(R"({"messages":[{"role":"user","content":"Hi"}]})"));
  ASSERT_TRUE(eventually([&] { return context->metrics().queue_length == 1; }));
  EXPECT_FALSE(server->stop());
  const HttpResponse r = stream.response();
  EXPECT_TRUE(r.complete);
  EXPECT_NE(parse_events(r.body).back().data.find("the server is stopping"), std::string::npos) << parse_events(r.body).back().data;
  EXPECT_EQ(waiting.response().status, 503);
}

TEST_F(Shutdown, NewRequestsAreRefusedWhileItDrains) {
  files.engine.set_script(std::string(200, 'x'));
  files.engine.set_step_ms(3);
  start();
  HttpClient stream(server->port());
  stream.send(post_text(kStream));
  ASSERT_TRUE(stream.receive_until("\"content\":\"x"));
  const std::uint16_t port = server->port();
  std::thread stopper([&] { EXPECT_TRUE(server->stop()); });
  EXPECT_TRUE(eventually([&] { return context->state() == ServerContext::State::kStopping; }));
  EXPECT_TRUE(eventually([&] { return !HttpClient(port).connected(); }));
  EXPECT_TRUE(stream.response().complete);
  stopper.join();
}

TEST_F(Shutdown, UnderLoadAgainAndAgain) {
  files.engine.set_script(std::string(20, 'x'));
  files.engine.set_step_ms(1);
  for (int round = 0; round < 12; ++round) {
    start();
    std::atomic<int> torn{0}, complete{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < 8; ++i) {
      clients.emplace_back([&, i] {
        for (int n = 0; n < 50; ++n) {
          HttpClient client(server->port());
          if (!client.connected() || !client.send(post_text(i % 2 == 0 ? kStream : R"({"messages":[{"role":"user","content":"Hi"}]})")))
            return;
          const HttpResponse r = client.response();
          // Not accepted any more is fine; half an answer is not.
          if (r.status == 0) return;
          ++(r.complete ? complete : torn);
        }
      });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + 3 * round));
    EXPECT_TRUE(server->stop());
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(torn, 0) << "round " << round;
    stop();
  }
}

TEST_F(Shutdown, PartsWithThreadsAreTold) {
  start(nullptr, false);
  std::atomic<int> ready{0}, stopping{0};
  context->when_ready([&] { ++ready; });
  context->when_stopping([&] { ++stopping; });
  EXPECT_EQ(ready, 0);
  context->set_model(files.parts, "tiny");
  EXPECT_EQ(ready, 1);
  context->when_ready([&] { ++ready; });
  EXPECT_EQ(ready, 2);
  EXPECT_EQ(stopping, 0);
  server->stop();
  EXPECT_EQ(stopping, 1);
}

}  // namespace
}  // namespace gritstone

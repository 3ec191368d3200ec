// More work than slots: refusals come at once, what was accepted is finished, and nobody's answer depends on the others.
#include <atomic>
#include <future>

#include "apps/server/work_queue.h"
#include "tests/server/server_fixture.h"

namespace gritstone {
namespace {

std::string chat(const std::string& text, int max_tokens) {
  return R"({"messages":[{"role":"user","content":")" + text + R"("}],"temperature":0,"max_tokens":)" + std::to_string(max_tokens) + "}";
}

class Overload : public ServerTest {};

TEST_F(Overload, RefusesBeforeAnyWorkAndFinishesTheRest) {
  options.limits.slots = 2;
  options.limits.queue = 3;
  files.engine.set_script(std::string(40, 'x'));
  files.engine.set_step_ms(5);
  start();
  const std::size_t before = files.engine.jobs();
  std::atomic<int> done{0}, refused{0}, other{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 24; ++i) {
    clients.emplace_back([&] {
      const HttpResponse r = post("/v1/chat/completions", chat("Hi", 40));
      if (r.status == 200 && r.complete) {
        ++done;
      } else if (r.status == 429 && r.headers.contains("retry-after") && r.error("type") == "rate_limit_error") {
        ++refused;
      } else {
        ++other;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(other, 0);
  EXPECT_GE(done, 5);
  EXPECT_GT(refused, 0);
  EXPECT_EQ(done + refused, 24);
  EXPECT_EQ(files.engine.jobs() - before, static_cast<std::size_t>(done)) << "what was refused never reached the model";
  EXPECT_EQ(context->metrics().refused_queue_full.load(), static_cast<std::uint64_t>(refused));
  EXPECT_TRUE(idle());
}

TEST_F(Overload, LightRequestsAreAnsweredMeanwhile) {
  options.limits.slots = 1;
  options.limits.queue = 0;
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  extra_routes = [&](Router& r) {
    r.add({.method = "GET",
           .path = "/test/hold",
           .handler =
               [released](const Request&, ReplyWriter& reply) {
                 released.wait();
                 reply.json("{}");
               },
           .work = Work::kModel});
  };
  start();
  HttpClient holder(server->port());
  holder.send("GET /test/hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return context->metrics().slots_busy == 1; }));
  EXPECT_EQ(request("GET", "/health").status, 200);
  EXPECT_EQ(request("GET", "/v1/models").status, 200);
  EXPECT_EQ(post("/v1/chat/completions", chat("Hi", 1)).status, 429);
  release.set_value();
  EXPECT_EQ(holder.response().status, 200);
  EXPECT_TRUE(idle());
  EXPECT_EQ(post("/v1/chat/completions", chat("Hi", 1)).status, 200);
}

TEST_F(Overload, WhoWaitsTooLongIsRefusedAndWhoLeavesTheLineIsGone) {
  options.limits.slots = 1;
  options.limits.queue = 8;
  options.limits.queue_wait = std::chrono::milliseconds(100);
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::atomic<int> runs{0};
  extra_routes = [&](Router& r) {
    r.add({.method = "GET",
           .path = "/test/hold",
           .handler =
               [&runs, released](const Request&, ReplyWriter& reply) {
                 ++runs;
                 released.wait();
                 reply.json("{}");
               },
           .work = Work::kModel});
  };
  start();
  const std::string get = "GET /test/hold HTTP/1.1\r\nHost: localhost\r\n\r\n";
  HttpClient holder(server->port());
  holder.send(get);
  ASSERT_TRUE(eventually([&] { return runs == 1; }));
  HttpClient leaver(server->port());
  leaver.send(get);
  ASSERT_TRUE(eventually([&] { return context->metrics().queue_length == 1; }));
  leaver.close();
  EXPECT_TRUE(eventually([&] { return context->metrics().queue_length == 0; }));
  const HttpResponse late = request("GET", "/test/hold");
  EXPECT_EQ(late.status, 429);
  EXPECT_NE(late.headers.count("retry-after"), 0u);
  EXPECT_EQ(context->metrics().refused_queue_wait.load(), 1u);
  release.set_value();
  EXPECT_EQ(holder.response().status, 200);
  EXPECT_TRUE(idle());
  EXPECT_EQ(runs, 1);
}

TEST_F(Overload, DeadlinesEndRequestsWhereverTheyAre) {
  options.limits.slots = 1;
  options.limits.deadline = std::chrono::milliseconds(150);
  files.engine.set_script(std::string(4000, 'x'));
  files.engine.set_step_ms(5);
  start();
  // The first is being written, the second waits in line.
  std::vector<std::thread> clients;
  std::atomic<int> timed_out{0};
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back([&] {
      const HttpResponse r = post("/v1/chat/completions", chat("Hi", 4000));
      timed_out += r.status == 504 && r.error("type") == "timeout_error" ? 1 : 0;
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(timed_out, 2);
  EXPECT_TRUE(idle());
  EXPECT_EQ(context->metrics().deadlines.load(), 2u);
  const HttpResponse streamed =
      post("/v1/chat/completions", R"({"messages":[{"role":"user","content":"a"}],"stream":true,"max_tokens":4000})");
  EXPECT_EQ(streamed.status, 200);
  EXPECT_NE(parse_events(streamed.body).back().data.find("timeout_error"), std::string::npos);
}

class TinyOverload : public TinyServerTest {};

TEST_F(TinyOverload, AnswersAreThoseOfTheSameRequestAlone) {
  options.limits.slots = 6;
  options.limits.queue = 64;
  start(&parts);
  const auto body = [](int i) {
    return chat("Question number " + std::to_string(i) + std::string(static_cast<std::size_t>(i) * 17, 'q'), 24);
  };
  const auto content = [&](const HttpResponse& r) {
    return r.status == 200 ? std::string(r.json()["choices"][0]["message"]["content"].GetString()) : "status " + std::to_string(r.status);
  };
  constexpr int kRequests = 8;
  std::vector<std::string> alone;
  for (int i = 0; i < kRequests; ++i) alone.push_back(content(post("/v1/chat/completions", body(i))));
  const std::string embed = R"({"input":["one","two","three","four","five","six","seven","eight","nine","ten","eleven","twelve"]})";
  const std::string embedded = post("/v1/embeddings", embed).json()["data"][3]["embedding"][0].IsNumber() ? "yes" : "no";
  EXPECT_EQ(embedded, "yes");
  const auto vectors = [&](const HttpResponse& r) { return r.body.substr(0, r.body.find("\"usage\"")); };
  const std::string vectors_alone = vectors(post("/v1/embeddings", embed));
  std::vector<std::string> together(kRequests);
  std::vector<std::thread> clients;
  for (int i = 0; i < kRequests; ++i) {
    clients.emplace_back([&, i] { together[static_cast<std::size_t>(i)] = content(post("/v1/chat/completions", body(i))); });
  }
  clients.emplace_back([&] {
    for (int i = 0; i < 5; ++i) EXPECT_EQ(vectors(post("/v1/embeddings", embed)), vectors_alone);
  });
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(together, alone);
  EXPECT_TRUE(idle());
}

TEST_F(TinyOverload, ADisconnectFreesTheEnginesPages) {
  options.limits.slots = 2;
  start(&parts);
  for (int i = 0; i < 20; ++i) {
    HttpClient client(server->port());
    const std::string body = R"({"messages":[{"role":"user","content":"go"}],"stream":true,"max_tokens":1900,"temperature":1,"seed":1})";
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    client.receive_until("\"delta\"");
  }
  EXPECT_TRUE(idle());
  // 20 times 1,900 slots are more than the pool has: this would fail if they had not come back.
  EXPECT_EQ(post("/v1/chat/completions", chat("still there?", 4)).status, 200);
}

TEST(WorkQueues, RunInOrderRefuseWhenFullAndForgetTheCancelled) {
  WorkQueue queue(1, 2);
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::vector<int> order;
  std::atomic<bool> started{false};
  ASSERT_TRUE(queue.submit(1, [&, released] {
    started = true;
    released.wait();
    order.push_back(1);
  }));
  ASSERT_TRUE(eventually([&] { return started.load(); }));
  EXPECT_TRUE(queue.submit(2, [&] { order.push_back(2); }));
  EXPECT_TRUE(queue.submit(3, [&] { order.push_back(3); }));
  EXPECT_FALSE(queue.submit(4, [&] { order.push_back(4); })) << "two wait already";
  EXPECT_GE(queue.retry_after_seconds(), 1);
  EXPECT_TRUE(queue.cancel(2));
  EXPECT_FALSE(queue.cancel(2));
  EXPECT_FALSE(queue.cancel(1)) << "it has started";
  EXPECT_TRUE(queue.submit(5, [&] { order.push_back(5); }));
  release.set_value();
  ASSERT_TRUE(eventually([&] { return queue.waiting() == 0 && queue.busy() == 0; }));
  queue.stop();
  EXPECT_EQ(order, (std::vector<int>{1, 3, 5}));
  EXPECT_FALSE(queue.submit(6, [] {}));
}

}  // namespace
}  // namespace gritstone

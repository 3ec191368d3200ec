// eval latency --url: a real server and scripted ones, measured from outside.
#include "apps/server/client/service_under_load.h"

#include <algorithm>

#include "pipelines/latency_summary.h"
#include "tests/base/expect_error.h"
#include "tests/server/scripted_service.h"
#include "tests/server/server_fixture.h"

namespace gritstone {
namespace {

using Milliseconds = std::chrono::milliseconds;
using Send = ScriptedService::Send;

ServiceOptions asking(const std::string& url) {
  ServiceOptions service;
  service.url = url;
  service.questions = {"How many hearts has an octopus?", "What is green tea?"};
  service.collection = "notes";
  service.abstain = false;
  return service;
}

std::vector<RequestRecord> measure(ServiceUnderLoad& service, std::size_t n, std::size_t clients) {
  SteadyClock clock;
  return run_closed_loop(n, clients, clock, [&](std::size_t i, LoadClock& c) { return service.ask(i, c); });
}

class UnderLoad : public ServerTest {
 protected:
  ServiceOptions here() const { return asking("http://127.0.0.1:" + std::to_string(server->port())); }
};

TEST_F(UnderLoad, MeasuresWhatItsClientSees) {
  files.engine.set_step_ms(4);
  start();
  const auto service = make_service_under_load(here(), {});
  service->check();
  const ServiceUsage before = service->usage();
  EXPECT_GT(before.cpu_seconds.value_or(0), 0);
  EXPECT_GT(before.resident_bytes.value_or(0), 1e6);
  const auto records = measure(*service, 6, 2);
  ASSERT_EQ(records.size(), 6u);
  for (const RequestRecord& r : records) {
    ASSERT_TRUE(r.ok) << r.error;
    EXPECT_GT(r.tokens, 10u);
    EXPECT_GT(r.pieces.size(), 2u);
    EXPECT_GT(r.first_token, r.begun + 0.004) << "no token before the first step";
    EXPECT_GE(r.ended, r.pieces.back());
    EXPECT_TRUE(std::is_sorted(r.pieces.begin(), r.pieces.end()));
    EXPECT_EQ(r.first_token, r.pieces.front());
    for (const char* stage : {"prefill_ms", "decode_ms", "bm25_ms"}) EXPECT_GT(r.stages.count(stage), 0u) << stage;
    EXPECT_EQ(r.stages.count("total_ms") + r.stages.count("ttft_ms") + r.stages.count("retrieve_ms"), 0u) << "sums are no stages";
    EXPECT_LT(r.stages.at("prefill_ms") + r.stages.at("decode_ms"), 1e3 * (r.ended - r.begun)) << "milliseconds";
  }
  const LatencySummary summary = summarise_latency(records, {});
  EXPECT_EQ(summary.completed, 6u);
  EXPECT_EQ(summary.ttft_ms.n, 6u);
  EXPECT_TRUE(idle());
}

TEST_F(UnderLoad, OpenAisChatIsMeasuredTheSameWay) {
  start();
  for (const char* path : {"", "/v1"}) {
    ServiceOptions asked = here();
    asked.url += path;
    asked.api = ServiceOptions::Api::kChat;
    asked.model = "gritstone/notes";
    const auto service = make_service_under_load(asked, {});
    service->check();
    const auto records = measure(*service, 2, 1);
    ASSERT_TRUE(records[0].ok) << records[0].error;
    EXPECT_GT(records[0].tokens, 10u);
    EXPECT_GT(records[0].first_token, 0);
    EXPECT_GT(records[0].stages.count("decode_ms"), 0u) << "a collection's chat says how long what took";
    asked.model = "tiny";
    const auto plain = make_service_under_load(asked, {});
    const auto chat = measure(*plain, 1, 1);
    ASSERT_TRUE(chat[0].ok) << chat[0].error;
    EXPECT_GT(chat[0].stages.count("decode_ms"), 0u);
  }
}

TEST_F(UnderLoad, RefusalsAreCountedByMessage) {
  options.limits.slots = 1;
  options.limits.queue = 0;
  files.engine.set_step_ms(30);
  start();
  const auto service = make_service_under_load(here(), {});
  const auto records = measure(*service, 8, 8);
  const LatencySummary summary = summarise_latency(records, {});
  EXPECT_GE(summary.completed, 1u);
  EXPECT_GE(summary.failed, 1u);
  ASSERT_EQ(summary.errors.size(), 1u) << "one reason, one message";
  EXPECT_NE(summary.errors.begin()->first.find("/v1/answer: status 429: "), std::string::npos) << summary.errors.begin()->first;
}

TEST_F(UnderLoad, WhatCannotBeAskedIsSaidBeforeTheLoad) {
  options.api_keys = {"secret-key"};
  start(nullptr, false);
  ServiceClientOptions client;
  client.bearer = "secret-key";
  EXPECT_GS_ERROR(make_service_under_load(here(), client)->check(), ErrorCode::kUnavailable, "/ready: status 503: Loading model");
  context->set_model(files.parts, "tiny");
  EXPECT_NO_THROW(make_service_under_load(here(), client)->check());
  EXPECT_GS_ERROR(make_service_under_load(here(), {})->check(), ErrorCode::kInvalidArgument, "/v1/models: status 401");
  ServiceOptions wrong = here();
  wrong.collection = "nowhere";
  const auto records = measure(*make_service_under_load(wrong, client), 1, 1);
  EXPECT_NE(records[0].error.find("status 404: there is no collection nowhere"), std::string::npos) << records[0].error;
  wrong.api = ServiceOptions::Api::kChat;
  EXPECT_GS_ERROR(make_service_under_load(wrong, client), ErrorCode::kInvalidArgument, "--request-model");
  const std::string url = here().url;
  stop();
  EXPECT_GS_ERROR(make_service_under_load(asking(url), client)->check(), ErrorCode::kUnavailable, url + ": connection refused");
}

const char kHead[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

TEST(ServiceUnderLoad, AServiceThatDiesHalfWayLeavesWhatWasMeasured) {
  ScriptedService service([&](const ScriptedRequest& request, const Send& send) {
    send(kHead);
    send(ScriptedService::chunk("event: delta\ndata: {\"text\":\"Three\"}\n\n"));
    if (request.number >= 3) return false;
    send(ScriptedService::chunk(
        "event: answer\ndata: {\"usage\":{\"completion_tokens\":7},\"timings\":{\"decode_ms\":1.5,\"total_ms\":9}}\n\n"));
    send(ScriptedService::chunk("event: done\ndata: [DONE]\n\n") + "0\r\n\r\n");
    return true;
  });
  const auto under_load = make_service_under_load(asking(service.url()), {});
  std::vector<RequestRecord> records = measure(*under_load, 5, 1);
  service.stop();
  const auto after = measure(*under_load, 2, 1);
  records.insert(records.end(), after.begin(), after.end());
  const LatencySummary summary = summarise_latency(records, {});
  EXPECT_EQ(summary.completed, 3u);
  EXPECT_EQ(summary.failed, 4u);
  EXPECT_EQ(records[0].tokens, 7u);
  EXPECT_EQ(records[0].stages, (std::map<std::string, double>{{"decode_ms", 1.5}}));
  EXPECT_EQ(summary.errors.at(service.url("/v1/answer") + ": the connection ended half-way through the answer"), 2u);
  EXPECT_EQ(summary.errors.at(service.url() + ": connection refused; is the service running?"), 2u);
  EXPECT_EQ(summary.e2e_ms.n, 3u) << "failures enter no distribution";
}

TEST(ServiceUnderLoad, SlowServicesAndThoseWithoutFigures) {
  ScriptedService service([&](const ScriptedRequest& request, const Send& send) {
    if (request.body.empty()) return send(ScriptedService::answer(404, "{}"));
    std::this_thread::sleep_for(Milliseconds(60));
    send(kHead);
    send(ScriptedService::chunk("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"));
    for (int i = 0; i < 3; ++i) {
      std::this_thread::sleep_for(Milliseconds(30));
      send(ScriptedService::chunk("data: {\"choices\":[{\"delta\":{\"content\":\"word \"}}],\"usage\":null}\n\n"));
    }
    return send(ScriptedService::chunk("data: [DONE]\n\n") + "0\r\n\r\n");
  });
  ServiceOptions options = asking(service.url("/v1"));
  options.api = ServiceOptions::Api::kChat;
  options.model = "any";
  const auto under_load = make_service_under_load(options, {});
  EXPECT_NO_THROW(under_load->check()) << "not every service lists its models";
  EXPECT_FALSE(under_load->usage().cpu_seconds) << "nothing is presented as the service's that it did not say";
  const auto records = measure(*under_load, 1, 1);
  ASSERT_TRUE(records[0].ok) << records[0].error;
  EXPECT_EQ(records[0].tokens, 3u) << "pieces, where there is no usage";
  ASSERT_EQ(records[0].pieces.size(), 3u) << "an empty piece is no text";
  EXPECT_GE(records[0].first_token - records[0].begun, 0.085);
  EXPECT_GE(records[0].pieces[2] - records[0].pieces[0], 0.05);
  EXPECT_NE(service.bodies().back().find(R"("stream_options":{"include_usage":true})"), std::string::npos);
}

TEST(ServiceUnderLoad, ErrorsInTheStreamAndOddAnswers) {
  const auto error_of = [](const std::string& answer) {
    ScriptedService service([&](const ScriptedRequest&, const Send& send) { return send(answer); });
    const auto under_load = make_service_under_load(asking(service.url()), {});
    const auto records = measure(*under_load, 1, 1);
    EXPECT_FALSE(records[0].ok);
    return records[0].error;
  };
  EXPECT_NE(error_of(std::string(kHead) + ScriptedService::chunk("event: error\ndata: {\"error\":{\"message\":\"out of memory\"}}\n\n") +
                     "0\r\n\r\n")
                .find("/v1/answer: out of memory"),
            std::string::npos);
  EXPECT_NE(
      error_of(std::string(kHead) + ScriptedService::chunk("event: delta\ndata: {}\n\n") + "0\r\n\r\n").find("the answer ended half-way"),
      std::string::npos);
  EXPECT_NE(error_of(std::string(kHead) + ScriptedService::chunk("data: {oops\n\n") + "0\r\n\r\n").find("an event is no JSON"),
            std::string::npos);
  EXPECT_NE(error_of(ScriptedService::answer(200, "{}")).find("a stream of events was expected, application/json came"), std::string::npos);
}

}  // namespace
}  // namespace gritstone

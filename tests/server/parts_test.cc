// The parts that need no socket: heads, routes, figures, ids.
#include "apps/server/base64.h"
#include "apps/server/http_head.h"
#include "apps/server/metrics.h"
#include "apps/server/router.h"
#include "apps/server/trace_context.h"
#include "tests/server/server_fixture.h"

namespace gritstone {
namespace {

Route route(const char* method, const char* path) {
  return {.method = method, .path = path, .handler = [](const Request&, ReplyWriter&) {}};
}

TEST(Routes, MatchBySegmentsAndDecodeAfterwards) {
  Router router;
  router.add(route("GET", "/v1/things"));
  router.add(route("POST", "/v1/things"));
  router.add(route("GET", "/v1/things/{id}"));
  router.add(route("GET", "/v1/things/special"));
  router.add(route("DELETE", "/v1/things/{id}/parts/{part}"));
  EXPECT_EQ(router.match("GET", "/v1/things").route->path, "/v1/things");
  EXPECT_EQ(router.match("HEAD", "/v1/things").route->method, "GET");
  const Router::Match one = router.match("GET", "/v1/things/a%2Fb%20c");
  EXPECT_EQ(one.params.at("id"), "a/b c");
  EXPECT_EQ(router.match("GET", "/v1/things/special").route->path, "/v1/things/special") << "literals win";
  const Router::Match two = router.match("DELETE", "/v1/things/x/parts/y");
  EXPECT_EQ(two.params.at("id"), "x");
  EXPECT_EQ(two.params.at("part"), "y");
  EXPECT_EQ(router.match("PUT", "/v1/things").route, nullptr);
  EXPECT_EQ(router.match("PUT", "/v1/things").allowed, (std::vector<std::string>{"GET", "HEAD", "OPTIONS", "POST"}));
  for (const char* path : {"", "x", "/v1", "/v1/things/", "/v1/things//parts/y", "/v1/things/%", "/v1/things/%00", "/v1/things/a/b"}) {
    EXPECT_TRUE(router.match("GET", path).allowed.empty()) << path;
  }
}

TEST(Routes, PercentDecoding) {
  EXPECT_EQ(percent_decode("a%20b+c"), "a b+c");
  EXPECT_EQ(percent_decode("a%20b+c", true), "a b c");
  for (const char* bad : {"%", "%2", "%zz", "a%0", "%00"}) EXPECT_FALSE(percent_decode(bad)) << bad;
}

TEST(Heads, WhatIsRead) {
  const HeadResult r = parse_head(
      "POST /a/b?x=1&y=%20z HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\nX-Thing:  spaced \r\nExpect: 100-Continue\r\nConnection: "
      "Close\r\n\r\n",
      64);
  ASSERT_TRUE(r.head) << r.error.message;
  EXPECT_EQ(r.head->method, "POST");
  EXPECT_EQ(r.head->path, "/a/b");
  EXPECT_EQ(r.head->query, "x=1&y=%20z");
  EXPECT_EQ(r.head->content_length, 12u);
  EXPECT_EQ(r.head->field("x-thing"), "spaced");
  EXPECT_TRUE(r.head->expects_continue);
  EXPECT_FALSE(r.head->keep_alive);
  EXPECT_FALSE(parse_head("GET / HTTP/1.0\r\nHost: h\r\n\r\n", 64).head->keep_alive);
  const auto query = parse_query("a=1&b&=c&a=%41");
  ASSERT_TRUE(query);
  EXPECT_EQ(query->size(), 4u);
  EXPECT_EQ((*query)[3].second, "A");
  EXPECT_FALSE(parse_query("a=%"));
}

TEST(Heads, TheEndIsFoundOnlyWhenItIsThere) {
  std::optional<HeadError> error;
  const std::string head = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  for (std::size_t n = 1; n < head.size(); ++n) {
    EXPECT_FALSE(find_head_end(head.substr(0, n), 8192, error)) << n;
    EXPECT_FALSE(error) << n << " " << error->message;
  }
  EXPECT_EQ(find_head_end(head + "body\nwith\nlines", 8192, error), head.size());
  EXPECT_FALSE(error);
  EXPECT_FALSE(find_head_end(head, 10, error));
  EXPECT_EQ(error->status, 431);
}

TEST(Figures, HistogramsAddUp) {
  Histogram histogram;
  for (const double seconds : {0.0005, 0.003, 0.2, 100.0}) histogram.observe(seconds);
  std::string out;
  histogram.write(out, "h", "a=\"b\"");
  EXPECT_NE(out.find("h_bucket{a=\"b\",le=\"0.001\"} 1\n"), std::string::npos) << out;
  EXPECT_NE(out.find("h_bucket{a=\"b\",le=\"0.005\"} 2\n"), std::string::npos);
  EXPECT_NE(out.find("h_bucket{a=\"b\",le=\"30\"} 3\n"), std::string::npos);
  EXPECT_NE(out.find("h_bucket{a=\"b\",le=\"+Inf\"} 4\n"), std::string::npos);
  EXPECT_NE(out.find("h_count{a=\"b\"} 4\n"), std::string::npos);
  EXPECT_NE(out.find("h_sum{a=\"b\"} 100.2035\n"), std::string::npos) << out;
}

TEST(Ids, TraceContext) {
  const std::string good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  EXPECT_EQ(trace_id(good), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(trace_id("01" + good.substr(2) + "-more"), "0af7651916cd43dd8448eb211c80319c");
  for (const std::string& bad :
       {std::string(), good.substr(1), good + "x", "ff" + good.substr(2), "00-" + std::string(32, '0') + good.substr(35),
        good.substr(0, 36) + std::string(16, '0') + "-01", "00-0AF7651916cd43dd8448eb211c80319c" + good.substr(35)}) {
    EXPECT_EQ(trace_id(bad), "") << bad;
  }
}

TEST(Ids, Base64) {
  const auto encode = [](const std::string& text) { return base64_encode(as_bytes(text)); };
  EXPECT_EQ(encode(""), "");
  EXPECT_EQ(encode("f"), "Zg==");
  EXPECT_EQ(encode("fo"), "Zm8=");
  EXPECT_EQ(encode("foo"), "Zm9v");
  EXPECT_EQ(encode(std::string("\xff\xfe\x00", 3)), "//4A");
}

}  // namespace
}  // namespace gritstone

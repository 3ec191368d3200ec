// Raw bytes that are not what HTTP or the routes want: each gets a 4xx or a closed connection, and the server goes on.
#include <gmock/gmock.h>

#include <set>

#include "tests/server/server_fixture.h"

namespace gritstone {
namespace {

struct Case {
  std::string name;
  std::string bytes;
  std::set<int> expected;  // statuses; 0: closed without an answer
};

std::string get(const std::string& headers, const std::string& target = "/v1/models", const std::string& version = "HTTP/1.1") {
  return "GET " + target + " " + version + "\r\n" + headers + "\r\n";
}
std::string post(const std::string& body, const std::string& headers = "Content-Type: application/json\r\n",
                 const std::string& path = "/v1/chat/completions") {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}
const std::string kHost = "Host: localhost\r\n";

std::vector<Case> head_cases() {
  const std::string post_head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  return {
      {"no method", " /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}},
      {"lower-case method", "get /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}},
      {"method with digits", "G3T /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}},
      {"long method", std::string(40, 'A') + " / HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}},
      {"unknown method", "BREW /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}},
      {"TRACE", "TRACE /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}},
      {"PUT", "PUT /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", {405}},
      {"PATCH", "PATCH /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", {405}},
      {"DELETE of a list", "DELETE /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", {405}},
      {"CONNECT", "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 405}},
      {"TLS hello", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), {400}},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}},
      {"zero bytes", std::string(20, '\0'), {400}},
      {"high bytes", "\xff\xfe\xfd\xfc /", {400}},
      {"bare line feeds", "GET /v1/models HTTP/1.1\nHost: localhost\n\n", {400}},
      {"one bare line feed", "GET /v1/models HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", {400}},
      {"bare carriage return", "GET /v1/models HTTP/1.1\rHost: localhost\r\n\r\n", {400, 505}},
      {"no version", "GET /v1/models\r\nHost: localhost\r\n\r\n", {400}},
      {"HTTP/0.9", get(kHost, "/v1/models", "HTTP/0.9"), {400, 505}},
      {"HTTP/1.2", get(kHost, "/v1/models", "HTTP/1.2"), {400, 505}},
      {"HTTP/2.0", get(kHost, "/v1/models", "HTTP/2.0"), {400, 505}},
      {"HTTP/11", get(kHost, "/v1/models", "HTTP/11"), {400, 505}},
      {"http/1.1", get(kHost, "/v1/models", "http/1.1"), {400, 505}},
      {"XTTP/1.1", get(kHost, "/v1/models", "XTTP/1.1"), {400, 505}},
      {"version with sign", get(kHost, "/v1/models", "HTTP/1.+1"), {400, 505}},
      {"two blanks before version", "GET /v1/models  HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 505}},
      {"blank in the target", "GET /v1/ models HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 505}},
      {"tab in the request line", "GET\t/v1/models\tHTTP/1.1\r\nHost: localhost\r\n\r\n", {400}},
      {"no host", get(""), {421}},
      {"HTTP/1.0 without host", get("", "/v1/models", "HTTP/1.0"), {421}},
      {"empty host", get("Host:\r\n"), {421}},
      {"blank host", get("Host:  \r\n"), {421}},
      {"two hosts", get(kHost + kHost), {400, 421}},
      {"two hosts that differ", get(kHost + "Host: evil.example\r\n"), {400, 421}},
      {"other host", get("Host: evil.example\r\n"), {421}},
      {"only a port", get("Host: :8080\r\n"), {421}},
      {"host that starts right", get("Host: localhost.evil.example\r\n"), {421}},
      {"host with user", get("Host: localhost@evil.example\r\n"), {421}},
      {"host with path", get("Host: localhost/x\r\n"), {421}},
      {"host with bad port", get("Host: localhost:80a\r\n"), {421}},
      {"host with long port", get("Host: localhost:8080808080\r\n"), {421}},
      {"host list", get("Host: localhost, evil.example\r\n"), {421}},
      {"unclosed bracket", get("Host: [::1\r\n"), {421}},
      {"other IPv4", get("Host: 10.0.0.1\r\n"), {421}},
      {"IPv4 as a number", get("Host: 2130706433\r\n"), {421}},
      {"absolute target", get(kHost, "http://localhost/v1/models"), {421}},
      {"absolute target of another host", get(kHost, "http://evil.example/v1/models"), {421}},
      {"target without slash", get(kHost, "v1/models"), {400}},
      {"star target", get(kHost, "*"), {400}},
      {"fragment in the target", get(kHost, "/v1/models#x"), {400}},
      {"backslash in the target", get(kHost, "/v1\\models"), {400}},
      {"raw UTF-8 in the target", get(kHost, "/v1/mod\xc3\xa9ls"), {400}},
      {"control byte in the target", get(kHost, std::string("/v1/\x01models")), {400}},
      {"bad escape in the query", get(kHost, "/v1/models?x=%zz"), {400}},
      {"cut escape in the query", get(kHost, "/v1/models?x=%2"), {400}},
      {"zero byte in the query", get(kHost, "/v1/models?x=%00"), {400}},
      {"zero byte in a parameter", get(kHost, "/v1/models/a%00b"), {400, 404}},
      {"dot segments", get(kHost, "/v1/../metrics"), {404}},
      {"escaped dot segments", get(kHost, "/v1/%2e%2e/metrics"), {404}},
      {"escaped letters of a path", get(kHost, "/%76%31/models"), {404}},
      {"double slash", get(kHost, "//v1/models"), {404}},
      {"slash at the end", get(kHost, "/v1/models/"), {404}},
      {"unknown path", get(kHost, "/v2/models"), {404}},
      {"unknown model", get(kHost, "/v1/models/gpt-4o"), {404}},
      {"unknown collection", get(kHost, "/v1/models/gritstone/none"), {404}},
      {"collection that climbs", get(kHost, "/v1/models/gritstone%2f..%2f..%2fetc"), {404}},
      {"folded header", get(kHost + "X-A: b\r\n c\r\n"), {400}},
      {"folded with tab", get(kHost + "X-A: b\r\n\tc\r\n"), {400}},
      {"folded first line", "GET /v1/models HTTP/1.1\r\n Host: localhost\r\n\r\n", {400}},
      {"blank before colon", get("Host : localhost\r\n"), {400, 421}},
      {"header without colon", get(kHost + "Nonsense\r\n"), {400}},
      {"header without name", get(kHost + ": value\r\n"), {400}},
      {"header name with blank", get(kHost + "X A: b\r\n"), {400}},
      {"header name with control", get(kHost + "X\x01: b\r\n"), {400}},
      {"header value with control", get(kHost + "X: a\x01z\r\n"), {400}},
      {"header value with zero", get(kHost + std::string("X: a\0z\r\n", 8)), {400}},
      {"header value with delete", get(kHost + "X: a\x7fz\r\n"), {400}},
      {"header name beyond ASCII", get(kHost + "X\xc3\xa9: b\r\n"), {400}},
      {"65 header fields",
       get(kHost +
           [] {
             std::string h;
             for (int i = 0; i < 65; ++i) h += "X" + std::to_string(i) + ": y\r\n";
             return h;
           }()),
       {431}},
      {"head of 9 KB", get(kHost + "X: " + std::string(9000, 'a') + "\r\n"), {431}},
      {"target of 9 KB", get(kHost, "/" + std::string(9000, 'a')), {431}},
      {"endless head", "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(20000, 'a'), {431}},
      {"endless name", "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n" + std::string(20000, 'a'), {431}},
      {"chunked", post_head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {411}},
      {"Chunked", post_head + "TRANSFER-ENCODING: Chunked\r\n\r\n0\r\n\r\n", {411}},
      {"gzip coding", post_head + "Transfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", {400, 411}},
      {"chunked and gzip", post_head + "Transfer-Encoding: chunked, gzip\r\nContent-Length: 2\r\n\r\n{}", {400, 411}},
      {"xchunked", post_head + "Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}", {400, 411}},
      {"identity coding", post_head + "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", {400, 411}},
      {"chunked and a length", post_head + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", {400, 411}},
      {"length and chunked", post_head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400, 411}},
      {"chunked twice", post_head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400, 411}},
      {"chunked in HTTP/1.0",
       "POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: "
       "chunked\r\n\r\n0\r\n\r\n",
       {400, 411}},
      {"trailer of 1 MB", post_head + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + std::string(1 << 20, 'a') + "\r\n\r\n", {411}},
      {"chunk extension of 1 MB",
       post_head + "Transfer-Encoding: chunked\r\n\r\n1;" + std::string(1 << 20, 'a') + "\r\na\r\n0\r\n\r\n",
       {411}},
      {"no length", post_head + "\r\n", {411}},
      {"empty length", post_head + "Content-Length:\r\n\r\n", {400}},
      {"negative length", post_head + "Content-Length: -1\r\n\r\n", {400}},
      {"signed length", post_head + "Content-Length: +2\r\n\r\n{}", {400}},
      {"hexadecimal length", post_head + "Content-Length: 0x2\r\n\r\n{}", {400}},
      {"length with text", post_head + "Content-Length: 2 bytes\r\n\r\n{}", {400}},
      {"length list", post_head + "Content-Length: 2, 2\r\n\r\n{}", {400}},
      {"two lengths", post_head + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", {400}},
      {"two lengths that differ", post_head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", {400}},
      {"length beyond 64 bits", post_head + "Content-Length: 99999999999999999999999\r\n\r\n", {400}},
      {"length near 64 bits", post_head + "Content-Length: 18446744073709551615\r\n\r\n", {400, 413}},
      {"5 MB", post_head + "Content-Length: 5242880\r\n\r\n", {413}},
      {"64 GB", post_head + "Content-Length: 68719476736\r\n\r\n", {413}},
      {"body of a GET", get(kHost + "Content-Length: 2\r\n") + "{}", {400}},
      {"unknown expectation", post_head + "Expect: 200-ok\r\nContent-Length: 2\r\n\r\n", {417}},
      {"two authorizations", get(kHost + "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), {400}},
      {"two content types", post("{}", "Content-Type: application/json\r\nContent-Type: text/plain\r\n"), {400}},
      {"two origins", get(kHost + "Origin: http://localhost\r\nOrigin: http://evil.example\r\n"), {400}},
      {"foreign origin", get(kHost + "Origin: http://evil.example\r\n"), {403}},
      {"null origin", get(kHost + "Origin: null\r\n"), {403}},
      {"origin that starts right", get(kHost + "Origin: http://localhost.evil.example\r\n"), {403}},
      {"cross-site fetch", get(kHost + "Sec-Fetch-Site: cross-site\r\n"), {403}},
      {"no content type", post("{}", ""), {415}},
      {"form post", post("a=b", "Content-Type: application/x-www-form-urlencoded\r\n"), {415}},
      {"plain text post", post("{}", "Content-Type: text/plain\r\n"), {415}},
      {"type that starts right", post("{}", "Content-Type: application/jsonp\r\n"), {415}},
  };
}

std::vector<Case> body_cases() {
  const std::string user = R"("messages":[{"role":"user","content":"hi"}])";
  const auto chat = [&](const std::string& members) { return post("{" + user + "," + members + "}"); };
  const auto embed = [](const std::string& body) { return post(body, "Content-Type: application/json\r\n", "/v1/embeddings"); };
  const auto answer = [](const std::string& body) { return post(body, "Content-Type: application/json\r\n", "/v1/answer"); };
  const auto rerank = [](const std::string& body) { return post(body, "Content-Type: application/json\r\n", "/v1/rerank"); };
  return {
      {"empty body", post(""), {400}},
      {"not JSON", post("hello"), {400}},
      {"cut JSON", post(R"({"messages":[)"), {400}},
      {"two documents", post("{}{}"), {400}},
      {"array at the top", post("[]"), {400}},
      {"text at the top", post("\"x\""), {400}},
      {"null at the top", post("null"), {400}},
      {"duplicate key", post("{" + user + "," + user + "}"), {400}},
      {"invalid UTF-8", post("{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}"), {400}},
      {"lone surrogate", post(R"({"messages":[{"role":"user","content":"\ud800"}]})"), {400}},
      {"control byte in a string", post("{\"messages\":\"\x01\"}"), {400}},
      {"depth 5000", post(std::string(5000, '[')), {400}},
      {"depth 40 within an object", post("{\"a\":" + std::string(40, '[') + std::string(40, ']') + "}"), {400}},
      {"comment", post("{/*x*/}"), {400}},
      {"trailing comma", post("{" + user + ",}"), {400}},
      {"NaN", chat(R"("temperature":NaN)"), {400}},
      {"1e400", chat(R"("temperature":1e400)"), {400}},
      {"no messages", post("{}"), {400}},
      {"messages as text", post(R"({"messages":"hi"})"), {400}},
      {"no message", post(R"({"messages":[]})"), {400}},
      {"message as text", post(R"({"messages":["hi"]})"), {400}},
      {"no role", post(R"({"messages":[{"content":"hi"}]})"), {400}},
      {"unknown role", post(R"({"messages":[{"role":"root","content":"hi"}]})"), {400}},
      {"tool role", post(R"({"messages":[{"role":"tool","content":"hi"}]})"), {400}},
      {"no content", post(R"({"messages":[{"role":"user"}]})"), {400}},
      {"content as number", post(R"({"messages":[{"role":"user","content":5}]})"), {400}},
      {"image", post(R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]})"), {400}},
      {"last is assistant", post(R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]})"), {400}},
      {"assistant first", post(R"({"messages":[{"role":"assistant","content":"b"},{"role":"user","content":"a"}]})"), {400}},
      {"system in the middle",
       post(R"({"messages":[{"role":"user","content":"a"},{"role":"system","content":"b"},{"role":"user","content":"c"}]})"),
       {400}},
      {"unknown model", chat(R"("model":"gpt-4o")"), {404}},
      {"model as number", chat(R"("model":4)"), {400}},
      {"unknown collection", chat(R"("model":"gritstone/none")"), {404}},
      {"collection that climbs", chat(R"("collection":"../../etc")"), {404}},
      {"n 2", chat(R"("n":2)"), {400}},
      {"n 0", chat(R"("n":0)"), {400}},
      {"temperature -1", chat(R"("temperature":-1)"), {400}},
      {"temperature 3", chat(R"("temperature":3)"), {400}},
      {"temperature as text", chat(R"("temperature":"hot")"), {400}},
      {"top_p 2", chat(R"("top_p":2)"), {400}},
      {"max_tokens 0", chat(R"("max_tokens":0)"), {400}},
      {"max_tokens -5", chat(R"("max_tokens":-5)"), {400}},
      {"max_tokens 1.5", chat(R"("max_tokens":1.5)"), {400}},
      {"max_tokens beyond the limit", chat(R"("max_tokens":1000000)"), {400}},
      {"max_tokens beyond 64 bits", chat(R"("max_tokens":99999999999999999999)"), {400}},
      {"both kinds of max", chat(R"("max_tokens":5,"max_completion_tokens":5)"), {400}},
      {"five stops", chat(R"("stop":["a","b","c","d","e"])"), {400}},
      {"empty stop", chat(R"("stop":"")"), {400}},
      {"long stop", chat("\"stop\":\"" + std::string(300, 'x') + "\""), {400}},
      {"stop as number", chat(R"("stop":3)"), {400}},
      {"stream as text", chat(R"("stream":"yes")"), {400}},
      {"stream options without stream", chat(R"("stream_options":{"include_usage":true})"), {400}},
      {"logprobs", chat(R"("logprobs":true)"), {400}},
      {"tools", chat(R"("tools":[{"type":"function","function":{"name":"f"}}])"), {400}},
      {"logit_bias", chat(R"("logit_bias":{"5":100})"), {400}},
      {"presence_penalty", chat(R"("presence_penalty":1)"), {400}},
      {"JSON mode", chat(R"("response_format":{"type":"json_object"})"), {400}},
      {"seed as text", chat(R"("seed":"x")"), {400}},
      {"prompt beyond the context", post("{\"messages\":[{\"role\":\"user\",\"content\":\"" + std::string(20000, 'x') + "\"}]}"), {400}},
      {"no input", embed("{}"), {400}},
      {"empty input", embed(R"({"input":""})"), {400}},
      {"no texts", embed(R"({"input":[]})"), {400}},
      {"empty text in a list", embed(R"({"input":["a",""]})"), {400}},
      {"mixed input", embed(R"({"input":["a",5]})"), {400}},
      {"input as object", embed(R"({"input":{}})"), {400}},
      {"token beyond the vocabulary", embed(R"({"input":[999999]})"), {400}},
      {"negative token", embed(R"({"input":[-1]})"), {400}},
      {"unknown encoding", embed(R"({"input":"a","encoding_format":"hex"})"), {400}},
      {"other dimensions", embed(R"({"input":"a","dimensions":3})"), {400}},
      {"text beyond the context", embed("{\"input\":\"" + std::string(20000, 'x') + "\"}"), {400}},
      {"no question", answer(R"({"collection":"notes"})"), {400}},
      {"no collection", answer(R"({"question":"a"})"), {400}},
      {"collection with slash", answer(R"({"question":"a","collection":"a/b"})"), {404}},
      {"collection in capitals", answer(R"({"question":"a","collection":"NOTES"})"), {404}},
      {"top_k 0", answer(R"({"question":"a","collection":"notes","top_k":0})"), {400}},
      {"top_k 10000", answer(R"({"question":"a","collection":"notes","top_k":10000})"), {400}},
      {"unknown mode", answer(R"({"question":"a","collection":"notes","mode":"magic"})"), {400}},
      {"unknown layout", answer(R"({"question":"a","collection":"notes","layout":"x"})"), {400}},
      {"unknown reuse", answer(R"({"question":"a","collection":"notes","reuse":"all"})"), {400}},
      {"bad filter", answer(R"({"question":"a","collection":"notes","filters":"after:yesterday"})"), {400}},
      {"no documents", rerank(R"({"query":"a"})"), {400}},
      {"empty documents", rerank(R"({"query":"a","documents":[]})"), {400}},
      {"documents of numbers", rerank(R"({"query":"a","documents":[1]})"), {400}},
      {"top_n 0", rerank(R"({"query":"a","documents":["b"],"top_n":0})"), {400}},
      {"no query", rerank(R"({"documents":["b"]})"), {400}},
  };
}

class Malformed : public ServerTest {
 protected:
  // One byte at a time, or in one piece.
  void run(const std::vector<Case>& cases, bool slowly) {
    start();
    for (const Case& c : cases) {
      SCOPED_TRACE(c.name);
      HttpClient client(server->port());
      ASSERT_TRUE(client.connected());
      if (slowly) {
        for (const char byte : c.bytes.substr(0, 300)) client.send(std::string_view(&byte, 1));
        if (c.bytes.size() > 300) client.send(std::string_view(c.bytes).substr(300));
      } else {
        client.send(c.bytes);
      }
      const HttpResponse r = client.response();
      EXPECT_TRUE(c.expected.contains(r.status)) << "status " << r.status << " " << r.body;
      if (r.status != 0) {
        EXPECT_TRUE(r.complete);
        EXPECT_NE(r.error("message"), "") << r.body;
        EXPECT_NE(r.error("type"), "") << r.body;
      }
    }
    const HttpResponse probe = request("GET", "/health");
    EXPECT_EQ(probe.status, 200);
    EXPECT_TRUE(idle());
  }
};

TEST_F(Malformed, TableHasManyCases) { EXPECT_GE(head_cases().size() + body_cases().size(), 200u); }

TEST_F(Malformed, HeadsInOnePiece) { run(head_cases(), false); }
TEST_F(Malformed, HeadsByteByByte) { run(head_cases(), true); }
TEST_F(Malformed, BodiesInOnePiece) { run(body_cases(), false); }
TEST_F(Malformed, BodiesByteByByte) { run(body_cases(), true); }

TEST_F(Malformed, ErrorsNameTheMember) {
  start();
  const auto param = [&](const std::string& path, const std::string& body) { return post(path, body).error("param"); };
  EXPECT_EQ(param("/v1/chat/completions", R"({"messages":[{"role":"user","content":"a"}],"temperature":9})"), "temperature");
  EXPECT_EQ(param("/v1/chat/completions", R"({"messages":[{"role":"user","content":"a"},{"role":"x","content":"a"}]})"),
            "messages[1].role");
  EXPECT_EQ(param("/v1/chat/completions", R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})"), "messages[0].content[0].text");
  EXPECT_EQ(param("/v1/chat/completions", R"({"messages":[{"role":"user","content":"a"}],"stop":["a",3]})"), "stop[1]");
  EXPECT_EQ(param("/v1/chat/completions", R"({"messages":[{"role":"user","content":"a"}],"model":"x"})"), "model");
  EXPECT_EQ(param("/v1/embeddings", R"({"input":["a",7]})"), "input[1]");
  EXPECT_EQ(param("/v1/answer", R"({"question":"a","collection":"none"})"), "collection");
  EXPECT_EQ(param("/v1/rerank", R"({"query":"a","documents":[{"text":5}]})"), "documents[0].text");
}

TEST_F(Malformed, RandomMutationsOfGoodRequestsDoNotHurt) {
  start();
  const std::string good = ::gritstone::post(R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":3,"temperature":0})");
  std::uint64_t state = 12345;
  const auto random = [&] { return state = state * 6364136223846793005u + 1442695040888963407u, state >> 33; };
  for (int i = 0; i < 1000; ++i) {
    std::string bytes = good;
    for (std::uint64_t n = 1 + random() % 4; n > 0; --n) {
      const std::size_t at = random() % bytes.size();
      switch (random() % 3) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.erase(at, 1 + random() % 8);
          break;
        default:
          bytes.insert(at, 1, static_cast<char>(random()));
      }
    }
    HttpClient client(server->port());
    client.send(bytes);
    ::usleep(0);
    // What is incomplete now would wait for its time limit: close instead of reading on.
    if (client.receive(std::chrono::milliseconds(2))) {
      EXPECT_FALSE(client.buffer().starts_with("HTTP/1.1 500")) << bytes << "\n" << client.buffer();
    }
  }
  EXPECT_EQ(request("GET", "/health").status, 200);
  EXPECT_TRUE(idle());
}

}  // namespace
}  // namespace gritstone

// Keys, names, origins: who gets an answer.
#include "apps/server/security.h"

#include <sys/stat.h>

#include <fstream>

#include "tests/base/expect_error.h"
#include "tests/server/server_fixture.h"

namespace gritstone {
namespace {

class Security : public ServerTest {
 protected:
  Security() { options.api_keys = {"first-key-0001", "second-key-0002"}; }
};

TEST_F(Security, EveryRouteButThePublicOnesNeedsAKey) {
  start();
  ASSERT_GT(router->routes().size(), 8u);
  for (const Route& route : router->routes()) {
    std::string path = route.path;
    for (std::size_t open = path.find('{'); open != std::string::npos; open = path.find('{')) {
      path.replace(open, path.find('}') - open + 1, "x");
    }
    SCOPED_TRACE(route.method + " " + path);
    const int status = request(route.method, path).status;
    if (route.auth == Auth::kPublic) {
      EXPECT_NE(status, 401);
    } else {
      EXPECT_EQ(status, 401);
    }
  }
  EXPECT_EQ(request("GET", "/nowhere").status, 401) << "unknown paths tell nothing without a key";
}

TEST_F(Security, KeysAreComparedWhole) {
  start();
  const auto with = [&](const std::string& value) { return request("GET", "/v1/models", {}, "Authorization: " + value + "\r\n").status; };
  EXPECT_EQ(with("Bearer first-key-0001"), 200);
  EXPECT_EQ(with("bearer second-key-0002"), 200);
  for (const char* wrong : {"Bearer first-key-000", "Bearer first-key-00011", "Bearer ", "Bearer", "Basic first-key-0001", "first-key-0001",
                            "Bearer  first-key-0001", "Bearer FIRST-KEY-0001", "Bearer first-key-0001, second-key-0002"}) {
    EXPECT_EQ(with(wrong), 401) << wrong;
  }
  const HttpResponse refused = request("GET", "/v1/models", {}, "Authorization: Bearer sesame-open-now\r\n");
  EXPECT_EQ(refused.error("type"), "authentication_error");
  EXPECT_EQ(refused.headers.at("www-authenticate"), "Bearer");
  EXPECT_EQ(log_text().find("sesame"), std::string::npos);
  EXPECT_EQ(log_text().find("first-key"), std::string::npos);
}

TEST_F(Security, TheBodyIsNotReadWithoutAKey) {
  start();
  HttpClient client(server->port());
  client.send("POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 4000000\r\n\r\n");
  const HttpResponse r = client.response();
  EXPECT_EQ(r.status, 401);
  EXPECT_EQ(r.headers.at("connection"), "close");
}

TEST_F(Security, HealthIsPublic) {
  start();
  EXPECT_EQ(request("GET", "/health").status, 200);
  EXPECT_EQ(request("GET", "/ready").status, 200);
  EXPECT_EQ(request("GET", "/metrics").status, 401);
}

class Origins : public ServerTest {};

TEST_F(Origins, OwnPageAndListedSitesMayCall) {
  options.allow_origins = {"https://app.example"};
  options.allow_hosts = {"box.local"};
  start();
  const auto from = [&](const std::string& headers) { return request("GET", "/v1/models", {}, headers); };
  EXPECT_EQ(from("Origin: http://localhost\r\n").status, 200) << "the origin of our own page";
  EXPECT_EQ(from("Origin: http://localhost\r\n").headers.count("access-control-allow-origin"), 0u);
  EXPECT_EQ(from("Origin: https://localhost\r\n").status, 403) << "another scheme is another origin";
  EXPECT_EQ(from("Origin: http://localhost:1\r\n").status, 403) << "another port is another origin";
  const HttpResponse listed = from("Origin: https://app.example\r\nSec-Fetch-Site: cross-site\r\n");
  EXPECT_EQ(listed.status, 200);
  EXPECT_EQ(listed.headers.at("access-control-allow-origin"), "https://app.example");
  EXPECT_EQ(listed.headers.at("vary"), "Origin");
  EXPECT_EQ(from("Sec-Fetch-Site: same-origin\r\n").status, 200);
  HttpClient client(server->port());
  client.send("GET /v1/models HTTP/1.1\r\nHost: BOX.local:8080\r\n\r\n");
  EXPECT_EQ(client.response().status, 200);
}

TEST_F(Origins, PreflightOfListedSites) {
  options.allow_origins = {"https://app.example"};
  options.api_keys = {"first-key-0001"};
  start();
  const HttpResponse yes =
      request("OPTIONS", "/v1/chat/completions", {}, "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n");
  EXPECT_EQ(yes.status, 204);
  EXPECT_EQ(yes.headers.at("access-control-allow-origin"), "https://app.example");
  EXPECT_EQ(yes.headers.at("access-control-allow-methods"), "OPTIONS, POST");
  const HttpResponse no =
      request("OPTIONS", "/v1/chat/completions", {}, "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n");
  EXPECT_EQ(no.status, 403);
  EXPECT_EQ(no.headers.count("access-control-allow-origin"), 0u);
  EXPECT_EQ(request("OPTIONS", "/nowhere").status, 404);
}

TEST_F(Origins, HeadAnswersLikeGetWithoutABody) {
  start();
  const HttpResponse got = request("GET", "/v1/models");
  const HttpResponse head = request("HEAD", "/v1/models");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.at("content-length"), got.headers.at("content-length"));
  const HttpResponse wrong = request("POST", "/v1/models");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("allow"), "GET, HEAD, OPTIONS");
}

TEST(ServerKeys, BeyondLoopbackAKeyIsNeeded) {
  ServerOptions options;
  for (const char* host : {"localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"}) {
    options.host = host;
    EXPECT_NO_THROW(require_key_beyond_loopback(options)) << host;
  }
  for (const char* host : {"0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org", "1270.0.0.1"}) {
    options.host = host;
    options.api_keys.clear();
    EXPECT_GS_ERROR(require_key_beyond_loopback(options), ErrorCode::kInvalidArgument, "needs a key");
    options.api_keys = {"first-key-0001"};
    EXPECT_NO_THROW(require_key_beyond_loopback(options)) << host;
  }
}

TEST(ServerKeys, FilesOfKeys) {
  const TempDirectory directory;
  const std::string path = (directory / "keys").string();
  const auto write = [&](const std::string& text, mode_t mode = 0600) {
    std::ofstream(path, std::ios::binary) << text;
    ::chmod(path.c_str(), mode);
  };
  write("# comment\n\nkey-number-one\r\nkey-number-two\n");
  EXPECT_EQ(read_api_keys(path), (std::vector<std::string>{"key-number-one", "key-number-two"}));
  write("key-number-one\n", 0644);
  EXPECT_GS_ERROR(read_api_keys(path), ErrorCode::kInvalidArgument, "others can read");
  write("short\n");
  EXPECT_GS_ERROR(read_api_keys(path), ErrorCode::kInvalidArgument, "8 to 512");
  write("with a blank in it\n");
  EXPECT_GS_ERROR(read_api_keys(path), ErrorCode::kInvalidArgument, "8 to 512");
  write("# nothing\n");
  EXPECT_GS_ERROR(read_api_keys(path), ErrorCode::kInvalidArgument, "holds no key");
  EXPECT_GS_ERROR(read_api_keys(path + "x"), ErrorCode::kNotFound, "does not exist");
}

}  // namespace
}  // namespace gritstone

// The web page's files as they are served, and that they fit together. What the page does is driven by tests/e2e/web_page.py.
#include <regex>
#include <set>

#include "apps/server/page_assets.h"
#include "tests/server/server_fixture.h"

namespace gritstone {
namespace {

class WebPage : public ServerTest {
 protected:
  static std::string body_of(std::string_view path) {
    for (const PageAsset& asset : page_assets()) {
      if (asset.path == path) return std::string(asset.body);
    }
    ADD_FAILURE() << path << " is not embedded";
    return {};
  }
  // The page's own scripts, without the libraries.
  static std::vector<std::pair<std::string, std::string>> scripts() {
    std::vector<std::pair<std::string, std::string>> found;
    for (const PageAsset& asset : page_assets()) {
      if (asset.path.ends_with(".js") && !asset.path.starts_with("/vendor/")) found.emplace_back(asset.path, asset.body);
    }
    EXPECT_GT(found.size(), 10u);
    return found;
  }
  static std::vector<std::string> matches(const std::string& text, const std::string& pattern) {
    const std::regex regex(pattern);
    std::vector<std::string> found;
    for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at) found.push_back((*at)[1]);
    return found;
  }
};

TEST_F(WebPage, EveryFileComesWithTypePolicyAndTag) {
  start(nullptr, false);  // the page is there while the model loads
  ASSERT_GT(page_assets().size(), 15u);
  for (const PageAsset& asset : page_assets()) {
    const HttpResponse r = request("GET", asset.path);
    ASSERT_EQ(r.status, 200) << asset.path;
    EXPECT_EQ(r.body, asset.body) << asset.path;
    EXPECT_EQ(r.headers.at("content-type"), asset.content_type) << asset.path;
    EXPECT_EQ(r.headers.at("etag"), asset.etag) << asset.path;
    EXPECT_EQ(r.headers.at("cache-control"), "no-cache");
    EXPECT_EQ(r.headers.at("x-content-type-options"), "nosniff");
    EXPECT_EQ(r.headers.at("referrer-policy"), "no-referrer");
    const std::string& policy = r.headers.at("content-security-policy");
    for (const char* part : {"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'",
                             "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"}) {
      EXPECT_NE(policy.find(part), std::string::npos) << policy;
    }
    EXPECT_EQ(policy.find("unsafe"), std::string::npos) << policy;
  }
  EXPECT_EQ(request("GET", "/").headers.at("content-type"), "text/html; charset=utf-8");
  EXPECT_EQ(request("GET", "/app.js").headers.at("content-type"), "text/javascript; charset=utf-8");
  EXPECT_EQ(request("GET", "/js/nothing.js").status, 404);
  EXPECT_EQ(request("HEAD", "/").status, 200);
}

TEST_F(WebPage, AnUnchangedFileIsNotSentAgain) {
  start();
  HttpClient client(server->port());
  const std::string tag = client.request("GET", "/style.css").headers.at("etag");
  for (const std::string& header : {tag, "W/" + tag, "\"other\", " + tag, "\"other\" ,W/" + tag, std::string("*")}) {
    const HttpResponse r = client.request("GET", "/style.css", {}, "If-None-Match: " + header + "\r\n");
    EXPECT_EQ(r.status, 304) << header;
    EXPECT_EQ(r.headers.at("etag"), tag);
    EXPECT_FALSE(r.headers.contains("transfer-encoding")) << r.raw;
  }
  // The connection is still in step, and other tags get the file.
  for (const std::string& header : {std::string("\"other\""), tag.substr(1), std::string("W/"), std::string(",,")}) {
    const HttpResponse r = client.request("GET", "/style.css", {}, "If-None-Match: " + header + "\r\n");
    EXPECT_EQ(r.status, 200) << header;
    EXPECT_EQ(r.body, body_of("/style.css"));
  }
}

TEST_F(WebPage, NeedsNoKey) {
  options.api_keys = {"a-key-for-this-test"};
  start();
  EXPECT_EQ(request("GET", "/").status, 200);
  EXPECT_EQ(request("GET", "/vendor/purify.js").status, 200);
  EXPECT_EQ(request("GET", "/v1/vector_stores").status, 401);
}

TEST_F(WebPage, OtherSitesMayLinkToItButNotUseItsFiles) {
  start();
  const char* link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
  EXPECT_EQ(request("GET", "/", {}, link).status, 200);
  EXPECT_EQ(request("GET", "/app.js", {}, "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n").status, 403);
}

// A policy without 'unsafe-inline' would silently drop these.
TEST_F(WebPage, NothingIsInlineAndNothingForeign) {
  const std::string html = body_of("/");
  EXPECT_TRUE(matches(html, "(<style)").empty());
  EXPECT_TRUE(matches(html, R"((\sstyle=))").empty());
  EXPECT_TRUE(matches(html, R"((\son[a-z]+=))").empty());
  EXPECT_TRUE(matches(html, "(<script(?![^>]* src=\"/))").empty());
  for (const PageAsset& asset : page_assets()) {
    if (asset.path.starts_with("/vendor/")) continue;
    for (const std::string& url : matches(std::string(asset.body), R"((https?://[^\s'"`)]+))")) {
      EXPECT_EQ(url, "http://www.w3.org/2000/svg") << asset.path;  // a namespace, never fetched
    }
  }
}

TEST_F(WebPage, WhatItNamesIsThere) {
  std::set<std::string> paths;
  for (const PageAsset& asset : page_assets()) EXPECT_TRUE(paths.insert(std::string(asset.path)).second) << asset.path;
  const std::string html = body_of("/");
  for (const std::string& path : matches(html, R"re((?:src|href)="(/[^"#]*)")re")) EXPECT_TRUE(paths.contains(path)) << path;
  const std::vector<std::string> ids = matches(html, R"re(\sid="([^"]+)")re");
  const std::set<std::string> known(ids.begin(), ids.end());
  EXPECT_EQ(known.size(), ids.size()) << "an id stands twice in index.html";
  std::size_t imports = 0, uses = 0;
  for (const auto& [path, text] : scripts()) {
    for (const std::string& name : matches(text, R"(from '\./([^']+)')")) {
      ++imports;
      EXPECT_TRUE(paths.contains(path.substr(0, path.rfind('/') + 1) + name)) << path << " imports " << name;
    }
    for (const std::string& id : matches(text, R"((?:byId|getElementById)\('([^']+)'\))")) {
      ++uses;
      EXPECT_TRUE(known.contains(id)) << path << " looks for #" << id;
    }
    for (const std::string& name : matches(text, R"(icon\('([^']+)'\))"))
      EXPECT_TRUE(known.contains("icon-" + name)) << path << ": " << name;
  }
  EXPECT_GT(imports, 30u);
  EXPECT_GT(uses, 60u);
}

TEST_F(WebPage, LibrariesKeepTheirLicences) {
  EXPECT_NE(body_of("/vendor/marked.js").find("MIT Licensed"), std::string::npos);
  EXPECT_NE(body_of("/vendor/purify.js").find("Apache license 2.0"), std::string::npos);
}

}  // namespace
}  // namespace gritstone

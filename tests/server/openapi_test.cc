// The OpenAPI document is true to the route table, and sound in itself.
#include "apps/server/openapi.h"

#include <gtest/gtest.h>

#include <set>

#include "apps/server/routes.h"
#include "base/json.h"
#include "tests/pipelines/fixtures.h"

namespace gritstone {
namespace {

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

class OpenApiTest : public ::testing::Test, protected PipelineFixture {
 protected:
  OpenApiTest() : context_(ServerOptions{}, *store, Store::Mode::kReadWrite), document_(parse_json(openapi_document(), "openapi", 64)) {
    add_all_routes(router_, context_);
  }
  ~OpenApiTest() override { context_.begin_stopping(); }

  // "GET /v1/files" -> operation.
  std::map<std::string, const rapidjson::Value*> operations() const {
    std::map<std::string, const rapidjson::Value*> found;
    for (const auto& path : document_["paths"].GetObject()) {
      for (const auto& operation : path.value.GetObject()) {
        if (std::string_view(operation.name.GetString()) == "parameters") continue;
        found[upper(operation.name.GetString()) + " " + path.name.GetString()] = &operation.value;
      }
    }
    return found;
  }

  void follow(const rapidjson::Value& value, const std::string& where) const {
    if (value.IsArray()) {
      for (const auto& item : value.GetArray()) follow(item, where);
    }
    if (!value.IsObject()) return;
    for (const auto& member : value.GetObject()) {
      const std::string name = member.name.GetString();
      if (name != "$ref") {
        follow(member.value, where + "/" + name);
        continue;
      }
      const std::string target = member.value.GetString();
      ASSERT_EQ(target.rfind("#/components/", 0), 0u) << where;
      const std::size_t slash = target.find('/', 13);
      const std::string group = target.substr(13, slash - 13), key = target.substr(slash + 1);
      ASSERT_TRUE(document_["components"].HasMember(group)) << where << ": " << target;
      EXPECT_TRUE(document_["components"][group.c_str()].HasMember(key)) << where << ": " << target;
    }
  }

  ServerContext context_;
  Router router_;
  rapidjson::Document document_;
};

TEST_F(OpenApiTest, NamesEveryRouteAndNoOther) {
  std::set<std::string> routes, documented;
  for (const Route& route : router_.routes()) routes.insert(route.method + " " + route.path);
  for (const auto& [name, operation] : operations()) documented.insert(name);
  for (const std::string& route : routes) EXPECT_TRUE(documented.contains(route)) << route << " is not in the OpenAPI document";
  for (const std::string& name : documented) EXPECT_TRUE(routes.contains(name)) << name << " is no route";
}

TEST_F(OpenApiTest, SaysWhatARouteTakes) {
  const auto documented = operations();
  for (const Route& route : router_.routes()) {
    SCOPED_TRACE(route.method + " " + route.path);
    const auto found = documented.find(route.method + " " + route.path);
    if (found == documented.end()) continue;  // the test above says so
    const rapidjson::Value& operation = *found->second;
    const bool open = operation.HasMember("security") && operation["security"].Empty();
    EXPECT_EQ(open, route.auth == Auth::kPublic);
    const rapidjson::Value* body = operation.HasMember("requestBody") ? &operation["requestBody"] : nullptr;
    switch (route.body) {
      case BodyKind::kNone:
        EXPECT_EQ(body, nullptr);
        break;
      case BodyKind::kJson:
        ASSERT_NE(body, nullptr);
        EXPECT_TRUE((*body)["required"].GetBool());
        EXPECT_TRUE((*body)["content"].HasMember("application/json"));
        break;
      case BodyKind::kOptionalJson:
        EXPECT_TRUE(body == nullptr || !(*body)["required"].GetBool());
        break;
      case BodyKind::kMultipart:
        ASSERT_NE(body, nullptr);
        EXPECT_TRUE((*body)["content"].HasMember("multipart/form-data"));
        break;
    }
  }
}

TEST_F(OpenApiTest, ParametersOfPathsAreDeclared) {
  for (const auto& path : document_["paths"].GetObject()) {
    const std::string text = path.name.GetString();
    std::set<std::string> wanted, declared;
    for (std::size_t at = text.find('{'); at != std::string::npos; at = text.find('{', at + 1)) {
      wanted.insert(text.substr(at + 1, text.find('}', at) - at - 1));
    }
    const auto add = [&](const rapidjson::Value& holder) {
      if (!holder.HasMember("parameters")) return;
      for (const auto& item : holder["parameters"].GetArray()) {
        const rapidjson::Value* parameter = &item;
        if (item.HasMember("$ref")) {
          const std::string name = item["$ref"].GetString();
          parameter = &document_["components"]["parameters"][name.substr(name.find_last_of('/') + 1).c_str()];
        }
        if (std::string_view((*parameter)["in"].GetString()) == "path") declared.insert((*parameter)["name"].GetString());
      }
    };
    add(path.value);
    for (const auto& operation : path.value.GetObject()) {
      if (operation.value.IsObject()) add(operation.value);
    }
    EXPECT_EQ(declared, wanted) << text;
  }
}

TEST_F(OpenApiTest, ReferencesLeadSomewhereAndNamesAreUnique) {
  EXPECT_STREQ(document_["openapi"].GetString(), "3.1.0");
  follow(document_, "");
  std::set<std::string> ids;
  for (const auto& [name, operation] : operations()) {
    EXPECT_TRUE(operation->HasMember("responses")) << name;
    EXPECT_TRUE((*operation)["responses"].HasMember("default")) << name;
    if (!operation->HasMember("operationId")) continue;  // files of the page
    EXPECT_TRUE(ids.insert((*operation)["operationId"].GetString()).second) << name;
  }
}

}  // namespace
}  // namespace gritstone

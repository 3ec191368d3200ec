// /v1/files and /v1/vector_stores, called through the route table as the connection does, over a real store and a scripted model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "apps/server/api_error.h"
#include "apps/server/routes.h"
#include "base/json.h"
#include "tests/pipelines/fixtures.h"

namespace gritstone {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class RecordedReply : public ReplyWriter {
 public:
  void set_header(std::string_view name, std::string_view value) override { headers[std::string(name)] = value; }
  void send(int code, std::string_view content_type, std::string content) override {
    status = code;
    type = content_type;
    body = std::move(content);
  }
  void start_events(EventStyle) override { ADD_FAILURE() << "no stream expected"; }
  void event(std::string_view, std::string_view) override {}
  void count_tokens(std::size_t, std::size_t, std::size_t) override {}

  std::map<std::string, std::string> headers;
  int status = 0;
  std::string type;
  std::string body;
};

struct Answer {
  int status = 0;
  std::string body;
  std::map<std::string, std::string> headers;
  rapidjson::Document json;

  const rapidjson::Value& operator[](const char* key) const {
    static const rapidjson::Value kNull;
    const auto member = json.FindMember(key);
    return member == json.MemberEnd() ? kNull : member->value;
  }
  std::string text(const char* key) const { return (*this)[key].IsString() ? (*this)[key].GetString() : "(no text) " + body; }
  // Ids of a list.
  std::vector<std::string> ids() const {
    std::vector<std::string> found;
    if (!(*this)["data"].IsArray()) return {"(no list) " + body};
    for (const auto& item : (*this)["data"].GetArray()) found.emplace_back(item["id"].GetString());
    return found;
  }
};

class StoreRoutesTest : public ::testing::Test, protected PipelineFixture {
 protected:
  StoreRoutesTest() : context_(ServerOptions{}, *store, Store::Mode::kReadWrite) {
    add_file_routes(router_, context_);
    add_vector_store_routes(router_, context_);
  }
  ~StoreRoutesTest() override { context_.begin_stopping(); }

  void start_model() { context_.set_model(parts, "scripted"); }

  Answer call(const std::string& method, const std::string& target, const std::string& body = {},
              const std::string& type = "application/json") {
    Request request;
    request.method = method;
    const std::size_t mark = target.find('?');
    request.path = target.substr(0, mark);
    for (std::size_t at = mark; at != std::string::npos;) {
      const std::size_t end = target.find('&', at + 1);
      const std::string pair = target.substr(at + 1, end == std::string::npos ? end : end - at - 1);
      request.query.emplace_back(pair.substr(0, pair.find('=')), pair.substr(pair.find('=') + 1));
      at = end;
    }
    request.headers = {{"content-type", type}};
    request.body = body;
    RecordedReply reply;
    const Router::Match match = router_.match(method, request.path);
    Answer answer;
    if (match.route == nullptr) {
      ADD_FAILURE() << "no route " << method << " " << target;
      return answer;
    }
    request.params = match.params;
    try {
      match.route->handler(request, reply);
      answer.status = reply.status;
      answer.body = reply.body;
      answer.headers = reply.headers;
    } catch (const std::exception& error) {
      const ApiError api = to_api_error(error);
      answer.status = api.status();
      answer.body = api.json();
    }
    answer.json.Parse(answer.body.c_str(), answer.body.size());
    return answer;
  }

  Answer upload(const std::string& filename, const std::string& bytes, const std::string& purpose = "assistants") {
    const std::string body = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n" + purpose +
                             "\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" + filename +
                             "\"\r\nContent-Type: text/plain\r\n\r\n" + bytes + "\r\n--b--\r\n";
    return call("POST", "/v1/files", body, "multipart/form-data; boundary=b");
  }

  std::string uploaded(const std::string& filename, const std::string& bytes) { return upload(filename, bytes).text("id"); }
  std::string created(const std::string& name) { return call("POST", "/v1/vector_stores", "{\"name\":\"" + name + "\"}").text("id"); }
  static std::string quoted(const std::string& key, const std::string& value) { return "{\"" + key + "\":\"" + value + "\"}"; }

  // As the client's create_and_poll.
  Answer attach_and_wait(const std::string& store_id, const std::string& file_id) {
    Answer answer = call("POST", "/v1/vector_stores/" + store_id + "/files", quoted("file_id", file_id));
    for (int i = 0; i < 3000 && answer.text("status") == "in_progress"; ++i) {
      std::this_thread::sleep_for(5ms);
      answer = call("GET", "/v1/vector_stores/" + store_id + "/files/" + file_id);
    }
    return answer;
  }

  void expect_error(const Answer& answer, int status, const std::string& param) {
    EXPECT_EQ(answer.status, status) << answer.body;
    ASSERT_TRUE(answer["error"].IsObject()) << answer.body;
    const rapidjson::Value& given = answer["error"]["param"];
    EXPECT_EQ(given.IsString() ? given.GetString() : "", param) << answer.body;
  }

  ServerContext context_;
  Router router_;
};

TEST_F(StoreRoutesTest, FilesAreUploadedListedReadAndDeleted) {
  const Answer first = upload("dir/a.md", "octopus");
  ASSERT_EQ(first.status, 200) << first.body;
  EXPECT_EQ(first.text("object"), "file");
  EXPECT_EQ(first.text("filename"), "a.md");
  EXPECT_EQ(first.text("purpose"), "assistants");
  EXPECT_EQ(first.text("status"), "processed");
  EXPECT_EQ(first["bytes"].GetInt(), 7);
  const std::string a = first.text("id"), b = uploaded("b.md", "squid");
  EXPECT_THAT(call("GET", "/v1/files").ids(), ElementsAre(b, a));
  EXPECT_THAT(call("GET", "/v1/files?order=asc").ids(), ElementsAre(a, b));
  EXPECT_THAT(call("GET", "/v1/files?limit=1").ids(), ElementsAre(b));
  EXPECT_TRUE(call("GET", "/v1/files?limit=1")["has_more"].GetBool());
  EXPECT_THAT(call("GET", "/v1/files?limit=1&after=" + b).ids(), ElementsAre(a));
  EXPECT_FALSE(call("GET", "/v1/files?limit=1&after=" + b)["has_more"].GetBool());
  EXPECT_EQ(call("GET", "/v1/files?purpose=evals").ids().size(), 0u);
  EXPECT_TRUE(call("GET", "/v1/files?purpose=evals")["first_id"].IsNull());
  const Answer content = call("GET", "/v1/files/" + a + "/content");
  EXPECT_EQ(content.body, "octopus");
  EXPECT_EQ(content.headers.at("Content-Disposition"), "attachment");
  EXPECT_EQ(call("GET", "/v1/files/" + a).text("id"), a);
  EXPECT_TRUE(call("DELETE", "/v1/files/" + a)["deleted"].GetBool());
  expect_error(call("GET", "/v1/files/" + a), 404, "id");
  expect_error(call("DELETE", "/v1/files/" + a), 404, "id");
  expect_error(call("GET", "/v1/files/file-..%2F..%2Fetc%2Fpasswd/content"), 404, "id");
}

TEST_F(StoreRoutesTest, BadUploadsNameWhatIsWrong) {
  expect_error(upload("a.md", "x", "world domination"), 400, "purpose");
  const auto form = [&](const std::string& pieces) {
    return call("POST", "/v1/files", pieces + "--b--", "multipart/form-data; boundary=b");
  };
  const std::string purpose = "--b\r\nContent-Disposition: form-data; name=purpose\r\n\r\nassistants\r\n";
  const std::string file = "--b\r\nContent-Disposition: form-data; name=file; filename=x\r\n\r\nx\r\n";
  expect_error(form(purpose), 400, "file");
  expect_error(form(file), 400, "purpose");
  expect_error(form(purpose + file + file), 400, "file");
  expect_error(form(purpose + "--b\r\nContent-Disposition: form-data; name=file\r\n\r\nx\r\n"), 400, "file");
  expect_error(form(purpose + file + "--b\r\nContent-Disposition: form-data; name=\"expires_after[anchor]\"\r\n\r\nx\r\n"), 400,
               "expires_after");
  EXPECT_EQ(call("POST", "/v1/files", "not a form", "multipart/form-data; boundary=b").status, 400);
  EXPECT_EQ(call("GET", "/v1/files").ids().size(), 0u);
}

TEST_F(StoreRoutesTest, ListParametersAreChecked) {
  for (const char* query : {"limit=0", "limit=10001", "limit=x", "limit=", "limit=-1", "limit=1.5"}) {
    expect_error(call("GET", std::string("/v1/files?") + query), 400, "limit");
  }
  expect_error(call("GET", "/v1/files?order=up"), 400, "order");
  expect_error(call("GET", "/v1/files?after=file-0"), 404, "after");
  expect_error(call("GET", "/v1/vector_stores?before=vs_x"), 404, "before");
  expect_error(call("GET", "/v1/vector_stores?limit=101"), 400, "limit");
}

TEST_F(StoreRoutesTest, VectorStoresAreMadeNamedListedAndDeleted) {
  const Answer made = call("POST", "/v1/vector_stores", R"j({"name":"Caf\u00e9 Notes (2024)","metadata":{"k":"v"}})j");
  ASSERT_EQ(made.status, 200) << made.body;
  EXPECT_EQ(made.text("id"), "vs_caf-notes-2024");
  EXPECT_EQ(made.text("name"), "Caf\xC3\xA9 Notes (2024)");
  EXPECT_EQ(made.text("object"), "vector_store");
  EXPECT_EQ(made.text("status"), "completed");
  EXPECT_STREQ(made["metadata"]["k"].GetString(), "v");
  EXPECT_EQ(made["file_counts"]["total"].GetInt(), 0);
  EXPECT_EQ(created("caf notes 2024"), "vs_caf-notes-2024-2");
  EXPECT_EQ(call("POST", "/v1/vector_stores").text("id"), "vs_store");
  EXPECT_EQ(call("POST", "/v1/vector_stores", "{}").text("id"), "vs_store-2");
  EXPECT_THAT(call("GET", "/v1/vector_stores?order=asc&limit=2").ids(), ElementsAre("vs_caf-notes-2024", "vs_caf-notes-2024-2"));
  EXPECT_THAT(call("GET", "/v1/vector_stores?order=asc&limit=2&before=vs_store-2").ids(), ElementsAre("vs_caf-notes-2024-2", "vs_store"));
  const Answer changed = call("POST", "/v1/vector_stores/vs_store", R"({"name":"Other","metadata":{"a":"b"}})");
  EXPECT_EQ(changed.text("name"), "Other");
  EXPECT_EQ(changed.text("id"), "vs_store");
  EXPECT_EQ(call("GET", "/v1/vector_stores/vs_store").text("name"), "Other");
  const Answer gone = call("DELETE", "/v1/vector_stores/vs_store");
  EXPECT_EQ(gone.text("object"), "vector_store.deleted");
  for (const char* id : {"vs_store", "vs_", "store", "vs_../x", "vs_UPPER"}) {
    expect_error(call("GET", std::string("/v1/vector_stores/") + (id == std::string("vs_../x") ? "vs_..%2Fx" : id)), 404,
                 "vector_store_id");
  }
  EXPECT_FALSE(store->find_collection("store"));
}

TEST_F(StoreRoutesTest, BadStoreRequestsNameWhatIsWrong) {
  const auto post = [&](const std::string& body) { return call("POST", "/v1/vector_stores", body); };
  expect_error(post("[]"), 400, "");
  expect_error(post("{"), 400, "");
  expect_error(post(R"({"name":7})"), 400, "name");
  expect_error(post(R"({"metadata":{"a":1}})"), 400, "metadata");
  expect_error(post(R"({"metadata":[]})"), 400, "metadata");
  expect_error(post(R"({"expires_after":{"anchor":"last_active_at","days":1}})"), 400, "expires_after");
  expect_error(post(R"({"chunking_strategy":{"type":"magic"}})"), 400, "chunking_strategy.type");
  expect_error(post(R"({"chunking_strategy":{"type":"static"}})"), 400, "chunking_strategy.static");
  expect_error(post(R"({"chunking_strategy":{"type":"static","static":{"max_chunk_size_tokens":99,"chunk_overlap_tokens":0}}})"), 400,
               "chunking_strategy.static.max_chunk_size_tokens");
  expect_error(post(R"({"chunking_strategy":{"type":"static","static":{"max_chunk_size_tokens":100,"chunk_overlap_tokens":-1}}})"), 400,
               "chunking_strategy.static.chunk_overlap_tokens");
  expect_error(post(R"({"file_ids":["file-0123456789abcdef01234567"]})"), 404, "file_ids[0]");
  expect_error(post(R"({"file_ids":[1]})"), 400, "file_ids[0]");
  EXPECT_TRUE(store->collections().empty());  // nothing half made
}

TEST_F(StoreRoutesTest, AttachedFilesBecomeSearchable) {
  start_model();
  const std::string vs = created("notes"), id = uploaded("tea.md", "# Tea\n\nGreen tea is not fermented.\n");
  const Answer attached = call("POST", "/v1/vector_stores/" + vs + "/files",
                               "{\"file_id\":\"" + id +
                                   "\",\"attributes\":{\"year\":2024,\"author\":\"Ada\"},\"chunking_strategy\":{\"type\":\"static\","
                                   "\"static\":{\"max_chunk_size_tokens\":100,\"chunk_overlap_tokens\":50}}}");
  ASSERT_EQ(attached.status, 200) << attached.body;
  EXPECT_EQ(attached.text("object"), "vector_store.file");
  EXPECT_EQ(attached.text("id"), id);
  EXPECT_EQ(attached.text("vector_store_id"), vs);
  EXPECT_EQ(attached["chunking_strategy"]["static"]["max_chunk_size_tokens"].GetInt(), 100);
  EXPECT_EQ(attached["chunking_strategy"]["static"]["chunk_overlap_tokens"].GetInt(), 0);
  const Answer done = attach_and_wait(vs, id);
  EXPECT_EQ(done.text("status"), "completed") << done.body;
  EXPECT_TRUE(done["last_error"].IsNull());
  EXPECT_EQ(done["attributes"]["year"].GetInt(), 2024);
  EXPECT_STREQ(done["progress"]["stage"].GetString(), "done");

  const Answer found = call("POST", "/v1/vector_stores/" + vs + "/search", R"({"query":"fermentation of tea"})");
  ASSERT_EQ(found.status, 200) << found.body;
  EXPECT_EQ(found.text("object"), "vector_store.search_results.page");
  EXPECT_STREQ(found["search_query"][0].GetString(), "fermentation of tea");
  ASSERT_EQ(found["data"].Size(), 1u) << found.body;
  const rapidjson::Value& hit = found["data"][0];
  EXPECT_EQ(hit["file_id"].GetString(), id);
  EXPECT_STREQ(hit["filename"].GetString(), "tea.md");
  EXPECT_STREQ(hit["content"][0]["text"].GetString(), "Green tea is not fermented.");
  EXPECT_EQ(hit["attributes"]["year"].GetInt(), 2024);
  EXPECT_EQ(hit["start"].GetInt(), 7);

  const Answer content = call("GET", "/v1/vector_stores/" + vs + "/files/" + id + "/content");
  EXPECT_EQ(content.text("object"), "vector_store.file_content.page");
  EXPECT_STREQ(content["data"][0]["text"].GetString(), "Green tea is not fermented.");
  const Answer store_now = call("GET", "/v1/vector_stores/" + vs);
  EXPECT_EQ(store_now["file_counts"]["completed"].GetInt(), 1);
  EXPECT_GT(store_now["usage_bytes"].GetInt(), 0);

  EXPECT_EQ(call("DELETE", "/v1/vector_stores/" + vs + "/files/" + id).text("object"), "vector_store.file.deleted");
  EXPECT_EQ(call("POST", "/v1/vector_stores/" + vs + "/search", R"({"query":"tea"})")["data"].Size(), 0u);
  EXPECT_EQ(call("GET", "/v1/files/" + id).status, 200);
}

TEST_F(StoreRoutesTest, SearchFiltersThresholdsAndCounts) {
  start_model();
  const std::string vs = created("notes");
  for (int i = 0; i < 5; ++i) {
    const std::string id = uploaded(std::to_string(i) + ".md", "Tea number " + std::to_string(i) + ".\n");
    ASSERT_EQ(attach_and_wait(vs, id).text("status"), "completed");
    const Answer tagged = call("POST", "/v1/vector_stores/" + vs + "/files/" + id, "{\"attributes\":{\"n\":" + std::to_string(i) + "}}");
    EXPECT_EQ(tagged["attributes"]["n"].GetInt(), i) << tagged.body;
  }
  const auto search = [&](const std::string& rest) {
    return call("POST", "/v1/vector_stores/" + vs + "/search", "{\"query\":\"tea\"" + rest + "}");
  };
  const auto names = [](const Answer& answer) {
    std::vector<std::string> found;
    for (const auto& hit : answer["data"].GetArray()) found.emplace_back(hit["filename"].GetString());
    std::sort(found.begin(), found.end());
    return found;
  };
  EXPECT_EQ(search("")["data"].Size(), 5u);
  EXPECT_EQ(search(",\"max_num_results\":2")["data"].Size(), 2u);
  EXPECT_THAT(names(search(R"(,"filters":{"type":"gte","key":"n","value":3})")), ElementsAre("3.md", "4.md"));
  EXPECT_THAT(
      names(search(R"(,"filters":{"type":"or","filters":[{"type":"eq","key":"n","value":0},{"type":"in","key":"n","value":[4]}]})")),
      ElementsAre("0.md", "4.md"));
  EXPECT_EQ(search(R"(,"ranking_options":{"ranker":"auto","score_threshold":1.0},"rewrite_query":true)")["data"].Size(), 1u);
  EXPECT_EQ(search(R"(,"mode":"bm25")")["data"].Size(), 5u);
  const Answer two = call("POST", "/v1/vector_stores/" + vs + "/search", R"({"query":["number 1","number 2"],"max_num_results":50})");
  EXPECT_EQ(two["search_query"].Size(), 2u);
  EXPECT_EQ(two["data"].Size(), 5u);  // each passage once

  expect_error(search(R"(,"filters":{"type":"like","key":"n","value":3})"), 400, "filters.type");
  expect_error(search(R"(,"filters":{"type":"eq","value":3})"), 400, "filters.key");
  expect_error(search(R"(,"filters":{"type":"eq","key":"n"})"), 400, "filters.value");
  expect_error(search(R"(,"filters":{"type":"in","key":"n","value":3})"), 400, "filters.value");
  expect_error(search(R"(,"filters":{"type":"eq","key":"n","value":[3]})"), 400, "filters.value");
  expect_error(search(R"(,"filters":{"type":"and","filters":[{"type":"eq","key":"n"}]})"), 400, "filters.filters[0].value");
  expect_error(search(R"(,"filters":[])"), 400, "filters");
  expect_error(search(R"(,"max_num_results":51)"), 400, "max_num_results");
  expect_error(search(R"(,"ranking_options":{"score_threshold":2})"), 400, "ranking_options.score_threshold");
  expect_error(call("POST", "/v1/vector_stores/" + vs + "/search", "{}"), 400, "query");
  expect_error(call("POST", "/v1/vector_stores/vs_nobody/search", R"({"query":"x"})"), 404, "vector_store_id");
}

TEST_F(StoreRoutesTest, AFileThatCannotBeReadFailsAndCanBeTriedAgain) {
  start_model();
  const std::string vs = created("notes"), id = uploaded("a.pdf", "%PDF-1.4");
  const Answer failed = attach_and_wait(vs, id);
  EXPECT_EQ(failed.text("status"), "failed");
  EXPECT_STREQ(failed["last_error"]["code"].GetString(), "unsupported_file");
  EXPECT_THAT(failed["last_error"]["message"].GetString(), HasSubstr("PDF"));
  EXPECT_EQ(call("GET", "/v1/vector_stores/" + vs)["file_counts"]["failed"].GetInt(), 1);
  EXPECT_THAT(call("GET", "/v1/vector_stores/" + vs + "/files?filter=failed").ids(), ElementsAre(id));
  EXPECT_EQ(call("GET", "/v1/vector_stores/" + vs + "/files?filter=completed").ids().size(), 0u);
  expect_error(call("GET", "/v1/vector_stores/" + vs + "/files?filter=x"), 400, "filter");
  EXPECT_EQ(call("POST", "/v1/vector_stores/" + vs + "/files", quoted("file_id", id)).text("status"), "in_progress");
}

TEST_F(StoreRoutesTest, CommandLineDocumentsAreFilesToo) {
  write("a.md", "# A\n\nOctopus.\n");
  index();
  start_model();
  const Answer list = call("GET", "/v1/vector_stores/vs_notes/files");
  ASSERT_EQ(list.ids().size(), 1u) << list.body;
  const std::string id = list.ids()[0];
  EXPECT_EQ(call("GET", "/v1/vector_stores/vs_notes/files").ids()[0], id);
  const Answer file = call("GET", "/v1/vector_stores/vs_notes/files/" + id);
  EXPECT_EQ(file.text("status"), "completed");
  EXPECT_EQ(file.text("filename"), path_of("a.md"));
  const Answer found = call("POST", "/v1/vector_stores/vs_notes/search", R"({"query":"octopus"})");
  EXPECT_EQ(found["data"][0]["file_id"].GetString(), id);
  EXPECT_STREQ(call("GET", "/v1/vector_stores/vs_notes/files/" + id + "/content")["data"][0]["text"].GetString(), "Octopus.");
  EXPECT_STREQ(call("POST", "/v1/vector_stores/vs_notes/files/" + id, R"({"attributes":{"k":"v"}})")["attributes"]["k"].GetString(), "v");
  EXPECT_EQ(call("GET", "/v1/vector_stores/vs_notes")["file_counts"]["completed"].GetInt(), 1);
  EXPECT_EQ(call("DELETE", "/v1/vector_stores/vs_notes/files/" + id).status, 200);
  expect_error(call("GET", "/v1/vector_stores/vs_notes/files/" + id), 404, "file_id");
  expect_error(call("GET", "/v1/files/" + id), 404, "id");
}

TEST_F(StoreRoutesTest, BatchesCountTheirFiles) {
  const std::string vs = created("notes"), a = uploaded("a.md", "Alpha.\n"), b = uploaded("b.md", "Beta.\n"),
                    c = uploaded("c.md", "Gamma.\n");
  const std::string batches = "/v1/vector_stores/" + vs + "/file_batches";
  // No model yet, so nothing moves.
  const Answer cancelled = call("POST", batches, "{\"file_ids\":[\"" + c + "\"]}");
  EXPECT_EQ(cancelled.text("object"), "vector_store.files_batch");
  EXPECT_EQ(call("POST", batches + "/" + cancelled.text("id") + "/cancel").text("status"), "cancelled");
  Answer batch = call("POST", batches, "{\"files\":[{\"file_id\":\"" + a + "\",\"attributes\":{\"k\":1}},{\"file_id\":\"" + b + "\"}]}");
  ASSERT_EQ(batch.status, 200) << batch.body;
  EXPECT_EQ(batch["file_counts"]["in_progress"].GetInt(), 2);
  const std::string id = batch.text("id");
  EXPECT_THAT(call("GET", batches + "/" + id + "/files?order=asc").ids(), ElementsAre(a, b));
  start_model();
  for (int i = 0; i < 3000 && batch.text("status") == "in_progress"; ++i) {
    std::this_thread::sleep_for(5ms);
    batch = call("GET", batches + "/" + id);
  }
  EXPECT_EQ(batch.text("status"), "completed") << batch.body;
  EXPECT_EQ(batch["file_counts"]["total"].GetInt(), 2);
  EXPECT_EQ(call("GET", "/v1/vector_stores/" + vs)["file_counts"]["cancelled"].GetInt(), 1);
  expect_error(call("GET", batches + "/vsfb_0"), 404, "batch_id");
  expect_error(call("POST", batches, "{}"), 400, "file_ids");
  expect_error(call("POST", batches, R"({"file_ids":[]})"), 400, "file_ids");
}

TEST_F(StoreRoutesTest, AReadOnlyServerRefusesChanges) {
  ServerContext reading(ServerOptions{}, *store, Store::Mode::kRead);
  Router routes;
  add_vector_store_routes(routes, reading);
  Request request;
  RecordedReply reply;
  EXPECT_THROW(routes.match("POST", "/v1/vector_stores").route->handler(request, reply), ApiError);
  EXPECT_TRUE(store->collections().empty());
  reading.begin_stopping();
}

}  // namespace
}  // namespace gritstone

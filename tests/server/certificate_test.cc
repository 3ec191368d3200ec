// Answers given under a certificate are checked when nobody asks.
#include "pipelines/certificate.h"

#include "tests/server/server_fixture.h"

namespace gritstone {
namespace {

TEST_F(TinyServerTest, ChecksAnswersUnderACertificateWhenIdle) {
  // Without vectors: the fixture's other collection has those of another model.
  {
    const auto job = files.store->begin_write();
    job->create_collection({.name = "words"});
    Chunk chunk;
    chunk.text = "An octopus has three hearts. Two pump blood through the gills.";
    chunk.span = {0, chunk.text.size()};
    DocumentMeta meta;
    meta.path = "octopus.txt";
    job->put_document("words", meta, std::span(&chunk, 1));
    job->commit();
  }
  Certificate certificate;
  certificate.subject = certificate_subject(parts, parse_reuse("chunks"), KvType::kInt8, PromptLayout::kDocsFirst);
  certificate.questions = 100;
  certificate.changed_upper = 0.03;
  certificate.accept = 0.05;
  certificate.chunks = files.store->find_collection("words")->chunks;
  files.store->begin_write()->put_certificate("words", certificate.subject.name(), certificate_to_json(certificate));
  start(&parts);
  const HttpResponse response = post("/v1/answer", R"({"collection":"words","question":"How many hearts has an octopus?","mode":"bm25",)"
                                                   R"("abstain":false,"max_tokens":12,"reuse":"auto"})");
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_NE(response.body.find("\"policy\":\"chunks\""), std::string::npos) << response.body;
  EXPECT_NE(response.body.find("\"certificate\":\"chunks, int8: 0 of 100 answers changed, at most 3.0 %\""), std::string::npos)
      << response.body;
  EXPECT_TRUE(eventually([&] { return context->metrics().certificate_checks == 1; })) << "the first answer is always checked";
  const auto kept = files.store->certificates(files.store->find_collection("words")->id);
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(certificate_from_json(kept[0]).checked, 1u);
  EXPECT_NE(request("GET", "/metrics").body.find("gritstone_certificate_checks_total 1"), std::string::npos);
}

}  // namespace
}  // namespace gritstone

// Question sets against a collection: what counts as found.
#include "pipelines/retrieval_task.h"

#include "base/checked_file.h"
#include "base/hash.h"
#include "pipelines/eval_retrieval.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/fixtures.h"

namespace gritstone {
namespace {

// Three documents, the first of two passages, in folders of which one name has a space.
class QuestionTask : public ::testing::Test {
 protected:
  QuestionTask() {
    auto job = f.store->begin_write();
    job->create_collection({.name = "notes"});
    put(*job, "/srv/a b/octopus.md", {"An octopus has three hearts.", "Its blood is blue and carries copper."});
    put(*job, "/srv/tea.md", {"Green tea is not oxidised at all."});
    put(*job, "/srv/old/tea.md", {"Black tea is oxidised fully."});
    job->commit();
  }
  static void put(WriteJob& job, const std::string& path, const std::vector<std::string>& texts) {
    std::vector<Chunk> chunks;
    std::size_t at = 0;
    for (const std::string& text : texts) {
      Chunk chunk;
      chunk.text = text;
      chunk.span = {at, at + text.size()};
      at += text.size();
      chunks.push_back(std::move(chunk));
    }
    DocumentMeta meta;
    meta.path = path;
    job.put_document("notes", meta, chunks);
  }
  std::vector<QaQuestion> read(const std::string& text) {
    write_file_atomically(f.directory / "q.jsonl", as_bytes(text));
    return read_questions(f.directory / "q.jsonl");
  }
  RetrievalTask task(const std::string& text, RankedUnit unit = RankedUnit::kDocument) {
    return question_task(read(text), *f.store->snapshot("notes"), unit);
  }
  RetrievalRow bm25(const RetrievalTask& t, const std::vector<Metric>& metrics = {}) {
    EvalRetrievalOptions options;
    options.configs = retrieval_grid("notes", {}, {"bm25"}, {0});
    options.metrics = metrics;
    return eval_retrieval(*f.store, nullptr, t, nullptr, options).at(0);
  }

  PipelineFixture f;
};

// Bytes 28 to 65 are the second passage; the gold span holds all of it and the end of the first.
const char* kGold =
    R"({"id":"g1","question":"Which metal is in its blood?","answers":["copper"],"gold":[{"document":"octopus.md","start":20,"end":65}]})"
    "\n"
    R"({"id":"g2","question":"What leaves green tea green?","answers":["no oxidation"],"gold":[{"document":"/srv/tea.md","start":0,"end":10}]})"
    "\n"
    R"({"id":"g3","question":"Who grows it?","answers":[],"gold":[]})"
    "\n";

TEST_F(QuestionTask, GoldSpansJudgeDocumentsOrPassages) {
  const RetrievalTask documents = task(kGold);
  EXPECT_EQ(documents.unanswerable, 1u);
  EXPECT_FALSE(documents.by_answers());
  EXPECT_EQ(documents.judgements, (Judgements{{"g1", {{"/srv/a%20b/octopus.md", 1}}}, {"g2", {{"/srv/tea.md", 1}}}}));
  const RetrievalTask passages = task(kGold, RankedUnit::kPassage);
  EXPECT_EQ(passages.judgements, (Judgements{{"g1", {{"/srv/a%20b/octopus.md#1", 1}}}, {"g2", {{"/srv/tea.md#0", 1}}}}));
  const RetrievalRow row = bm25(passages);
  EXPECT_EQ(row.queries, 2u);
  EXPECT_EQ(row.score.mean_of(parse_metric("success@5")), 1);
  EXPECT_EQ(row.score.mean_of(parse_metric("recall@100")), 1);
}

TEST_F(QuestionTask, AGoldSpanThatNoPassageHoldsHalfOfBelongsToTheOneWithMost) {
  auto job = f.store->begin_write();
  put(*job, "/srv/long.md", {"aaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccc"});
  job->commit();
  const RetrievalTask t =
      task(R"({"id":"x","question":"?","answers":["b"],"gold":[{"document":"long.md","start":0,"end":32}]})", RankedUnit::kPassage);
  EXPECT_EQ(t.judgements, (Judgements{{"x", {{"/srv/long.md#1", 1}}}}));
  EXPECT_GS_ERROR(
      task(R"({"id":"x","question":"?","answers":["b"],"gold":[{"document":"long.md","start":40,"end":50}]})", RankedUnit::kPassage),
      ErrorCode::kInvalidArgument, "q.jsonl, line 1: no passage of /srv/long.md overlaps bytes 40 to 50");
}

TEST_F(QuestionTask, WithoutGoldAPassageThatHoldsAnAnswerCounts) {
  const RetrievalTask t = task(R"({"question":"blood copper","answer":["The Copper!"]}
{"question":"tea oxidised","golden_answers":["fully"]}
{"question":"octopus hearts","answers":["nine hearts"]}
{"question":"blood group","answers":["A"]})");
  EXPECT_TRUE(t.by_answers());
  EXPECT_EQ(t.unit, RankedUnit::kPassage);
  EXPECT_EQ(t.unanswerable, 1u) << "an answer that normalises to nothing";
  EXPECT_NE(t.note.find("only Success@K and RR"), std::string::npos);
  const RetrievalRow row = bm25(t);
  EXPECT_EQ(row.queries, 3u);
  EXPECT_EQ(row.score.metrics[0].name(), "success@1");
  EXPECT_EQ(row.score.per_query.at("1"), std::vector<double>(6, 1.0));
  EXPECT_EQ(row.score.per_query.at("3"), std::vector<double>(6, 0.0));
  EXPECT_EQ(row.score.per_query.at("2")[1], 1);  // success@5
  EXPECT_GS_ERROR(bm25(t, {parse_metric("ndcg@10")}), ErrorCode::kInvalidArgument, "ndcg@10 needs to know which passages are relevant");
  write_file_atomically(f.directory / "run", as_bytes("1 Q0 x 1 1 t\n"));
  EXPECT_GS_ERROR(eval_run(t, f.directory / "run", {}), ErrorCode::kInvalidArgument, "cannot be scored");
}

TEST_F(QuestionTask, DprsPositivesAreDocumentsWhereTheCollectionHasThem) {
  const auto dpr = [](const std::string& id) {
    return R"([{"dataset":"nq","question":"blood copper","answers":["copper"],"positive_ctxs":[{"title":"Octopus","text":"...","score":1,"passage_id":")" +
           id + R"("}],"negative_ctxs":[],"hard_negative_ctxs":[]}])";
  };
  const RetrievalTask known = task(dpr("octopus.md"), RankedUnit::kPassage);
  EXPECT_EQ(known.judgements, (Judgements{{"1", {{"/srv/a%20b/octopus.md", 1}}}}));
  EXPECT_EQ(known.unit, RankedUnit::kDocument);
  const RetrievalTask unknown = task(dpr("wiki:12"));
  EXPECT_TRUE(unknown.by_answers());
  EXPECT_TRUE(unknown.note.starts_with("1 of 1 passages that positive_ctxs name")) << unknown.note;
}

TEST_F(QuestionTask, ErrorsNameTheQuestion) {
  EXPECT_GS_ERROR(task(R"({"question":"?","answers":["x"],"gold":[{"document":"moon.md","start":0,"end":4}]})"),
                  ErrorCode::kInvalidArgument, "q.jsonl, line 1: the gold document \"moon.md\" is not in collection \"notes\"");
  EXPECT_GS_ERROR(task(R"({"question":"?","answers":["x"],"gold":[{"document":"a b","start":0,"end":4}]})"), ErrorCode::kInvalidArgument,
                  "\"a b\" is not in");
  auto job = f.store->begin_write();
  put(*job, "/srv/new/octopus.md", {"Other."});
  job->commit();
  EXPECT_GS_ERROR(task(kGold), ErrorCode::kInvalidArgument, "line 1: the gold document \"octopus.md\" is ambiguous");
  EXPECT_GS_ERROR(task(std::string(R"({"question":"?","answers":["x"]})") + "\n" + kGold), ErrorCode::kInvalidArgument,
                  "line 1: this question has no \"gold\"");
  EXPECT_GS_ERROR(task(R"({"question":"?","answers":[]})"), ErrorCode::kInvalidArgument, "none of the 1 questions has an answer");
  EXPECT_GS_ERROR(read("{\"question\":\"?\",\"answers\":[\"x\"]}\n{\"question\":\"?\",\"answers\":[\" \"]}"), ErrorCode::kInvalidArgument,
                  "q.jsonl, line 2: an answer is empty");
  std::string many;
  for (int i = 1; i < 10000; ++i) many += "{\"question\":\"?\",\"answers\":[\"x\"]}\n";
  EXPECT_GS_ERROR(read(many + "{\"question\":\"?\",\"answers\":[\"x\"}\n"), ErrorCode::kInvalidArgument, "q.jsonl, line 10000: ");
  EXPECT_GS_ERROR(read(many + "{\"id\":\"7\",\"question\":\"?\",\"answers\":[\"x\"]}\n"), ErrorCode::kInvalidArgument,
                  "q.jsonl, line 10000: the id \"7\" stands there twice");
}

}  // namespace
}  // namespace gritstone

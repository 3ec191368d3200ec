// SQuAD's formulas at their edges, and question sets as they are found.
#include "pipelines/qa_metrics.h"

#include <gtest/gtest.h>

#include <fstream>

#include "pipelines/qa_questions.h"
#include "pipelines/statistics.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"

namespace gritstone {
namespace {

// The right-hand sides are what SQuAD's published script gives.
TEST(NormaliseAnswer, IsSquads) {
  EXPECT_EQ(normalise_answer("The  Eiffel-Tower, a tower."), "eiffeltower tower");
  EXPECT_EQ(normalise_answer("a an the"), "");
  EXPECT_EQ(normalise_answer("theatre another"), "theatre another");
  EXPECT_EQ(normalise_answer("U.S.A."), "usa");
  EXPECT_EQ(normalise_answer("a.n apple"), "apple") << "punctuation goes first";
  EXPECT_EQ(normalise_answer("\tÉCOLE\u00a0Normale\n"), "école normale");
  EXPECT_EQ(normalise_answer("the—end"), "—end") << "a dash that is not ASCII stays and bounds the word";
  EXPECT_EQ(normalise_answer("1,234.5 km"), "12345 km");
  EXPECT_EQ(normalise_answer("don't"), "dont");
  EXPECT_EQ(normalise_answer(""), "");
}

TEST(ScoreAnswer, TakesTheBestGoldAnswer) {
  const std::vector<std::string> gold{"Paris, France", "Paris"};
  EXPECT_EQ(score_answer("the Paris", gold).exact_match, 1);
  EXPECT_EQ(score_answer("Paris", gold).f1, 1);
  const AnswerScore longer = score_answer("It is Paris.", gold);
  EXPECT_EQ(longer.exact_match, 0);
  EXPECT_DOUBLE_EQ(longer.f1, 0.5);  // precision 1/3, recall 1
  EXPECT_TRUE(longer.contained);
  EXPECT_FALSE(score_answer("Parisian", gold).contained) << "whole words";
  EXPECT_EQ(score_answer("Lyon", gold).f1, 0);
}

TEST(ScoreAnswer, CountsWordsAsOftenAsBothHaveThem) {
  const std::vector<std::string> gold{"no no yes"};
  EXPECT_DOUBLE_EQ(score_answer("no yes yes", gold).f1, 2.0 / 3);
}

TEST(ScoreAnswer, KnowsUnanswerableQuestionsAndEmptyAnswers) {
  EXPECT_EQ(score_answer("", {}).exact_match, 1);
  EXPECT_EQ(score_answer("", {}).f1, 1);
  EXPECT_EQ(score_answer("Paris", {}).f1, 0);
  const std::vector<std::string> articles{"the"};
  EXPECT_EQ(score_answer("a", articles).f1, 1) << "both are empty after normalisation";
  EXPECT_EQ(score_answer("Paris", articles).f1, 0);
  EXPECT_FALSE(score_answer("", articles).contained);
}

TEST(ScoreAnswer, GoldMustStandBeforeWhatWouldBeWrong) {
  const std::vector<std::string> gold{"Chad"}, against{"Niger"};
  EXPECT_TRUE(score_answer("Chad is larger than Niger.", gold, against).contained);
  EXPECT_FALSE(score_answer("Niger is larger than Chad.", gold, against).contained);
  EXPECT_TRUE(score_answer("Chad.", gold, against).contained);
}

TEST(LowerBound, IsTheComplementOfTheUpper) {
  EXPECT_NEAR(lower_bound_95(100, 100), 0.97049, 1e-5);  // scipy.stats.beta.ppf(0.05, 100, 1)
  EXPECT_NEAR(lower_bound_95(95, 100), 0.89775, 1e-5);   // scipy.stats.beta.ppf(0.05, 95, 6)
  EXPECT_EQ(lower_bound_95(0, 10), 0);
  EXPECT_EQ(lower_bound_95(0, 0), 0);
}

class Questions : public ::testing::Test {
 protected:
  std::vector<QaQuestion> read(const std::string& text) {
    std::ofstream(directory_ / "q", std::ios::trunc) << text;
    return read_questions(directory_ / "q");
  }
  TempDirectory directory_;
};

TEST_F(Questions, OfOurOwn) {
  const auto q = read(
      R"({"id":"x","question":"Who?","answers":["Ada","A. L."],"kind":"single","gold":[{"document":"a.md","start":3,"end":9,"text":"."}]})"
      "\n\n"
      R"({"id":"y","question":"When?","answers":[],"kind":"unanswerable"})");
  ASSERT_EQ(q.size(), 2u);
  EXPECT_EQ(q[0].answers, (std::vector<std::string>{"Ada", "A. L."}));
  ASSERT_EQ(q[0].gold.size(), 1u);
  EXPECT_EQ(q[0].gold[0].document, "a.md");
  EXPECT_EQ(q[0].gold[0].end, 9u);
  EXPECT_TRUE(q[1].answers.empty());
  EXPECT_EQ(q[1].kind, "unanswerable");
}

TEST_F(Questions, OfNqOpenAndFlashRag) {
  const auto q = read(
      "{\"question\":\"who\",\"answer\":[\"a\",\"b\"]}\n{\"id\":\"t1\",\"question\":\"what\",\"golden_answers\":[\"c\"]}\n"
      "{\"question\":\"why\",\"answer\":\"d\"}\n");
  ASSERT_EQ(q.size(), 3u);
  EXPECT_EQ(q[0].id, "1");
  EXPECT_EQ(q[0].answers.size(), 2u);
  EXPECT_EQ(q[1].id, "t1");
  EXPECT_EQ(q[2].answers, std::vector<std::string>{"d"});
}

TEST_F(Questions, OfSquad) {
  const auto q = read(R"({"version":"v2.0","data":[{"title":"T","paragraphs":[{"context":"c","qas":[
    {"id":"1","question":"A?","answers":[{"text":"x","answer_start":0},{"text":"y","answer_start":1}],"is_impossible":false},
    {"id":"2","question":"B?","answers":[],"plausible_answers":[{"text":"z","answer_start":0}],"is_impossible":true}]}]}]})");
  ASSERT_EQ(q.size(), 2u);
  EXPECT_EQ(q[0].answers, (std::vector<std::string>{"x", "y"}));
  EXPECT_TRUE(q[1].answers.empty());
  EXPECT_EQ(q[1].kind, "unanswerable");
}

TEST_F(Questions, ThatAreWrongNameTheLine) {
  EXPECT_GS_ERROR(read("{\"question\":\"a\",\"answer\":[\"b\"]}\nnot json\n"), ErrorCode::kInvalidArgument, "line 2");
  EXPECT_GS_ERROR(read("{\"answer\":[\"b\"]}\n"), ErrorCode::kInvalidArgument, "line 1: no \"question\"");
  EXPECT_GS_ERROR(read("{\"question\":\"a\"}\n"), ErrorCode::kInvalidArgument, "none of");
  EXPECT_GS_ERROR(read("{\"question\":\"a\",\"answer\":[1]}\n"), ErrorCode::kInvalidArgument, "no text");
  EXPECT_GS_ERROR(read("{\"id\":\"a\",\"question\":\"a\",\"answer\":\"x\"}\n{\"id\":\"a\",\"question\":\"b\",\"answer\":\"x\"}\n"),
                  ErrorCode::kInvalidArgument, "twice");
  EXPECT_GS_ERROR(read("[1]\n"), ErrorCode::kInvalidArgument, "no JSON object");
  EXPECT_GS_ERROR(read("\n"), ErrorCode::kInvalidArgument, "no questions");
  EXPECT_GS_ERROR(read(R"({"question":"a","answer":"x","gold":[{"document":"d","start":9,"end":3}]})"), ErrorCode::kInvalidArgument,
                  "start and end");
  EXPECT_GS_ERROR(read(R"({"data":[{"paragraphs":[{"qas":[{"id":"1","question":"A?"}]}]}]})"), ErrorCode::kInvalidArgument, "answers");
}

}  // namespace
}  // namespace gritstone

#include "pipelines/answer.h"

#include "base/checked_file.h"
#include "tests/base/expect_error.h"
#include "tests/pipelines/fixtures.h"

namespace gritstone {
namespace {

class Answering : public ::testing::Test {
 protected:
  Answering() {
    f.write("octopus.md", "# Octopus\n\nIt lives in the sea.\nAn octopus has **three** hearts. Two pump blood through the gills.\n");
    f.write("heart.html",
            "<html><body><h1>Heart</h1><p>The human heart has <b>four</b> chambers &amp; rests between beats.</p></body></html>");
    f.write("tea.txt", "Green tea is not oxidised. Black tea is.\n");
    f.index();
    options.max_new_tokens = 100;
  }

  AnswerResult ask(const std::string& question) {
    const auto snapshot = f.store->snapshot("notes");
    const auto embedder = open_collection_embedder(f.parts, snapshot->info());
    return answer(*snapshot, embedder.get(), f.parts, question, options);
  }

  std::string source(const std::string& path, std::size_t start, std::size_t end) {
    return read_file(path, 1 << 20).substr(start, end - start);
  }

  PipelineFixture f;
  AnswerOptions options;
};

TEST_F(Answering, CitesTheSentenceInTheSource) {
  f.engine.set_script("An octopus has three hearts [1].");
  std::string streamed;
  std::size_t retrieved = 0;
  options.on_text = [&](std::string_view text) { streamed += text; };
  options.on_retrieved = [&](const SearchResult& found) { retrieved = found.hits.size(); };
  const AnswerResult a = ask("How many hearts does an octopus have?");
  EXPECT_EQ(a.answer, "An octopus has three hearts [1].");
  EXPECT_EQ(streamed, a.answer);
  EXPECT_GT(retrieved, 0u);
  EXPECT_FALSE(a.abstained);
  ASSERT_EQ(a.citations.size(), 1u);
  EXPECT_EQ(a.citations[0].path, f.path_of("octopus.md"));
  EXPECT_EQ(a.citations[0].heading, "Octopus");
  EXPECT_EQ(a.citations[0].text, "An octopus has three hearts.");
  EXPECT_EQ(source(a.citations[0].path, a.citations[0].start, a.citations[0].end), "An octopus has **three** hearts.");
  EXPECT_EQ(a.passages[0].path, f.path_of("octopus.md"));
  EXPECT_GT(a.usage.prompt_tokens, 50u);
  EXPECT_GT(a.timings.ttft_ms, 0.0);
  EXPECT_GE(a.timings.total_ms, a.timings.ttft_ms);
  EXPECT_EQ(a.reuse.policy, "none");
  EXPECT_EQ(a.generation, f.store->find_collection("notes")->generation);
}

TEST_F(Answering, SpansOfHtmlAreBytesOfTheFile) {
  f.engine.set_script("The human heart has four chambers & rests between beats.");
  const AnswerResult a = ask("How many chambers has the human heart?");
  ASSERT_EQ(a.citations.size(), 1u);
  EXPECT_EQ(source(a.citations[0].path, a.citations[0].start, a.citations[0].end),
            "The human heart has <b>four</b> chambers &amp; rests between beats.");
}

TEST_F(Answering, AChangedSourceStillGivesThePassagesSpan) {
  f.engine.set_script("An octopus has three hearts [1].");
  f.write("octopus.md", "Something else.");
  const AnswerResult a = ask("How many hearts does an octopus have?");
  ASSERT_EQ(a.citations.size(), 1u);
  EXPECT_LT(a.citations[0].start, a.citations[0].end);
  EXPECT_EQ(a.citations[0].text, "An octopus has three hearts.");
}

TEST_F(Answering, AbstainsWithTheNearestPassages) {
  f.engine.set_script("never used");
  const std::size_t jobs = f.engine.jobs();
  const AnswerResult a = ask("Which locomotive pulled royal trains through Ballarat with seven octopus passengers yesterday?");
  EXPECT_TRUE(a.abstained);
  EXPECT_EQ(a.answer, PromptFormat::refusal());
  EXPECT_FALSE(a.abstain_reason.empty());
  EXPECT_FALSE(a.passages.empty());
  EXPECT_TRUE(a.citations.empty());
  EXPECT_EQ(a.usage.completion_tokens, 0u);
  EXPECT_EQ(f.engine.jobs(), jobs + 1);  // only the question was embedded
  options.abstain = false;
  EXPECT_EQ(ask("Which locomotive pulled royal trains through Ballarat?").answer, "never used");
}

TEST_F(Answering, TheModelsOwnRefusalIsAnAbstention) {
  f.engine.set_script("The documents do not say.");
  const AnswerResult a = ask("How old does an octopus get?");
  EXPECT_TRUE(a.abstained);
  EXPECT_TRUE(a.citations.empty());
}

TEST_F(Answering, WhatNoPassageSupportsIsWithheld) {
  f.engine.set_script("Its mantle glows with uranium powder.");
  AnswerResult a = ask("How many hearts does an octopus have?");
  EXPECT_TRUE(a.abstained);
  EXPECT_EQ(a.answer, PromptFormat::refusal());
  EXPECT_EQ(a.withheld, "Its mantle glows with uranium powder.");
  EXPECT_FALSE(a.passages.empty());
  options.abstain = false;
  a = ask("How many hearts does an octopus have?");
  EXPECT_FALSE(a.abstained);
  EXPECT_EQ(a.answer, "Its mantle glows with uranium powder.");
  EXPECT_FALSE(a.sentences[0].supported);
}

TEST_F(Answering, UnsupportedSentencesAreMarked) {
  f.engine.set_script("Green tea is not oxidised. Bananas grow on Mars near craters.");
  const AnswerResult a = ask("Is green tea oxidised?");
  ASSERT_EQ(a.sentences.size(), 2u);
  EXPECT_TRUE(a.sentences[0].supported);
  EXPECT_FALSE(a.sentences[1].supported);
}

TEST_F(Answering, WhatDoesNotFitIsListed) {
  f.write("long.md", "# Long octopus\n\nThe octopus story " + std::string(200, 'o') + ".\n");
  f.index();
  f.engine.set_script("An octopus has three hearts.");
  const PromptFormat format(f.tokenizer, PromptStyle::kChatMl);
  options.max_new_tokens = 40;
  const std::string question = "How many hearts does an octopus have?";
  f.engine.mutable_config().context =
      format.answer_base_tokens(question, PromptLayout::kDocsFirst) + 40 + 160;  // room for one short passage
  const AnswerResult a = ask(question);
  EXPECT_FALSE(a.dropped.empty());
  bool long_dropped = false;
  for (const DroppedPassage& d : a.dropped) long_dropped |= d.path == f.path_of("long.md");
  EXPECT_TRUE(long_dropped);
  EXPECT_NE(a.dropped[0].reason.find("does not fit"), std::string::npos);
  EXPECT_LE(a.usage.prompt_tokens + 40, f.engine.config().context);
  f.engine.mutable_config().context = 60;
  EXPECT_GS_ERROR(ask(question), ErrorCode::kInvalidArgument, "context is 60");
}

TEST_F(Answering, PromptHoldsThePassagesInRankOrder) {
  f.engine.set_script("x");
  options.layout = PromptLayout::kQueryFirst;
  const AnswerResult a = ask("octopus hearts and green tea");
  const std::string prompt = f.tokenizer.decode(f.engine.last_job().tokens);
  EXPECT_LT(prompt.find("Question: octopus"), prompt.find("[1]\n"));
  std::size_t at = 0;
  for (const AnswerPassage& passage : a.passages) {
    const std::size_t found = prompt.find(passage.text);
    EXPECT_GE(found, at);
    at = found;
  }
  EXPECT_GS_ERROR(ask("  \n"), ErrorCode::kInvalidArgument, "empty");
}

}  // namespace
}  // namespace gritstone

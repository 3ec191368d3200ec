#include "generator/citations.h"

#include <gtest/gtest.h>

#include "generator/abstention.h"
#include "generator/sentences.h"

namespace gritstone {
namespace {

const std::vector<GroundPassage> kPassages{
    {"heart.md", "The heart", {}, "The heart beats all life long. The human heart has four chambers. It rests between beats."},
    {"octopus.md", "Octopus > Body", {}, "An octopus has three hearts. Two of them pump blood through the gills."},
    {"tea.md", "Tea", {}, "Green tea is not oxidised."}};

GroundedAnswer ground(std::string_view answer, std::string_view question = "How many hearts has an octopus?") {
  return cite(answer, question, kPassages, "english", [](std::size_t p, std::size_t from, std::size_t to) {
    return ByteSpan{1000 * (p + 1) + from, 1000 * (p + 1) + to};
  });
}

TEST(Citations, MarkerThatHoldsIsKeptWithTheSentenceThatSupports) {
  const GroundedAnswer g = ground("An octopus has three hearts [2].");
  EXPECT_EQ(g.text, "An octopus has three hearts [2].");
  EXPECT_EQ(g.plain, "An octopus has three hearts.");
  ASSERT_EQ(g.citations.size(), 1u);
  const Citation& c = g.citations[0];
  EXPECT_EQ(c.n, 2u);
  EXPECT_EQ(c.path, "octopus.md");
  EXPECT_EQ(c.heading, "Octopus > Body");
  EXPECT_EQ(c.text, "An octopus has three hearts.");
  EXPECT_EQ(c.start, 2000u);
  EXPECT_EQ(c.end, 2028u);
  EXPECT_DOUBLE_EQ(c.strength, 1.0);
  ASSERT_EQ(g.sentences.size(), 1u);
  EXPECT_TRUE(g.sentences[0].supported);
}

TEST(Citations, WrongMarkerIsReplacedByThePassageThatSupports) {
  const GroundedAnswer g = ground("An octopus has three hearts [3]. [9]");
  EXPECT_EQ(g.text, "An octopus has three hearts [2].");
  ASSERT_EQ(g.citations.size(), 1u);
  EXPECT_EQ(g.citations[0].n, 2u);
}

TEST(Citations, SentenceWithoutMarkerGetsItsPassageAndTheRestIsMarked) {
  const GroundedAnswer g = ground("The human heart has four chambers. Bananas are berries by botany. Green tea is not oxidised!");
  EXPECT_EQ(g.text, "The human heart has four chambers [1]. Bananas are berries by botany. Green tea is not oxidised [3]!");
  ASSERT_EQ(g.sentences.size(), 3u);
  EXPECT_TRUE(g.sentences[0].supported);
  EXPECT_FALSE(g.sentences[1].supported);
  EXPECT_TRUE(g.sentences[2].supported);
  EXPECT_EQ(g.text.substr(g.sentences[1].start, g.sentences[1].end - g.sentences[1].start), "Bananas are berries by botany.");
  ASSERT_EQ(g.citations.size(), 2u);
  EXPECT_EQ(g.citations[0].text, "The human heart has four chambers.");
}

TEST(Citations, MarkerAfterThePointBelongsToTheSentenceBefore) {
  const GroundedAnswer g = ground("An octopus has three hearts. [2] The human heart has four chambers. [1]");
  EXPECT_EQ(g.text, "An octopus has three hearts [2]. The human heart has four chambers [1].");
}

TEST(Citations, AtMostTwoPassagesASentence) {
  const GroundedAnswer g = ground("Hearts have chambers and hearts pump blood through gills [1, 2][3][1].");
  ASSERT_EQ(g.sentences.size(), 1u);
  EXPECT_LE(g.sentences[0].citations.size(), kMaxCitationsPerSentence);
  EXPECT_EQ(g.citations.size(), 2u);
}

TEST(Citations, ShortAnswerIsFoundWhereTheQuestionIs) {
  const GroundedAnswer g = ground("Three.");
  ASSERT_EQ(g.citations.size(), 1u);
  EXPECT_EQ(g.citations[0].n, 2u);
  EXPECT_EQ(g.citations[0].text, "An octopus has three hearts.");
  // A figure is as good as its word.
  const GroundedAnswer digit = ground("The answer is 3");
  ASSERT_EQ(digit.citations.size(), 1u);
  EXPECT_EQ(digit.citations[0].n, 2u);
}

TEST(Citations, YesSaysWhatTheQuestionSaid) {
  const GroundedAnswer g = ground("Yes.", "Does an octopus have three hearts?");
  ASSERT_EQ(g.citations.size(), 1u);
  EXPECT_EQ(g.citations[0].text, "An octopus has three hearts.");
  EXPECT_TRUE(ground("No.", "Is Paris in Texas?").citations.empty());
}

TEST(Citations, AnotherFigureIsNotSupported) {
  const std::vector<GroundPassage> passages{{"kiln.md", "Kiln", {}, "The craft house bought its kiln in 2,016 for 900 crowns."}};
  const auto none = [](std::size_t, std::size_t from, std::size_t to) { return ByteSpan{from, to}; };
  EXPECT_FALSE(cite("The craft house bought its kiln in 2018 [1].", "When?", passages, "english", none).sentences[0].supported);
  EXPECT_TRUE(cite("The craft house bought its kiln in 2016 [1].", "When?", passages, "english", none).sentences[0].supported);
}

TEST(Citations, BracketsThatAreNoMarkersStay) {
  EXPECT_EQ(ground("See [note] and [12a] and x[i].").plain, "See [note] and [12a] and x[i].");
  EXPECT_EQ(ground("").text, "");
  EXPECT_TRUE(ground("[1]").citations.empty());
}

TEST(Sentences, KeepAbbreviationsTogetherAndEndAtLines) {
  const std::string text = "Dr. Smith met J. R. Tolkien. It rained.\nA new line\n\nLast one? Yes!";
  std::vector<std::string> found;
  for (const ByteSpan& s : sentences_of(text)) found.push_back(text.substr(s.start, s.end - s.start));
  EXPECT_EQ(found, (std::vector<std::string>{"Dr. Smith met J. R. Tolkien.", "It rained.", "A new line", "Last one?", "Yes!"}));
  EXPECT_TRUE(sentences_of("  \n ").empty());
}

TEST(Abstention, CoverageIsTheBestPassagesShareOfTheQuestion) {
  const std::vector<std::string> passages{"Octopuses have three hearts", "The heart"};
  EXPECT_DOUBLE_EQ(question_coverage("Which hearts has an octopus?", passages, "english"), 1.0);
  EXPECT_LT(question_coverage("Which harbour exports zinc?", passages, "english"), 0.01);
  EXPECT_EQ(question_coverage("anything", {}, "english"), 0.0);
  EXPECT_TRUE(lacks_support({0.1, -1}, {}));
  EXPECT_FALSE(lacks_support({0.9, -1}, {}));
  AbstentionOptions tuned;
  tuned.min_cosine = 0.5;
  EXPECT_FALSE(lacks_support({0.0, 0.6}, tuned));
}

TEST(Abstention, RefusalsAreRecognised) {
  EXPECT_TRUE(is_refusal("The documents do not say."));
  EXPECT_TRUE(is_refusal("Sorry, the passages do not mention a price."));
  EXPECT_FALSE(is_refusal("The documents were signed in 1215."));
}

}  // namespace
}  // namespace gritstone

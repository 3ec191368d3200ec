// Which part of a passage stands before the model when there is no time for all of it.
#include "generator/passage_window.h"

#include <gtest/gtest.h>

#include "tests/base/expect_error.h"

namespace gritstone {
namespace {

// A token a word.
class Words : public TokenCounter {
 public:
  std::size_t count(std::string_view text) const override {
    std::size_t n = 0;
    bool inside = false;
    for (const char c : text) {
      n += c != ' ' && !inside ? 1 : 0;
      inside = c != ' ';
    }
    return n;
  }
};

constexpr std::string_view kPassage =
    "The harbour is old. It was built of grey stone. Ferries leave at nine in winter. In summer they leave hourly. Tickets cost four "
    "crowns.";

std::string window(std::string_view question, std::size_t tokens, std::string_view passage = kPassage) {
  const ByteSpan span = passage_window(passage, question, tokens, Words(), "english");
  return std::string(passage.substr(span.start, span.end - span.start));
}

TEST(PassageWindow, AShortPassageStaysWhole) {
  EXPECT_EQ(window("When do ferries leave?", 100), kPassage);
  EXPECT_EQ(window("When do ferries leave?", Words().count(kPassage)), kPassage);
  EXPECT_EQ(window("Anything", 4, ""), "");
}

TEST(PassageWindow, HoldsTheSentencesWithTheQuestionsTerms) {
  EXPECT_EQ(window("When does the ferry leave in winter?", 7), "Ferries leave at nine in winter.");
  EXPECT_EQ(window("How much is a ticket in crowns?", 6), "Tickets cost four crowns.");
  // Room for two: the pair that holds most of the question.
  EXPECT_EQ(window("When do ferries leave in summer and winter?", 14), "Ferries leave at nine in winter. In summer they leave hourly.");
}

TEST(PassageWindow, OfEqualOnesTheFirst) { EXPECT_EQ(window("Which planet is largest?", 5), "The harbour is old."); }

TEST(PassageWindow, ASentenceIsNeverCut) { EXPECT_EQ(window("ferries in winter", 2), "Ferries leave at nine in winter."); }

TEST(PassageWindow, NeverLongerThanAsked) {
  for (std::size_t tokens = 8; tokens < 30; ++tokens) {
    const std::string text = window("When do ferries leave in summer and winter?", tokens);
    EXPECT_LE(Words().count(text), tokens) << text;
    EXPECT_NE(text.find("Ferries leave"), std::string::npos) << text;
  }
}

TEST(PassageWindow, UnknownLanguage) {
  EXPECT_GS_ERROR(passage_window(kPassage, "ferry", 5, Words(), "klingon"), ErrorCode::kInvalidArgument, "klingon");
}

}  // namespace
}  // namespace gritstone

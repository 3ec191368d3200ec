#include "generator/stop_matcher.h"

#include <gtest/gtest.h>

#include "base/utf8.h"

namespace gritstone {
namespace {

// Every piece that comes out, and the whole.
struct Fed {
  std::string text;
  bool stopped = false;
  bool always_valid = true;
};

Fed feed_bytes(StopMatcher matcher, const std::string& bytes, std::size_t piece) {
  Fed fed;
  for (std::size_t i = 0; i < bytes.size(); i += piece) {
    const std::string out = matcher.feed(std::string_view(bytes).substr(i, piece));
    fed.always_valid &= is_valid_utf8(out);
    fed.text += out;
  }
  fed.stopped = matcher.stopped();
  fed.text += matcher.finish();
  return fed;
}

TEST(StopMatcher, EndsBeforeTheStopHoweverTheTokensFall) {
  const std::string bytes = "The answer.\nQuestion: next";
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    const Fed fed = feed_bytes(StopMatcher({"\nQuestion:", "never"}), bytes, piece);
    EXPECT_TRUE(fed.stopped) << piece;
    EXPECT_EQ(fed.text, "The answer.") << piece;
  }
}

TEST(StopMatcher, HoldsBackOnlyWhatMayStillBecomeAStop) {
  StopMatcher matcher({"</s>", "ENDE"});
  EXPECT_EQ(matcher.feed("abc </"), "abc ");
  EXPECT_EQ(matcher.feed("s"), "");
  EXPECT_EQ(matcher.feed("x EN"), "</sx ");
  EXPECT_EQ(matcher.feed("DE tail"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.feed("more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, UnfinishedStopIsTextInTheEnd) {
  StopMatcher matcher({"<|user|>"});
  EXPECT_EQ(matcher.feed("a <|us"), "a ");
  EXPECT_EQ(matcher.finish(), "<|us");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, CodePointsComeOutWhole) {
  const std::string bytes = "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x90\x99!";
  for (std::size_t piece = 1; piece <= 4; ++piece) {
    const Fed fed = feed_bytes(StopMatcher({"zzz"}), bytes, piece);
    EXPECT_TRUE(fed.always_valid) << piece;
    EXPECT_EQ(fed.text, bytes) << piece;
  }
}

TEST(StopMatcher, BytesThatAreNoTextAreReplaced) {
  const Fed fed = feed_bytes(StopMatcher({}), std::string("a\xFF b\xE2\x82"), 1);
  EXPECT_TRUE(fed.always_valid);
  EXPECT_TRUE(fed.text.starts_with("a\xEF\xBF\xBD b\xEF\xBF\xBD")) << fed.text;
}

TEST(StopMatcher, EarliestOfSeveralWins) {
  EXPECT_EQ(feed_bytes(StopMatcher({"cd", "b"}), "abcd", 4).text, "a");
  EXPECT_EQ(feed_bytes(StopMatcher({""}), "abcd", 2).text, "abcd");
}

}  // namespace
}  // namespace gritstone

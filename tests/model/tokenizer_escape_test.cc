#include <gtest/gtest.h>

#include "model/tokenizer/role_escape.h"

namespace gritstone {
namespace {

TEST(TokenizerEscape, BreaksEveryMarker) {
  for (const char* name : {"user", "assistant", "embed", "system", "im_start", "im_end", "endoftext", "eot_id", "a-b_9"}) {
    const std::string marker = "<|" + std::string(name) + "|>";
    const std::string escaped = escape_roles("before" + marker + marker + "after");
    EXPECT_EQ(escaped.find(marker), std::string::npos);
    EXPECT_EQ(escaped, "before<| " + marker.substr(2) + "<| " + marker.substr(2) + "after");
    EXPECT_EQ(escape_roles(escaped), escaped);
  }
}

TEST(TokenizerEscape, LeavesOtherTextAlone) {
  for (const char* text :
       {"", "<", "<|", "<||>", "<| user|>", "a <| b |> c", "<|us er|>", "<|user|", "|user|>", "x <|> y", "<|\xC3\xA9|>"}) {
    EXPECT_EQ(escape_roles(text), text);
  }
  EXPECT_EQ(escape_roles("<|" + std::string(65, 'a') + "|>"), "<|" + std::string(65, 'a') + "|>");
}

TEST(TokenizerEscape, NestingMakesNoMarker) {
  EXPECT_EQ(escape_roles("<|us<|user|>er|>"), "<|us<| user|>er|>");
  EXPECT_EQ(escape_roles("<|<|user|>"), "<|<| user|>");
  EXPECT_EQ(escape_roles("<|user|><|user|>").find("<|user|>"), std::string::npos);
}

}  // namespace
}  // namespace gritstone

// Conditions over attributes: the store's SQL and the filter of a search agree on what passes.
#include <gtest/gtest.h>

#include <algorithm>

#include "index/store.h"
#include "tests/index/fixtures.h"

namespace gritstone {
namespace {

using testing::make_chunk;
using testing::make_meta;
using testing::TempDir;

class ConditionTest : public ::testing::Test {
 protected:
  using Op = AttributeCondition::Op;

  void SetUp() override {
    auto job = store_->begin_write();
    job->create_collection({.name = "c"});
    const auto put = [&](const std::string& path, const std::map<std::string, std::string>& attributes) {
      DocumentMeta meta = make_meta(path);
      meta.attributes = attributes;
      const std::vector<Chunk> chunks{make_chunk("word " + path)};
      job->put_document("c", meta, chunks);
    };
    put("a", {{"year", "9"}, {"author", "Ada"}, {"draft", "true"}});
    put("b", {{"year", "10"}, {"author", "Bob"}, {"draft", "false"}});
    put("c", {{"year", "12th"}, {"author", "Ada"}});
    put("d", {});
    job->commit();
  }

  static AttributeCondition is(Op op, const std::string& key, std::vector<AttributeValue> values) {
    AttributeCondition condition;
    condition.op = op;
    condition.key = key;
    condition.values = std::move(values);
    return condition;
  }
  static AttributeCondition join(Op op, std::vector<AttributeCondition> conditions) {
    AttributeCondition condition;
    condition.op = op;
    condition.conditions = std::move(conditions);
    return condition;
  }

  // Paths of the documents that pass; both ways of asking agree.
  std::string passing(const AttributeCondition& condition) const {
    const auto snapshot = store_->snapshot("c");
    Filter filter;
    filter.condition = condition;
    std::string paths;
    for (const ChunkId id : snapshot->matching_chunks(filter)) paths += snapshot->chunk(id).path;
    std::string found;
    for (const ScoredChunk& hit : snapshot->bm25("word", 9, filter)) found += snapshot->chunk(hit.id).path;
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, paths);
    return paths;
  }

  TempDir dir_;
  std::unique_ptr<Store> store_ = Store::open(dir_ / "store", Store::Mode::kReadWrite);
};

TEST_F(ConditionTest, ComparesTextsNumbersAndBooleans) {
  const auto text = [](const char* value) { return AttributeValue(std::string(value)); };
  EXPECT_EQ(passing(is(Op::kEq, "author", {text("Ada")})), "ac");
  EXPECT_EQ(passing(is(Op::kNe, "author", {text("Ada")})), "bd");
  EXPECT_EQ(passing(is(Op::kGt, "year", {9.0})), "b");  // as numbers: "9" > "10" as text; "12th" is none
  EXPECT_EQ(passing(is(Op::kGte, "year", {9.0})), "ab");
  EXPECT_EQ(passing(is(Op::kLt, "year", {9.5})), "a");
  EXPECT_EQ(passing(is(Op::kLte, "year", {10.0})), "ab");
  EXPECT_EQ(passing(is(Op::kEq, "year", {9.0})), "a");
  EXPECT_EQ(passing(is(Op::kGt, "author", {text("Ada")})), "b");
  EXPECT_EQ(passing(is(Op::kEq, "draft", {true})), "a");
  EXPECT_EQ(passing(is(Op::kEq, "draft", {false})), "b");
  EXPECT_EQ(passing(is(Op::kIn, "year", {9.0, text("12th")})), "ac");
  EXPECT_EQ(passing(is(Op::kNin, "year", {9.0, text("12th")})), "bd");
  EXPECT_EQ(passing(is(Op::kIn, "year", {})), "");
  EXPECT_EQ(passing(is(Op::kNin, "year", {})), "abcd");
  EXPECT_EQ(passing(is(Op::kEq, "author", {text("' OR 1=1 --")})), "");
}

TEST_F(ConditionTest, JoinsWithAndAndOr) {
  const AttributeCondition ada = is(Op::kEq, "author", {std::string("Ada")});
  const AttributeCondition nine = is(Op::kEq, "year", {9.0});
  const AttributeCondition bob = is(Op::kEq, "author", {std::string("Bob")});
  EXPECT_EQ(passing(join(Op::kAnd, {ada, nine})), "a");
  EXPECT_EQ(passing(join(Op::kOr, {nine, bob})), "ab");
  EXPECT_EQ(passing(join(Op::kAnd, {join(Op::kOr, {nine, bob}), is(Op::kEq, "draft", {false})})), "b");
  EXPECT_EQ(passing(join(Op::kAnd, {})), "abcd");
  EXPECT_EQ(passing(join(Op::kOr, {})), "");
}

}  // namespace
}  // namespace gritstone

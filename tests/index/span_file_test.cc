// Spans on disk: found by key and ids, whole, or not at all.
#include "index/span_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>

#include "tests/index/fixtures.h"
#include "tests/index/span_fixtures.h"

namespace gritstone {
namespace {

using testing::ids_of;
using testing::random_span;
using testing::same;
using testing::TempDir;

TEST(SpanKey, EveryPartCounts) {
  SpanScope base;
  base.model = "m";
  base.tokenizer = "t";
  base.numerics = "n";
  base.salt = "s";
  const auto ids = ids_of(4, 1);
  const SpanKey key = span_key(base, nullptr, ids);
  EXPECT_EQ(span_key(base, nullptr, ids), key);
  const auto differs = [&](auto&& change) {
    SpanScope other = base;
    change(other);
    EXPECT_NE(span_key(other, nullptr, ids), key);
  };
  differs([](SpanScope& s) { s.model = "mt", s.tokenizer = ""; });
  differs([](SpanScope& s) { s.tokenizer = "u"; });
  differs([](SpanScope& s) { s.numerics = "o"; });
  differs([](SpanScope& s) { s.salt = "r"; });
  differs([](SpanScope& s) { s.type = KvType::kInt8; });
  differs([](SpanScope& s) { s.bidirectional = true; });
  EXPECT_NE(span_key(base, &key, ids), key);
  EXPECT_NE(span_key(base, nullptr, ids_of(4, 2)), key);
  EXPECT_NE(span_key(base, nullptr, ids_of(3, 1)), key);
}

class SpanFiles : public ::testing::Test {
 protected:
  TempDir dir_;
  const std::vector<std::int32_t> ids_ = ids_of(20, 7);
  const SpanKey key_ = span_key(SpanScope{}, nullptr, ids_);
  const std::filesystem::path path_ = span_file_path(dir_.path(), key_);
};

TEST_F(SpanFiles, RoundTripOfEveryType) {
  for (const KvType type : {KvType::kF32, KvType::kBF16, KvType::kInt8, KvType::kInt4}) {
    const auto span = random_span(20, 1, type);
    write_span_file(path_, key_, ids_, *span);
    EXPECT_EQ(std::filesystem::file_size(path_), span_file_bytes(*span));
    const auto back = open_span_file(path_, key_, ids_);
    ASSERT_NE(back, nullptr);
    EXPECT_TRUE(same(*span, *back));
    EXPECT_TRUE(check_span_file(path_, key_));
    // The mapping outlives the file.
    std::filesystem::remove(path_);
    EXPECT_TRUE(same(*span, *back));
  }
  EXPECT_EQ(open_span_file(path_, key_, ids_), nullptr);
}

TEST_F(SpanFiles, AnotherKeyOrOtherIdsAreAMiss) {
  write_span_file(path_, key_, ids_, *random_span(20, 1));
  EXPECT_EQ(open_span_file(path_, span_key(SpanScope{}, &key_, ids_), ids_), nullptr);
  write_span_file(path_, key_, ids_, *random_span(20, 1));
  EXPECT_EQ(open_span_file(path_, key_, ids_of(20, 8)), nullptr);
  EXPECT_FALSE(std::filesystem::exists(path_)) << "what does not match is removed, so that it is written again";
}

TEST_F(SpanFiles, TwoThousandCorruptionsAreMisses) {
  const auto span = random_span(20, 1);
  write_span_file(path_, key_, ids_, *span);
  const std::string good = [&] {
    std::ifstream file(path_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }();
  std::mt19937_64 random(5);
  for (int i = 0; i < 2000; ++i) {
    std::string bad = good;
    switch (i % 4) {
      case 0:
        bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
        break;
      case 1:
        bad.resize(random() % bad.size());
        break;
      case 2: {  // a torn write: the rest is zeros
        const std::size_t from = random() % bad.size();
        if (bad.find_first_not_of('\0', from) == std::string::npos) continue;
        std::fill(bad.begin() + static_cast<std::ptrdiff_t>(from), bad.end(), '\0');
        break;
      }
      default: {  // the header's numbers, whatever they ask for
        const std::uint64_t value = random() >> random() % 64;
        const std::size_t at = 8 + 8 * (random() % 11);
        if (std::memcmp(bad.data() + at, &value, 8) == 0) continue;
        std::memcpy(bad.data() + at, &value, 8);
      }
    }
    testing::write_file(path_, bad);
    ASSERT_FALSE(check_span_file(path_, key_)) << i;
    ASSERT_EQ(open_span_file(path_, key_, ids_), nullptr) << i;
  }
}

}  // namespace
}  // namespace gritstone

// Load or compute again: decided by what was seen.
#include "index/span_costs.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/base/temp_directory.h"

namespace gritstone {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

TEST(SpanCosts, LoadsWhileItKnowsTooLittle) {
  SpanCosts costs;
  EXPECT_TRUE(costs.disk_pays(256, 16 * kMiB));
  costs.saw_compute(1000, 1.0);
  EXPECT_TRUE(costs.disk_pays(256, 16 * kMiB)) << "how fast the disk is was never seen";
  costs.saw_disk(kMiB, 0.1);  // 10 MiB/s: 16 MiB take 1.6 s, computing 256 tokens 0.256 s
  EXPECT_FALSE(costs.disk_pays(256, 16 * kMiB));
  EXPECT_TRUE(costs.disk_pays(256, 2 * kMiB));
  EXPECT_TRUE(costs.ram_pays(256, 16 * kMiB));
  costs.saw_ram(kMiB, 0.1);
  EXPECT_FALSE(costs.ram_pays(256, 16 * kMiB));
  EXPECT_FALSE(costs.disk_pays(256, 2 * kMiB)) << "a file is read and then put into its place: 0.4 s";
}

TEST(SpanCosts, LeansTowardsWhatItSawLast) {
  SpanCosts costs;
  costs.saw_compute(100, 1.0);
  costs.saw_compute(200, 1.0);
  EXPECT_DOUBLE_EQ(costs.rates().tokens_per_second, 125);
  costs.saw_compute(15, 1e-9);  // says nothing
  costs.saw_compute(100, 0);
  costs.saw_disk(kMiB / 32, 1.0);
  EXPECT_DOUBLE_EQ(costs.rates().tokens_per_second, 125);
  EXPECT_EQ(costs.rates().disk_bytes_per_second, 0);
}

TEST(SpanCosts, AreMeasuredOnceAMachine) {
  const TempDirectory directory;
  const auto file = directory / "costs" / "model.json";
  {
    SpanCosts costs(file);
    costs.saw_compute(100, 1.0);
    costs.saw_disk(kMiB, 1.0);
    costs.saw_compute(101, 1.0);  // too little of a change to write again
  }
  const SpanCosts again(file);
  EXPECT_DOUBLE_EQ(again.rates().tokens_per_second, 100);
  EXPECT_DOUBLE_EQ(again.rates().disk_bytes_per_second, static_cast<double>(kMiB));
  for (const char* damaged : {"", "{", "[1]", R"({"tokens_per_second":-5})", R"({"tokens_per_second":"x"})"}) {
    std::ofstream(file, std::ios::trunc) << damaged;
    EXPECT_EQ(SpanCosts(file).rates().tokens_per_second, 0) << damaged;
  }
}

}  // namespace
}  // namespace gritstone

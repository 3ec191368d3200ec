#include "base/error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace gritstone {
namespace {

constexpr ErrorCode kAll[] = {ErrorCode::kInvalidArgument, ErrorCode::kNotFound,     ErrorCode::kCancelled,   ErrorCode::kDeadline,
                              ErrorCode::kPartial,         ErrorCode::kLocked,       ErrorCode::kDamagedData, ErrorCode::kStorage,
                              ErrorCode::kModelRejected,   ErrorCode::kMemoryBudget, ErrorCode::kDevice,      ErrorCode::kUnavailable};

TEST(Error, ExitCodesAreThoseTheCommandLinePromises) {
  EXPECT_EQ(exit_code(ErrorCode::kInvalidArgument), 1);
  EXPECT_EQ(exit_code(ErrorCode::kPartial), 2);
  EXPECT_EQ(exit_code(ErrorCode::kCancelled), 2);
  EXPECT_EQ(exit_code(ErrorCode::kLocked), 3);
  EXPECT_EQ(exit_code(ErrorCode::kDamagedData), 4);
  EXPECT_EQ(exit_code(ErrorCode::kStorage), 5);
  EXPECT_EQ(exit_code(ErrorCode::kUnavailable), 5);
  EXPECT_EQ(exit_code(ErrorCode::kModelRejected), 6);
  EXPECT_EQ(exit_code(ErrorCode::kMemoryBudget), 7);
  for (const ErrorCode code : kAll) EXPECT_NE(exit_code(code), 0);
}

TEST(Error, NamesAreDistinct) {
  std::set<std::string_view> names;
  for (const ErrorCode code : kAll) names.insert(error_name(code));
  EXPECT_EQ(names.size(), std::size(kAll));
  EXPECT_EQ(names.count("unknown"), 0u);
}

TEST(Error, CarriesCodeAndMessage) {
  try {
    throw Error(ErrorCode::kStorage, "cannot write x");
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "cannot write x");
    EXPECT_EQ(dynamic_cast<const Error&>(error).code(), ErrorCode::kStorage);
  }
}

TEST(CheckDeathTest, ABrokenInvariantSaysWhere) {
  EXPECT_DEATH(GS_CHECK(1 + 1 == 3), "1 \\+ 1 == 3.*error_test.cc");
  GS_CHECK(true);
}

}  // namespace
}  // namespace gritstone

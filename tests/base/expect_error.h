// EXPECT_GS_ERROR(statement, code, "part of the message"): the statement must throw gritstone::Error with both.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

#define EXPECT_GS_ERROR(statement, expected_code, part)                                                               \
  do {                                                                                                                \
    try {                                                                                                             \
      statement;                                                                                                      \
      ADD_FAILURE() << #statement << " threw nothing";                                                                \
    } catch (const ::gritstone::Error& gs_error) {                                                                    \
      EXPECT_EQ(::gritstone::error_name(gs_error.code()), ::gritstone::error_name(expected_code)) << gs_error.what(); \
      EXPECT_THAT(gs_error.what(), ::testing::HasSubstr(part));                                                       \
    }                                                                                                                 \
  } while (false)

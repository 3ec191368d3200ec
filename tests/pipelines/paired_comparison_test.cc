// Paired differences: what the formulas give where the answer is known.
#include "pipelines/paired_comparison.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <random>

#include "pipelines/qa_run_file.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"

namespace gritstone {
namespace {

std::string id(int i) { return "q" + std::to_string(i); }

TEST(ComparePaired, FindsADifferenceThatIsThereAndNoneWhereThereIsNone) {
  std::mt19937 random(4);
  std::normal_distribution<double> noise(0, 0.1), questions(0.5, 0.3);
  QuestionFigures a, b;
  for (int i = 0; i < 200; ++i) {
    const double base = questions(random);  // questions differ far more than the systems
    a["better"][id(i)] = base + noise(random);
    b["better"][id(i)] = base + 0.05 + noise(random);
    a["same"][id(i)] = base + noise(random);
    b["same"][id(i)] = base + noise(random);
  }
  b["better"]["only B"] = 9;
  a["only A"]["q0"] = 1;
  const auto all = compare_paired(a, b);
  ASSERT_EQ(all.size(), 2u);
  const PairedComparison &better = all[0], &same = all[1];
  EXPECT_EQ(better.n, 200u);
  EXPECT_NEAR(better.difference, 0.05, 0.03);
  EXPECT_NEAR(better.difference, better.mean_b - better.mean_a, 1e-12);
  EXPECT_LT(better.lower, better.difference);
  EXPECT_GT(better.lower, 0);
  EXPECT_LT(better.p, 0.001);
  EXPECT_NEAR(better.p_holm, 2 * better.p, 1e-12);
  // Differences have a standard deviation of 0.1 * sqrt(2), their mean one of that over sqrt(200).
  EXPECT_NEAR(better.upper - better.lower, 2 * 1.96 * 0.1 * std::sqrt(2.0 / 200), 0.006);
  EXPECT_NEAR(better.detectable, 2.8016 * 0.1 * std::sqrt(2.0 / 200), 0.004);
  EXPECT_LT(same.lower, 0);
  EXPECT_GT(same.upper, 0);
  EXPECT_GT(same.p, 0.05);
}

// Four pairs, all B - A = 1: of the 16 ways to draw signs, two give a mean as large.
TEST(ComparePaired, PValueIsTheRandomisationTests) {
  QuestionFigures a, b;
  for (int i = 0; i < 4; ++i) {
    a["m"][id(i)] = i;
    b["m"][id(i)] = i + 1;
  }
  const auto all = compare_paired(a, b);
  EXPECT_NEAR(all[0].p, 2.0 / 16, 0.01);
  EXPECT_EQ(all[0].lower, 1);
  EXPECT_EQ(all[0].upper, 1);
  EXPECT_EQ(all[0].detectable, 0);
  const auto equal = compare_paired(a, a);
  EXPECT_EQ(equal[0].p, 1);
  EXPECT_EQ(equal[0].difference, 0);
}

TEST(ComparePaired, HolmOrdersAndNeverFalls) {
  QuestionFigures a, b;
  for (int i = 0; i < 30; ++i) {
    for (const char* m : {"x", "y", "z"}) a[m][id(i)] = 0;
    b["x"][id(i)] = 1;                    // p about 1e-4
    b["y"][id(i)] = i % 3 == 0 ? -1 : 1;  // clear
    b["z"][id(i)] = i % 2 == 0 ? -1 : 1;  // nothing
  }
  const auto all = compare_paired(a, b);
  EXPECT_NEAR(all[0].p_holm, 3 * all[0].p, 1e-12);
  EXPECT_GE(all[1].p_holm, all[0].p_holm);
  EXPECT_EQ(all[2].p_holm, 1);
}

TEST(ReadFigures, OfBothKindsOfEvaluation) {
  const TempDirectory directory;
  const auto path = directory / "r.json";
  std::ofstream(path) << R"({"metrics":{"rr":1},"per_query":{"1":{"rr":0.5,"map":0.25},"2":{"rr":1,"map":1}}})";
  const QuestionFigures retrieval = read_figures(path, "");
  EXPECT_EQ(retrieval.at("rr").at("1"), 0.5);
  EXPECT_EQ(retrieval.at("map").size(), 2u);
  std::ofstream(directory / "rows.json") << R"({"configs":[{"config":"bm25","metrics":{},"per_query":{"1":{"rr":0.5}}},)"
                                         << R"({"config":"fused","metrics":{},"per_query":{"1":{"rr":1}}}]})";
  EXPECT_EQ(read_figures(directory / "rows.json", "fused").at("rr").at("1"), 1);
  EXPECT_GS_ERROR(read_figures(directory / "rows.json", ""), ErrorCode::kInvalidArgument, "several configs, name one: bm25, fused");
  EXPECT_GS_ERROR(read_figures(directory / "rows.json", "dense"), ErrorCode::kInvalidArgument, "no config \"dense\", only: bm25, fused");

  const auto run = directory / "run.jsonl";
  {
    QaRunFile file(run, QaRunHeader{});
    QaRow row;
    row.config = "none";
    row.id = "a";
    row.f1 = 0.5;
    row.contained = true;
    row.completion_tokens = 3;
    row.ttft_ms = 12;
    file.append(row);
    row.config = "chunks";
    row.f1 = 0.25;
    file.append(row);
    row.id = "b";
    row.answerable = false;
    row.abstained = true;
    file.append(row);
  }
  const QuestionFigures chunks = read_figures(run, "chunks");
  EXPECT_EQ(chunks.at("f1").at("a"), 0.25);
  EXPECT_EQ(chunks.at("abstained").at("b"), 1);
  EXPECT_EQ(chunks.at("f1").size(), 1u) << "an unanswerable question has no F1";
  EXPECT_EQ(chunks.at("ttft_ms").size(), 2u);
  EXPECT_GS_ERROR(read_figures(run, ""), ErrorCode::kInvalidArgument, "chunks, none");
  EXPECT_GS_ERROR(read_figures(run, "exact"), ErrorCode::kInvalidArgument, "no config \"exact\"");
  std::ofstream(path, std::ios::trunc) << "{}";
  EXPECT_GS_ERROR(read_figures(path, ""), ErrorCode::kInvalidArgument, "neither");
  EXPECT_GS_ERROR(read_figures(directory / "absent", ""), ErrorCode::kNotFound, "absent");
  EXPECT_GS_ERROR(compare_paired(retrieval, chunks), ErrorCode::kInvalidArgument, "share no question");
  EXPECT_TRUE(smaller_is_better("ttft_ms"));
  EXPECT_FALSE(smaller_is_better("f1"));
}

}  // namespace
}  // namespace gritstone

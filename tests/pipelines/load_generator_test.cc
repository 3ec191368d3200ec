// Open-loop load: exact waiting times on a clock of our own, and percentiles that are numpy's.
#include "pipelines/load_generator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/json.h"
#include "pipelines/latency_summary.h"
#include "pipelines/request_records.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"

namespace gritstone {
namespace {

class VirtualClock final : public LoadClock {
 public:
  double now() override { return now_; }
  void sleep_until(double seconds) override { now_ = std::max(now_, seconds); }
  void advance(double seconds) { now_ += seconds; }

 private:
  double now_ = 0;
};

// Lindley (1952): a request waits for what is left of its predecessor's wait and service when it comes. Stalls are long services.
TEST(OpenLoop, WaitsAreLindleys) {
  const std::size_t n = 500;
  const std::vector<double> due = arrival_times(n, {.rate = 1.1, .burstiness = 1, .seed = 3});
  std::vector<double> service(n);
  for (std::size_t i = 0; i < n; ++i) service[i] = 0.3 + 0.25 * static_cast<double>(i % 3) + (i == 100 || i == 101 ? 40.0 : 0.0);
  VirtualClock clock;
  const auto records = run_open_loop(due, 1, clock, [&](std::size_t i, LoadClock& c) {
    RequestOutcome outcome;
    outcome.ok = true;
    outcome.tokens = 2;
    outcome.first_token = c.now() + service[i] / 2;
    clock.advance(service[i]);
    return outcome;
  });
  ASSERT_EQ(records.size(), n);
  double wait = 0;
  bool waited = false;
  for (std::size_t i = 0; i < n; ++i) {
    if (i > 0) wait = std::max(0.0, wait + service[i - 1] - (due[i] - due[i - 1]));
    waited = waited || wait > 30;
    ASSERT_NEAR(records[i].begun - records[i].due, wait, 1e-9 * (1 + due[i])) << i;
    ASSERT_NEAR(records[i].ended - records[i].due, wait + service[i], 1e-9 * (1 + due[i])) << i;
  }
  EXPECT_TRUE(waited) << "the stall is felt by those behind it";
  const LatencySummary s = summarise_latency(records, parse_slo("ttft:500,e2e:1000"));
  EXPECT_EQ(s.completed, n);
  std::size_t good = 0;
  for (const RequestRecord& r : records) good += r.ended - r.due <= 1 && r.first_token - r.due <= 0.5 ? 1 : 0;
  EXPECT_NEAR(s.good_share, static_cast<double>(good) / static_cast<double>(n), 1e-12);
  EXPECT_GT(good, 0u);
  EXPECT_LT(good, n);
}

// A system that stands still for a minute, whatever is sent to it: what clumps behind the stall waits for what is left of it.
TEST(OpenLoop, AnOutageIsFeltByEverybodyWhoCameMeanwhile) {
  const std::size_t n = 400;
  const double from = 100, until = 160, serve = 0.2;
  const std::vector<double> due = arrival_times(n, {.rate = 2, .burstiness = 0.3, .seed = 11});
  VirtualClock clock;
  std::vector<double> service(n);
  std::vector<std::size_t> told;
  const auto records = run_open_loop(
      due, 1, clock,
      [&](std::size_t i, LoadClock& c) {
        const double begun = c.now();
        clock.advance(begun >= from && begun < until ? until - begun + serve : serve);
        service[i] = c.now() - begun;
        RequestOutcome outcome;
        outcome.ok = true;
        return outcome;
      },
      {}, [&](const RequestRecord& record) { told.push_back(record.index); });
  ASSERT_EQ(records.size(), n);
  double wait = 0;
  std::size_t delayed = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (i > 0) wait = std::max(0.0, wait + service[i - 1] - (due[i] - due[i - 1]));
    ASSERT_NEAR(records[i].begun - records[i].due, wait, 1e-9 * (1 + due[i])) << i;
    if (due[i] >= from && due[i] < until) {
      ++delayed;
      EXPECT_GE(records[i].ended - records[i].due, until - due[i]) << "nobody who came during the outage was left out";
    }
  }
  EXPECT_GT(delayed, 60u) << "the load did not slow down with the system";
  std::vector<std::size_t> all(n);
  for (std::size_t i = 0; i < n; ++i) all[i] = i;
  EXPECT_EQ(told, all) << "every record is handed out as it completes";
}

TEST(ClosedLoop, WaitsForNobody) {
  VirtualClock clock;
  const auto records = run_closed_loop(5, 1, clock, [&](std::size_t i, LoadClock&) {
    clock.advance(1.0 + static_cast<double>(i));
    RequestOutcome outcome;
    outcome.ok = i != 3;
    outcome.error = i == 3 ? "refused" : "";
    return outcome;
  });
  EXPECT_EQ(records[4].due, records[4].begun);
  EXPECT_EQ(records[4].begun, 1 + 2 + 3 + 4);
  const LatencySummary s = summarise_latency(records, {});
  EXPECT_EQ(s.failed, 1u);
  EXPECT_EQ(s.errors.at("refused"), 1u);
  EXPECT_EQ(s.e2e_ms.n, 4u) << "failures are counted apart";
  EXPECT_EQ(s.ttft_ms.n, 0u);
  EXPECT_EQ(s.seconds, 15);
}

TEST(OpenLoop, SeveralConnectionsOnARealClock) {
  SteadyClock clock;
  const std::vector<double> due{0.0, 0.0, 0.0, 0.0, 0.01};
  std::vector<int> seen(5);
  const auto records = run_open_loop(due, 3, clock, [&](std::size_t i, LoadClock& c) {
    c.sleep_until(c.now() + 0.02);
    ++seen[i];
    RequestOutcome outcome;
    outcome.ok = true;
    return outcome;
  });
  EXPECT_EQ(seen, std::vector<int>(5, 1));
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(records[i].index, i);
    EXPECT_GE(records[i].ended - records[i].due, 0.02);
  }
  EXPECT_GE(records[3].begun, 0.02) << "three were under way";
}

TEST(Arrivals, HaveTheRateAndTheScatterAskedFor) {
  for (const double burstiness : {0.25, 1.0, 4.0}) {
    const auto times = arrival_times(20000, {.rate = 5, .burstiness = burstiness, .seed = 1});
    EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
    EXPECT_NEAR(times.back(), 4000, 4000 * 5 / std::sqrt(20000 * burstiness));
    double squares = 0;
    for (std::size_t i = 1; i < times.size(); ++i) squares += std::pow(times[i] - times[i - 1] - 0.2, 2);
    // Coefficient of variation of a gamma distribution: 1 / sqrt(shape).
    EXPECT_NEAR(std::sqrt(squares / 20000) / 0.2, 1 / std::sqrt(burstiness), 0.06);
  }
  EXPECT_EQ(arrival_times(5, {.seed = 7}), arrival_times(5, {.seed = 7}));
  EXPECT_NE(arrival_times(5, {.seed = 7}), arrival_times(5, {.seed = 8}));
  EXPECT_GS_ERROR(arrival_times(5, {.rate = 0}), ErrorCode::kInvalidArgument, "above 0");
}

TEST(LatencyDistribution, IsNumpys) {
  std::vector<double> values;
  for (int i = 0; i < 100; ++i) values.push_back((i * 37 % 100) * (i * 37 % 100));  // squares of 0..99, shuffled
  const Distribution d = distribution_of(values);
  ASSERT_EQ(d.percentiles.size(), 3u) << "no p99 from a hundred samples";
  EXPECT_NEAR(d.percentiles[0].value, 2450.5, 1e-9);  // numpy.percentile(numpy.arange(100)**2, 50)
  EXPECT_NEAR(d.percentiles[1].value, 7938.9, 1e-9);
  EXPECT_NEAR(d.percentiles[2].value, 8845.45, 1e-9);
  EXPECT_NEAR(d.mean, 3283.5, 1e-9);
  EXPECT_EQ(d.smallest, 0);
  EXPECT_EQ(d.largest, 9801);
  // The median of 100 lies between the 40th and 61st smallest with 95 % confidence (binomial tables).
  EXPECT_EQ(d.percentiles[0].lower, 39.0 * 39.0);
  EXPECT_EQ(d.percentiles[0].upper, 60.0 * 60.0);
  const Distribution few = distribution_of({1, 2, 3});
  EXPECT_FALSE(few.percentiles[0].lower) << "three samples bound nothing";
  EXPECT_FALSE(few.percentiles[2].upper);
  EXPECT_EQ(distribution_of(std::vector<double>(kP99Samples, 1.0)).percentiles.size(), 4u);
  EXPECT_EQ(distribution_of({}).n, 0u);
}

// Made by tests/reference/make_percentile_golden.py.
TEST(LatencyDistribution, IsNumpysOnEverySample) {
  std::ifstream file(std::string(GRITSTONE_SOURCE_DIR) + "/tests/golden/latency/percentiles.jsonl");
  std::size_t samples = 0;
  for (std::string line; std::getline(file, line); ++samples) {
    const rapidjson::Document golden = parse_json(line, "golden");
    std::vector<double> values;
    for (const auto& value : golden["values"].GetArray()) values.push_back(value.GetDouble());
    const Distribution d = distribution_of(values);
    EXPECT_NEAR(d.mean, golden["mean"].GetDouble(), 1e-9 * (1 + d.mean));
    EXPECT_NEAR(d.deviation, golden["deviation"].GetDouble(), 1e-9 * (1 + d.deviation));
    ASSERT_EQ(d.percentiles.size(), golden["percentiles"].MemberCount()) << "of " << values.size();
    std::size_t i = 0;
    for (const auto& [share, value] : golden["percentiles"].GetObject()) {
      EXPECT_EQ(std::to_string(d.percentiles[i].share).substr(0, share.GetStringLength()), share.GetString());
      EXPECT_NEAR(d.percentiles[i].value, value.GetDouble(), 1e-9 * (1 + value.GetDouble())) << "of " << values.size();
      ++i;
    }
  }
  EXPECT_EQ(samples, 8u);
}

TEST(RequestRecords, AreALineEachAsTheyComplete) {
  const TempDirectory directory;
  const std::filesystem::path path = directory / "requests.jsonl";
  std::ofstream(path) << "old\n";
  RequestRecordFile file(path);
  RequestRecord record;
  record.index = 3;
  record.due = 0.5;
  record.begun = 0.75;
  record.first_token = 1.25;
  record.ended = 2;
  record.tokens = 9;
  record.ok = true;
  record.stages = {{"decode_ms", 12.5}};
  file.write(record);
  const auto text = [&] {
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string first =
      "{\"index\":3,\"due\":0.5,\"begun\":0.75,\"first_token\":1.25,\"ended\":2.0,\"tokens\":9,\"ok\":true,\"error\":\"\","
      "\"stages\":{\"decode_ms\":12.5}}\n";
  EXPECT_EQ(text(), first) << "on disk before the run ends";
  record = {};
  record.error = "said \"no\"";
  file.write(record);
  file.finish();
  EXPECT_EQ(text(), first +
                        "{\"index\":0,\"due\":0.0,\"begun\":0.0,\"first_token\":null,\"ended\":0.0,\"tokens\":0,\"ok\":false,"
                        "\"error\":\"said \\\"no\\\"\",\"stages\":{}}\n");
  EXPECT_GS_ERROR(RequestRecordFile(directory / "none" / "x"), ErrorCode::kStorage, "cannot be written");
  RequestRecordFile full("/dev/full");
  full.write(record);
  EXPECT_GS_ERROR(full.finish(), ErrorCode::kStorage, "/dev/full could not be written");
}

TEST(Slo, IsReadOrRefused) {
  const Slo slo = parse_slo("ttft:500,e2e:2000.5");
  EXPECT_EQ(slo.ttft_ms, 500);
  EXPECT_EQ(slo.e2e_ms, 2000.5);
  EXPECT_FALSE(slo.tpot_ms);
  for (const char* wrong : {"ttft", "ttft:", "ttft:x", "tt:5", "ttft:-1", "ttft:5;e2e:5"}) {
    EXPECT_GS_ERROR(parse_slo(wrong), ErrorCode::kInvalidArgument, "is no limit");
  }
}

}  // namespace
}  // namespace gritstone

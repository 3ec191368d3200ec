// The report's small parts: escaping, numbers, axes, intervals, distribution functions, fronts, charts, CSV fields.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <regex>

#include "pipelines/report_axes.h"
#include "pipelines/report_charts.h"
#include "pipelines/report_export.h"
#include "pipelines/report_markup.h"
#include "pipelines/report_statistics.h"
#include "pipelines/report_text.h"

namespace gritstone {
namespace {

TEST(ReportMarkup, TextCannotBecomeMarkup) {
  Markup html;
  html << "<a title=\"";
  html.text("\"'><script>&amp;\x01\x7F\xFF\n") << "\">";
  EXPECT_EQ(html.str(), "<a title=\"&quot;&#39;&gt;&lt;script&gt;&amp;amp;\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\n\">");
  Markup number;
  number.number(std::nan(""), 2).number(-0.001, 2).number(1e300, 0);
  EXPECT_EQ(number.str().substr(0, 6), "00.001") << number.str();
}

TEST(ReportText, NumbersReadAsPeopleWriteThem) {
  EXPECT_EQ(milliseconds(0), "0");
  EXPECT_EQ(milliseconds(0.1234), "0.12");
  EXPECT_EQ(milliseconds(8.26), "8.3");
  EXPECT_EQ(milliseconds(812.4), "812");
  EXPECT_EQ(milliseconds(1234567), "1,234,567");
  EXPECT_EQ(signed_fixed(-1234.5, 1), "\u22121,234.5");
  EXPECT_EQ(signed_fixed(0.25, 3), "+0.250");
  EXPECT_EQ(signed_fixed(-0.0001, 3), "0.000");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1000), "1,000");
  EXPECT_EQ(range_text(0.5, std::nullopt, 2), "[0.50, ?]");
  EXPECT_EQ(percent(0.333), "33 %");
  EXPECT_EQ(fixed(INFINITY, 2), "-");
  EXPECT_EQ(plural(1, "file", "files"), "1 file");
}

TEST(ReportAxes, ScalesAndTicks) {
  const AxisScale down(0, 2, 100, 0, false);
  EXPECT_EQ(down(0), 100);
  EXPECT_EQ(down(0.5), 75);
  EXPECT_EQ(down(9), 0) << "what is outside lands at the end";
  const AxisScale log(10, 1000, 0, 200, true);
  EXPECT_NEAR(log(100), 100, 1e-9);
  EXPECT_NEAR(AxisScale(5, 5, 0, 10, true)(5), 5, 1e-9) << "one value lies in the middle";
  EXPECT_EQ(linear_ticks(0, 1, 6), (std::vector<double>{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1}));
  EXPECT_EQ(linear_ticks(13, 87, 4), (std::vector<double>{20, 40, 60, 80}));
  EXPECT_EQ(log_ticks(80, 3000, 8), (std::vector<double>{100, 200, 500, 1000, 2000}));
  EXPECT_EQ(log_ticks(1, 1e6, 7).size(), 7u);
  EXPECT_LE(log_ticks(1, 1e12, 4).size(), 4u);
  EXPECT_GE(log_ticks(600, 900, 5).size(), 2u) << "no 1, 2 or 5 lies there";
}

TEST(ReportStatistics, BootstrapIntervalIsThatOfAMean) {
  std::mt19937 random(5);
  std::normal_distribution<double> noise(0.5, 0.2);
  std::vector<double> values;
  for (int i = 0; i < 400; ++i) values.push_back(noise(random));
  const Interval i = bootstrap_mean(values);
  double mean = 0;
  for (const double v : values) mean += v / 400;
  EXPECT_NEAR(i.value, mean, 1e-12);
  EXPECT_NEAR(i.upper - i.lower, 2 * 1.96 * 0.2 / 20, 0.004);
  EXPECT_LT(i.lower, i.value);
  EXPECT_EQ(bootstrap_mean(values).lower, i.lower) << "seeded";
  EXPECT_NE(bootstrap_mean(values, 10000, 2).lower, i.lower);
  const Interval one = bootstrap_mean(std::vector<double>{0.25});
  EXPECT_EQ(one.lower, 0.25);
  EXPECT_EQ(one.upper, 0.25);
  EXPECT_EQ(bootstrap_mean({}).upper, 0);
}

TEST(ReportStatistics, CdfStepsOncePerValue) {
  const auto steps = empirical_cdf({3, 1, 3, 2});
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_EQ(steps[0].value, 1);
  EXPECT_EQ(steps[0].share, 0.25);
  EXPECT_EQ(steps[1].share, 0.5);
  EXPECT_EQ(steps[2].value, 3);
  EXPECT_EQ(steps[2].share, 1);
  EXPECT_TRUE(empirical_cdf({}).empty());
}

TEST(ReportStatistics, FrontHoldsWhatNothingBeats) {
  const std::vector<std::pair<double, double>> points = {{300, 0.5}, {100, 0.2}, {200, 0.2}, {400, 0.4}, {300, 0.5}, {500, 0.6}};
  EXPECT_EQ(pareto_front(points), (std::vector<std::size_t>{1, 0, 4, 5})) << "equal points both stay, beaten ones go";
  EXPECT_TRUE(pareto_front({}).empty());
}

// Every start tag has its end, in order.
void expect_well_formed(const std::string& svg) {
  static const std::regex kTag("<(/?)([a-zA-Z]+)([^>]*?)(/?)>");
  std::vector<std::string> open;
  for (std::sregex_iterator it(svg.begin(), svg.end(), kTag), end; it != end; ++it) {
    if ((*it)[4].length() > 0) continue;
    if ((*it)[1].length() == 0) {
      open.push_back((*it)[2]);
    } else {
      ASSERT_FALSE(open.empty()) << svg;
      ASSERT_EQ(open.back(), (*it)[2]) << svg;
      open.pop_back();
    }
  }
  EXPECT_TRUE(open.empty());
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(ReportCharts, CdfRisesInEqualStepsToTheTop) {
  const std::string svg = cdf_chart({{1, {100, 200, 400, 800}}, {10, {50, -1}}, {3, {}}}, kWideChart).str();
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "class=\"curve c0\""), 1u);
  EXPECT_EQ(count(svg, "class=\"curve c1 d1\""), 1u) << "the tenth series has the second colour and dashes";
  EXPECT_EQ(count(svg, "class=\"curve"), 2u) << "no values, no curve";
  EXPECT_EQ(count(svg, "class=\"dot"), 4u);
  // Frame from 12 to 332: five heights 80 apart.
  static const std::regex kCurve("class=\"curve c0\" d=\"([^\"]*)\"");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(svg, match, kCurve));
  const std::string path = match[1];
  for (const char* height : {" 332.0", " 252.0", " 172.0", " 92.0", " 12.0"}) EXPECT_NE(path.find(height), std::string::npos) << path;
  // Doubling is the same distance on a logarithmic axis: x of 100, 200, 400.
  std::vector<double> xs;
  static const std::regex kPoint("[ML]([0-9.]+) ");
  for (std::sregex_iterator it(path.begin(), path.end(), kPoint), end; it != end; ++it) xs.push_back(std::stod((*it)[1]));
  ASSERT_GE(xs.size(), 7u);
  EXPECT_NEAR(xs[2] - xs[0], xs[4] - xs[2], 0.2);
  EXPECT_TRUE(cdf_chart({{1, {}}}, kWideChart).empty());
}

TEST(ReportCharts, WaterfallStagesFollowEachOther) {
  const WaterfallBar bar{"<b>&", {{"bm25_ms", 100}, {"prefill_ms", 300}, {"decode_ms", 600}}};
  const std::string svg = waterfall_chart({bar, {"half", {{"prefill_ms", 500}}}}, kNarrowChart).str();
  expect_well_formed(svg);
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
  static const std::regex kRect("<rect class=\"st st-([a-z0-9]+)\" x=\"([0-9.]+)\" y=\"[0-9.]+\" width=\"([0-9.]+)\"");
  std::vector<std::pair<double, double>> bars;
  for (std::sregex_iterator it(svg.begin(), svg.end(), kRect), end; it != end; ++it)
    bars.emplace_back(std::stod((*it)[2]), std::stod((*it)[3]));
  ASSERT_EQ(bars.size(), 4u);
  EXPECT_NEAR(bars[1].first, bars[0].first + bars[0].second, 0.02);
  EXPECT_NEAR(bars[2].first, bars[1].first + bars[1].second, 0.02);
  EXPECT_NEAR(bars[1].second, 3 * bars[0].second, 0.05);
  EXPECT_NEAR(bars[3].second, 5 * bars[0].second, 0.05) << "all bars share one scale";
  EXPECT_EQ(count(svg, "class=\"first\""), 1u) << "where decoding begins";
}

TEST(ReportCharts, ScatterJoinsTheFront) {
  const auto at = [](double ms, std::optional<double> low, std::optional<double> high) { return Percentile{0.5, ms, low, high}; };
  const std::string svg = scatter_chart({{1, at(1000, 900, 1100), {0.5, 0.4, 0.6}, true},
                                         {2, at(400, std::nullopt, 500), {0.4, 0.3, 0.5}, true},
                                         {3, at(1200, 1100, 1300), {0.3, 0.2, 0.4}, false}},
                                        kWideChart)
                              .str();
  expect_well_formed(svg);
  EXPECT_EQ(count(svg, "<circle"), 3u);
  EXPECT_EQ(count(svg, "class=\"whisker"), 5u) << "a bound that is not known draws none";
  static const std::regex kFront("class=\"front\" d=\"([^\"]*)\"");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(svg, match, kFront));
  EXPECT_EQ(count(match[1], "L"), 2u) << "along, then up: " << match[1];
}

TEST(ReportCsv, FieldsAreQuotedWhereTheyMustBe) {
  EXPECT_EQ(csv_field("none/k5"), "none/k5");
  EXPECT_EQ(csv_field("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_field("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(csv_field("two\nlines"), "\"two\nlines\"");
  EXPECT_EQ(csv_field("=1+1"), "'=1+1") << "no formula";
  EXPECT_EQ(csv_field("@a,b"), "\"'@a,b\"");
  EXPECT_EQ(csv_field(""), "");
}

}  // namespace
}  // namespace gritstone

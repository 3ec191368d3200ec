// The report's charts as inline SVG: no script, colours from the page's style, readable by themselves.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "pipelines/latency_summary.h"
#include "pipelines/report_markup.h"
#include "pipelines/report_statistics.h"

namespace gritstone {

// Width in CSS pixels that text of 12 pixels is laid out for; the height follows from the content.
inline constexpr int kWideChart = 1000, kNarrowChart = 340;

struct CdfSeries {
  std::size_t number = 0;      // as in the tables, from 1; also its colour
  std::vector<double> values;  // > 0 are drawn
};
// Distribution functions over a logarithmic axis of milliseconds, with lines at one half and 95 % and a dot where each curve crosses them.
Markup cdf_chart(const std::vector<CdfSeries>& series, int width);

struct WaterfallBar {
  std::string label;
  std::vector<std::pair<std::string, double>> stages;  // key of report_stages() and milliseconds, in the order they run
};
// One bar per config; its stages one after the other, a mark where decoding begins.
Markup waterfall_chart(const std::vector<WaterfallBar>& bars, int width);

struct ScatterPoint {
  std::size_t number = 0;
  Percentile x;  // milliseconds, with its interval
  Interval y;    // F1
  bool on_front = false;
};
// Time against quality, with whiskers; the points of the front are joined.
Markup scatter_chart(const std::vector<ScatterPoint>& points, int width);

// The class that gives a series its colour and, from the ninth on, its dashes.
Markup series_class(std::size_t number);

}  // namespace gritstone

#include "pipelines/report_charts.h"

#include <algorithm>
#include <cmath>

#include "pipelines/report.h"
#include "pipelines/report_axes.h"
#include "pipelines/report_text.h"

namespace gritstone {
namespace {

constexpr std::size_t kColours = 8;

bool is_ascii(const std::string& text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// The plotting area; labels stand outside of it.
struct Frame {
  double left, top, right, bottom;
};

void open_svg(Markup& svg, int width, int height) {
  svg << "<svg viewBox=\"0 0 ";
  svg.count(static_cast<std::size_t>(width)) << " ";
  svg.count(static_cast<std::size_t>(height)) << "\" width=\"";
  svg.count(static_cast<std::size_t>(width)) << "\" height=\"";
  svg.count(static_cast<std::size_t>(height)) << "\" aria-hidden=\"true\">\n";
}

void line(Markup& svg, const Markup& css, double x1, double y1, double x2, double y2) {
  svg << "<line class=\"" << css << "\" x1=\"";
  svg.number(x1, 1) << "\" y1=\"";
  svg.number(y1, 1) << "\" x2=\"";
  svg.number(x2, 1) << "\" y2=\"";
  svg.number(y2, 1) << "\"/>\n";
}

template <std::size_t N>
Markup literal(const char (&text)[N]) {
  return Markup() << text;
}

// anchor: "start", "middle", "end".
void label(Markup& svg, double x, double y, const Markup& anchor, std::string_view text) {
  svg << "<text x=\"";
  svg.number(x, 1) << "\" y=\"";
  svg.number(y, 1) << "\" text-anchor=\"" << anchor << "\">";
  svg.text(text) << "</text>\n";
}

void dot(Markup& svg, const Markup& css, double x, double y, double radius) {
  svg << "<circle class=\"" << css << "\" cx=\"";
  svg.number(x, 1) << "\" cy=\"";
  svg.number(y, 1) << "\" r=\"";
  svg.number(radius, 1) << "\"/>\n";
}

std::string tick_text(double ms) {
  if (ms >= 1000) return fixed(ms / 1000, ms / 1000 == std::floor(ms / 1000) ? 0 : 1) + " s";
  return fixed(ms, ms >= 1 || ms == 0 ? 0 : 2) + " ms";
}

void time_axis(Markup& svg, const Frame& frame, const AxisScale& scale, const std::vector<double>& ticks) {
  for (const double tick : ticks) {
    const double x = scale(tick);
    line(svg, literal("grid"), x, frame.top, x, frame.bottom);
    // A label in the middle of the left edge would be cut.
    label(svg, x, frame.bottom + 16, x < 20 ? literal("start") : literal("middle"), tick_text(tick));
  }
  line(svg, literal("axis"), frame.left, frame.bottom, frame.right, frame.bottom);
}

// How many labels of a time fit.
int time_ticks(const Frame& frame) { return std::max(2, static_cast<int>((frame.right - frame.left) / 62)); }

// At most so many characters; the middle goes, because configs differ at both ends.
std::string shortened(const std::string& text, std::size_t most) {
  if (text.size() <= most || !is_ascii(text)) return text;
  const std::size_t tail = (most - 1) / 2;
  return text.substr(0, most - 1 - tail) + "\u2026" + text.substr(text.size() - tail);
}

class Path {
 public:
  void to(double x, double y) {
    points_.empty() ? points_ << "M" : points_ << "L";
    points_.number(x, 1) << " ";
    points_.number(y, 1);
  }
  void draw(Markup& svg, const Markup& css) const { svg << "<path class=\"" << css << "\" d=\"" << points_ << "\"/>\n"; }

 private:
  Markup points_;
};

}  // namespace

Markup series_class(std::size_t number) {
  Markup css;
  css << "c";
  css.count((number - 1) % kColours);
  if (number > kColours) {
    css << " d";
    css.count(std::min<std::size_t>((number - 1) / kColours, 3));
  }
  return css;
}

Markup cdf_chart(const std::vector<CdfSeries>& series, int width) {
  double low = 0, high = 0;
  for (const CdfSeries& s : series) {
    for (const double value : s.values) {
      if (!(value > 0)) continue;
      low = low == 0 ? value : std::min(low, value);
      high = std::max(high, value);
    }
  }
  Markup svg;
  if (high == 0) return svg;
  const int height = width > 500 ? 360 : 300;
  const Frame frame{46, 12, width - 14.0, height - 28.0};
  open_svg(svg, width, height);
  const AxisScale x(low * 0.94, high * 1.06, frame.left, frame.right, true), y(0, 1, frame.bottom, frame.top, false);
  time_axis(svg, frame, x, log_ticks(x.low(), x.high(), time_ticks(frame)));
  for (const double share : {0.25, 0.5, 0.75, 0.95}) {
    const bool marked = share == 0.5 || share == 0.95;
    line(svg, marked ? literal("grid strong") : literal("grid"), frame.left, y(share), frame.right, y(share));
    label(svg, frame.left - 6, y(share) + 4, literal("end"), percent(share));
  }
  for (const CdfSeries& s : series) {
    std::vector<double> values;
    std::ranges::copy_if(s.values, std::back_inserter(values), [](double v) { return v > 0; });
    if (values.empty()) continue;
    Path path;
    double share = 0;
    for (const CdfStep& step : empirical_cdf(values)) {
      path.to(x(step.value), y(share));
      share = step.share;
      path.to(x(step.value), y(share));
    }
    path.to(frame.right, y(1));
    path.draw(svg, literal("curve ") << series_class(s.number));
    for (const Percentile& p : distribution_of(values).percentiles) {
      if (p.share == 0.5 || p.share == 0.95) dot(svg, literal("dot ") << series_class(s.number), x(p.value), y(p.share), 4);
    }
  }
  svg << "</svg>";
  return svg;
}

Markup waterfall_chart(const std::vector<WaterfallBar>& bars, int width) {
  double longest = 0;
  for (const WaterfallBar& bar : bars) {
    double sum = 0;
    for (const auto& [stage, ms] : bar.stages) sum += ms;
    longest = std::max(longest, sum);
  }
  Markup svg;
  if (longest == 0) return svg;
  constexpr double kRow = 44, kBar = 16;
  const Frame frame{2, 4, width - 26.0, 4 + kRow * static_cast<double>(bars.size())};
  open_svg(svg, width, static_cast<int>(frame.bottom) + 24);
  const AxisScale x(0, longest, frame.left, frame.right, false);
  time_axis(svg, frame, x, linear_ticks(0, longest, time_ticks(frame)));
  double top = frame.top;
  for (const WaterfallBar& bar : bars) {
    double before = 0;
    for (const auto& [stage, ms] : bar.stages) before += ms;
    // The label lies on grid lines; a halo in the paper's colour keeps it readable.
    svg << "<text class=\"name\" x=\"";
    svg.number(frame.left, 1) << "\" y=\"";
    svg.number(top + 14, 1) << "\">";
    svg.text(shortened(bar.label, static_cast<std::size_t>((frame.right - frame.left) / 7) - 12) + "   " + milliseconds(before) + " ms")
        << "</text>\n";
    before = 0;
    for (const auto& [stage, ms] : bar.stages) {
      if (ms <= 0) continue;
      if (stage == "decode_ms") line(svg, literal("first"), x(before), top + 17, x(before), top + 23 + kBar);
      svg << "<rect class=\"st ";
      svg.text("st-" + stage.substr(0, stage.find('_'))) << "\" x=\"";
      svg.number(x(before), 2) << "\" y=\"";
      svg.number(top + 20, 1) << "\" width=\"";
      svg.number(std::max(0.5, x(before + ms) - x(before)), 2) << "\" height=\"";
      svg.number(kBar, 0) << "\"><title>";
      const auto& stages = report_stages();
      const auto named = std::ranges::find(stages, stage, [](const auto& s) { return s.first; });
      svg.text((named == stages.end() ? stage : named->second) + " " + milliseconds(ms) + " ms") << "</title></rect>\n";
      before += ms;
    }
    top += kRow;
  }
  svg << "</svg>";
  return svg;
}

Markup scatter_chart(const std::vector<ScatterPoint>& points, int width) {
  Markup svg;
  if (points.empty()) return svg;
  double x_low = 0, x_high = 0, y_low = 1, y_high = 0;
  for (const ScatterPoint& p : points) {
    const double low = std::max(p.x.lower.value_or(p.x.value), 1e-3), high = p.x.upper.value_or(p.x.value);
    x_low = x_low == 0 ? low : std::min(x_low, low);
    x_high = std::max(x_high, high);
    y_low = std::min(y_low, p.y.lower);
    y_high = std::max(y_high, p.y.upper);
  }
  const int height = width > 500 ? 380 : 320;
  const Frame frame{46, 14, width - 18.0, height - 28.0};
  open_svg(svg, width, height);
  const double margin = std::max(0.02, 0.06 * (y_high - y_low));
  const AxisScale x(x_low * 0.88, x_high * 1.12, frame.left, frame.right, true);
  const AxisScale y(std::max(0.0, y_low - margin), std::min(1.0, y_high + margin), frame.bottom, frame.top, false);
  time_axis(svg, frame, x, log_ticks(x.low(), x.high(), time_ticks(frame)));
  for (const double tick : linear_ticks(y.low(), y.high(), 6)) {
    line(svg, literal("grid"), frame.left, y(tick), frame.right, y(tick));
    label(svg, frame.left - 6, y(tick) + 4, literal("end"), fixed(tick, 2));
  }
  label(svg, frame.left + 4, frame.top + 2, literal("start"), "F1");
  std::vector<const ScatterPoint*> front;
  for (const ScatterPoint& p : points) {
    if (p.on_front) front.push_back(&p);
  }
  std::ranges::stable_sort(front, {}, [](const ScatterPoint* p) { return p->x.value; });
  Path path;
  for (std::size_t i = 0; i < front.size(); ++i) {
    // What the last point reaches is to be had until the next one: steps, not slopes.
    if (i > 0) path.to(x(front[i]->x.value), y(front[i - 1]->y.value));
    path.to(x(front[i]->x.value), y(front[i]->y.value));
  }
  if (front.size() > 1) path.draw(svg, literal("front"));
  for (const ScatterPoint& p : points) {
    const Markup css = literal("whisker ") << series_class(p.number);
    line(svg, css, x(p.x.value), y(p.y.lower), x(p.x.value), y(p.y.upper));
    if (p.x.lower && p.x.upper) line(svg, css, x(std::max(*p.x.lower, 1e-3)), y(p.y.value), x(*p.x.upper), y(p.y.value));
  }
  for (const ScatterPoint& p : points) {
    dot(svg, literal("point ") << series_class(p.number), x(p.x.value), y(p.y.value), 9);
    svg << "<text class=\"in\" x=\"";
    svg.number(x(p.x.value), 1) << "\" y=\"";
    svg.number(y(p.y.value) + 4, 1) << "\" text-anchor=\"middle\">";
    svg.count(p.number) << "</text>\n";
  }
  svg << "</svg>";
  return svg;
}

}  // namespace gritstone

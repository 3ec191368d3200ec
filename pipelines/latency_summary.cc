#include "pipelines/latency_summary.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "pipelines/statistics.h"

namespace gritstone {
namespace {

// P(X <= k) of a binomial variable.
double binomial_at_most(std::size_t k, std::size_t n, double p) {
  double sum = 0;
  const auto total = static_cast<double>(n);
  for (std::size_t i = 0; i <= k; ++i) {
    const auto x = static_cast<double>(i);
    sum +=
        std::exp(std::lgamma(total + 1) - std::lgamma(x + 1) - std::lgamma(total - x + 1) + x * std::log(p) + (total - x) * std::log1p(-p));
  }
  return sum;
}

// The order statistics between which the percentile lies with at least 95 % confidence, 2.5 % on either side.
void add_interval(Percentile& percentile, const std::vector<double>& sorted) {
  const std::size_t n = sorted.size();
  // Values below the percentile: binomial(n, share). sorted[i] <= percentile unless at most i values are below it.
  for (std::size_t i = 0; i < n; ++i) {
    if (binomial_at_most(i, n, percentile.share) > 0.025) break;
    percentile.lower = sorted[i];
  }
  for (std::size_t i = n; i-- > 0;) {
    if (1 - binomial_at_most(i, n, percentile.share) > 0.025) break;
    percentile.upper = sorted[i];
  }
}

}  // namespace

Distribution distribution_of(std::vector<double> values) {
  Distribution d;
  d.n = values.size();
  if (values.empty()) return d;
  std::ranges::sort(values);
  d.mean = mean_of(values);
  d.smallest = values.front();
  d.largest = values.back();
  double squares = 0;
  for (const double v : values) squares += (v - d.mean) * (v - d.mean);
  if (d.n > 1) d.deviation = std::sqrt(squares / static_cast<double>(d.n - 1));
  for (const double share : {0.5, 0.9, 0.95, 0.99}) {
    if (share == 0.99 && d.n < kP99Samples) continue;
    Percentile p;
    p.share = share;
    p.value = quantile(values, share);
    add_interval(p, values);
    d.percentiles.push_back(p);
  }
  return d;
}

Slo parse_slo(const std::string& text) {
  Slo slo;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    begin = end + 1;
    const std::size_t colon = std::min(part.find(':'), part.size());
    const std::string name = part.substr(0, colon);
    double value = 0;
    const char* first = part.data() + std::min(colon + 1, part.size());
    const auto [last, error] = std::from_chars(first, part.data() + part.size(), value);
    std::optional<double>* limit = name == "ttft" ? &slo.ttft_ms : name == "tpot" ? &slo.tpot_ms : name == "e2e" ? &slo.e2e_ms : nullptr;
    if (limit == nullptr || error != std::errc() || last != part.data() + part.size() || !(value > 0)) {
      throw Error(ErrorCode::kInvalidArgument, "\"" + part + "\" is no limit; expected ttft:MS, tpot:MS or e2e:MS, with commas");
    }
    *limit = value;
  }
  return slo;
}

LatencySummary summarise_latency(const std::vector<RequestRecord>& records, const Slo& slo) {
  LatencySummary s;
  s.requests = records.size();
  if (records.empty()) return s;
  std::vector<double> wait, ttft, tpot, itl, e2e;
  std::map<std::string, std::vector<double>> stages;
  double first_due = records.front().due, last_end = 0;
  std::size_t tokens = 0, good = 0;
  for (const RequestRecord& r : records) {
    first_due = std::min(first_due, r.due);
    last_end = std::max(last_end, r.ended);
    if (!r.ok) {
      ++s.failed;
      ++s.errors[r.error];
      continue;
    }
    ++s.completed;
    tokens += r.tokens;
    wait.push_back(1e3 * (r.begun - r.due));
    e2e.push_back(1e3 * (r.ended - r.due));
    bool keeps = !slo.e2e_ms || e2e.back() <= *slo.e2e_ms;
    if (r.first_token > 0) {
      ttft.push_back(1e3 * (r.first_token - r.due));
      keeps = keeps && (!slo.ttft_ms || ttft.back() <= *slo.ttft_ms);
      if (r.tokens > 1) {
        tpot.push_back(1e3 * (r.ended - r.first_token) / static_cast<double>(r.tokens - 1));
        keeps = keeps && (!slo.tpot_ms || tpot.back() <= *slo.tpot_ms);
      }
    }
    good += keeps ? 1 : 0;
    for (std::size_t i = 1; i < r.pieces.size(); ++i) itl.push_back(1e3 * (r.pieces[i] - r.pieces[i - 1]));
    for (const auto& [stage, ms] : r.stages) stages[stage].push_back(ms);
  }
  s.seconds = last_end - first_due;
  if (s.seconds > 0) {
    s.requests_per_second = static_cast<double>(s.completed) / s.seconds;
    s.tokens_per_second = static_cast<double>(tokens) / s.seconds;
    s.goodput = static_cast<double>(good) / s.seconds;
  }
  s.good_share = static_cast<double>(good) / static_cast<double>(s.requests);
  s.wait_ms = distribution_of(std::move(wait));
  s.ttft_ms = distribution_of(std::move(ttft));
  s.tpot_ms = distribution_of(std::move(tpot));
  s.itl_ms = distribution_of(std::move(itl));
  s.e2e_ms = distribution_of(std::move(e2e));
  for (auto& [stage, values] : stages) s.stages[stage] = distribution_of(std::move(values));
  return s;
}

}  // namespace gritstone

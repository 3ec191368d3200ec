#include "apps/tune_output.h"

#include <algorithm>
#include <string>

#include "apps/json_output.h"
#include "apps/terminal.h"

namespace gritstone {
namespace {

void gain_json(JsonOutput& json, std::string_view name, const PairedComparison& gain) {
  json.begin_object(name).field("a", gain.mean_a).field("b", gain.mean_b).field("difference", gain.difference);
  json.field("lower", gain.lower).field("upper", gain.upper).field("p", gain.p).field("detectable", gain.detectable).end_object();
}

std::string gain_text(const PairedComparison& gain) {
  return format("%+.4f, 95 %% interval [%+.4f, %+.4f], p %.4f", gain.difference, gain.lower, gain.upper, gain.p);
}

}  // namespace

void print_tune_json(const TuneResult& result, bool saved) {
  JsonOutput json;
  json.begin_object().begin_object("tune").field("metric", result.metric.name()).field("queries", result.queries);
  json.field("weight_in_use", result.weight_in_use).field("best_weight", result.best_weight).begin_array("curve");
  for (const TunePoint& point : result.curve) {
    json.begin_object().field("weight", point.weight).field("mean", point.mean).end_object();
  }
  json.end_array().field("cross_validated", result.cross_validated).array("fold_weights", result.fold_weights);
  gain_json(json, "over_weight_in_use", result.over_in_use);
  gain_json(json, "over_bm25", result.over_bm25);
  json.field("recommended", result.recommended).field("saved", saved).end_object().end_object().print();
}

void print_tune(const TuneResult& result, const std::string& collection, bool wants_save) {
  double low = 1, high = 0;
  for (const TunePoint& point : result.curve) {
    low = std::min(low, point.mean);
    high = std::max(high, point.mean);
  }
  print_out(format("weight  %s (%zu queries)\n", result.metric.title().c_str(), result.queries));
  for (const TunePoint& point : result.curve) {
    const double share = high > low ? (point.mean - low) / (high - low) : 1;
    std::string marks;
    if (point.weight == result.weight_in_use) marks += "  in use";
    if (point.weight == result.best_weight) marks += "  best";
    print_out(format("%6.3f  %.4f  %-30s%s\n", point.weight, point.mean,
                     std::string(static_cast<std::size_t>(30 * share + 0.5), '#').c_str(), marks.c_str()));
  }
  std::string folds;
  for (const double weight : result.fold_weights) folds += (folds.empty() ? "" : ", ") + format("%.2f", weight);
  print_out(format("\nCross-validated (each fold with the weight that is best on the others: %s): %.4f\n", folds.c_str(),
                   result.cross_validated));
  print_out("  over the weight in use  " + gain_text(result.over_in_use) + "\n");
  print_out("  over BM25 alone         " + gain_text(result.over_bm25) + "\n\n");
  if (!result.recommended) {
    print_out(
        format("The weight stays %.3f: the interval of the gain is not above 0. %zu questions show a gain of %.4f in four of five cases.\n",
               result.weight_in_use, result.queries, result.over_in_use.detectable));
  } else if (wants_save) {
    print_out(format("Collection %s now has the weight %.3f; search, ask and serve use it.\n", collection.c_str(), result.best_weight));
  } else {
    print_out(format("%.3f is better than %.3f; --save keeps it in the collection, --dense-weight %.3f uses it once.\n", result.best_weight,
                     result.weight_in_use, result.best_weight));
  }
}

}  // namespace gritstone

// The report as one JSON document.
#include <cmath>
#include <optional>

#include "base/json.h"
#include "base/utf8.h"
#include "pipelines/report_export.h"

namespace gritstone {
namespace {

class Json {
 public:
  Json& open(const char* name = nullptr) { return key(name), writer_.StartObject(), *this; }
  Json& close() { return writer_.EndObject(), *this; }
  Json& open_list(const char* name) { return key(name), writer_.StartArray(), *this; }
  Json& close_list() { return writer_.EndArray(), *this; }
  Json& text(const char* name, const std::string& value) { return key(name), writer_.String(sanitize_utf8(value)), *this; }
  Json& count(const char* name, std::size_t value) { return key(name), writer_.Uint64(value), *this; }
  Json& truth(const char* name, bool value) { return key(name), writer_.Bool(value), *this; }
  Json& number(const char* name, std::optional<double> value) {
    key(name);
    value&& std::isfinite(*value) ? writer_.Double(*value) : writer_.Null();
    return *this;
  }
  Json& interval(const char* name, const Interval& i) {
    return open(name).number("value", i.value).number("lower", i.lower).number("upper", i.upper).close();
  }
  Json& distribution(const char* name, const Distribution& d) {
    open(name).count("n", d.n).number("mean", d.mean).number("sd", d.deviation).number("min", d.smallest).number("max", d.largest);
    open_list("percentiles");
    for (const Percentile& p : d.percentiles) {
      open().number("share", p.share).number("value", p.value).number("lower", p.lower).number("upper", p.upper).close();
    }
    return close_list().close();
  }
  std::string done() const { return {buffer_.GetString(), buffer_.GetSize()}; }

 private:
  void key(const char* name) {
    if (name != nullptr) writer_.Key(name);
  }
  rapidjson::StringBuffer buffer_;
  rapidjson::Writer<rapidjson::StringBuffer> writer_{buffer_};
};

void figures(Json& json, const QaSummary& s) {
  json.count("questions", s.questions).count("answerable", s.answerable).count("failed", s.failed);
  json.number("em", s.exact_match).number("f1", s.f1).number("contained", s.contained).number("hit_rate", s.hit_rate);
  json.number("citation_precision", s.citation_precision).number("citation_recall", s.citation_recall);
  json.number("abstention", s.abstention).number("abstention_precision", s.abstention_precision);
  json.number("false_abstention", s.false_abstention).number("reused_share", s.reused_share);
  json.count("compared", s.compared).count("flipped", s.flipped).count("same_tokens", s.same_tokens);
  json.count("reference_right", s.reference_right).count("stayed_right", s.stayed_right);
  json.number("stayed_right_lower", s.stayed_right_lower).count("kl_tokens", s.kl_tokens).number("kl_mean", s.kl_mean);
  json.number("kl_p99", s.kl_p99).number("top1_agreement", s.top1_agreement);
}

void config(Json& json, const ReportConfig& c, const Report& report) {
  json.open().text("config", c.all.config);
  json.text("compared_with", report.configs[c.compared_with].all.config).truth("on_front", c.on_front);
  figures(json, c.all);
  json.interval("f1_interval", c.f1).interval("right_interval", c.right);
  json.distribution("ttft_ms", c.ttft).distribution("total_ms", c.total);
  json.open("stages_median");
  for (const auto& [stage, ms] : c.stages_median) json.number(stage.c_str(), ms);
  json.close().open("stages_mean");
  for (const auto& [stage, ms] : c.all.stages_mean) json.number(stage.c_str(), ms);
  json.close().open("kinds");
  for (const auto& [kind, summary] : c.kinds) {
    json.open(kind.c_str());
    figures(json, summary);
    json.close();
  }
  json.close().close();
}

void questions(Json& json, const char* name, const std::vector<ReportQuestion>& all, const Report& report) {
  json.open_list(name);
  for (const ReportQuestion& q : all) {
    json.open().text("id", q.id).text("kind", q.kind).text("why", q.why).open_list("answers");
    for (const auto& [c, row] : q.rows) {
      json.open().text("config", report.configs[c].all.config).text("answer", row.answer).number("f1", row.f1);
      json.truth("contained", row.contained).number("ttft_ms", row.ttft_ms).close();
    }
    json.close_list().close();
  }
  json.close_list();
}

}  // namespace

std::string report_json(const Report& report) {
  Json json;
  json.open().text("title", report.title).open_list("sources");
  for (const ReportSource& source : report.sources) {
    json.open().text("file", source.file).text("kind", source.kind).open("about");
    for (const auto& [name, value] : source.about) json.text(sanitize_utf8(name).c_str(), value);
    json.close().text("warning", source.warning).close();
  }
  json.close_list().open_list("findings");
  for (const std::string& sentence : report.findings) json.text(nullptr, sentence);
  json.close_list().open_list("configs");
  for (const ReportConfig& c : report.configs) config(json, c, report);
  json.close_list().open_list("differences");
  for (const ReportDifference& d : report.differences) {
    const PairedComparison& p = d.figures;
    json.open().text("config", report.configs[d.config].all.config).text("against", report.configs[d.against].all.config);
    json.text("metric", p.metric).count("n", p.n).number("against_mean", p.mean_a).number("config_mean", p.mean_b);
    json.number("difference", p.difference).number("lower", p.lower).number("upper", p.upper).number("p", p.p);
    json.number("p_holm", p.p_holm).number("detectable", p.detectable).close();
  }
  json.close_list().open_list("retrieval");
  for (const ReportRetrieval& r : report.retrieval) {
    json.open().text("ranking", r.label).count("queries", r.queries).open("metrics");
    for (const auto& [metric, value] : r.metrics) {
      const auto i = r.intervals.find(metric);
      json.open(metric.c_str()).number("value", value);
      if (i != r.intervals.end()) json.number("lower", i->second.lower).number("upper", i->second.upper);
      json.close();
    }
    json.close().close();
  }
  json.close_list().open_list("latency");
  for (const ReportLatency& l : report.latency) {
    const LatencySummary& s = l.summary;
    json.open().text("run", l.label).count("requests", s.requests).count("completed", s.completed).count("failed", s.failed);
    json.number("seconds", s.seconds).number("requests_per_second", s.requests_per_second).number("tokens_per_second", s.tokens_per_second);
    json.distribution("wait_ms", s.wait_ms).distribution("ttft_ms", s.ttft_ms).distribution("tpot_ms", s.tpot_ms);
    json.distribution("itl_ms", s.itl_ms).distribution("e2e_ms", s.e2e_ms).open("stages");
    for (const auto& [stage, d] : s.stages) json.distribution(stage.c_str(), d);
    json.close().close();
  }
  json.close_list();
  questions(json, "worst", report.worst, report);
  questions(json, "flipped", report.flipped, report);
  json.open_list("failures");
  for (const ReportFailure& f : report.failures) {
    json.open().text("where", f.where).text("message", f.message).count("count", f.count).text("example", f.example).close();
  }
  json.close_list().close();
  return json.done();
}

}  // namespace gritstone

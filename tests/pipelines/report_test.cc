// The report of a small fixture (tests/golden/report, made by the script beside it), and what is no input of one.
#include "pipelines/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/checked_file.h"
#include "base/json.h"
#include "pipelines/qa_run_file.h"
#include "pipelines/report_export.h"
#include "pipelines/report_html.h"
#include "pipelines/report_tables.h"
#include "tests/base/expect_error.h"
#include "tests/base/temp_directory.h"

namespace gritstone {
namespace {

std::filesystem::path fixture(const char* name) { return std::filesystem::path(GRITSTONE_SOURCE_DIR) / "tests/golden/report" / name; }
std::string content(const std::filesystem::path& path) { return read_file(path, std::uint64_t{1} << 24); }

Report fixture_report() {
  ReportInputs inputs;
  for (const char* name : {"run.jsonl", "load.jsonl", "retrieval.json"}) inputs.add(fixture(name));
  ReportOptions options;
  options.resamples = 2000;
  return build_report(inputs, options);
}

double expected(const char* key) { return parse_json(content(fixture("expected.json")), "expected.json")[key].GetDouble(); }

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(ReportOfFixture, FiguresAreNumpys) {
  const Report report = fixture_report();
  ASSERT_EQ(report.configs.size(), 3u);
  EXPECT_EQ(report.configs[0].all.config, "none/k5/docs-first");
  EXPECT_NEAR(report.configs[0].all.f1, expected("none_f1"), 1e-12);
  EXPECT_NEAR(report.configs[1].f1.value, expected("chunks_f1"), 1e-12);
  EXPECT_NEAR(report.configs[0].ttft.percentiles[0].value, expected("none_ttft_p50"), 1e-6);
  ASSERT_EQ(report.latency.size(), 1u);
  EXPECT_NEAR(report.latency[0].summary.ttft_ms.percentiles[0].value, expected("load_ttft_p50"), 1e-6);
  EXPECT_NEAR(report.latency[0].summary.ttft_ms.percentiles[2].value, expected("load_ttft_p95"), 1e-6);
  EXPECT_EQ(report.latency[0].ttft_ms.size(), 39u);
  EXPECT_EQ(report.latency[0].summary.failed, 1u);
  ASSERT_EQ(report.retrieval.size(), 2u);
  EXPECT_NEAR(report.retrieval[1].metrics.at("ndcg@10"), expected("fused_ndcg"), 1e-12);
  EXPECT_LT(report.retrieval[1].intervals.at("ndcg@10").lower, report.retrieval[1].metrics.at("ndcg@10"));
  EXPECT_NEAR(report.configs[1].stages_median.at("decode_ms"), 300, 1e-9);
}

TEST(ReportOfFixture, ComparesPoliciesWithTheirReferenceAndBaselinesWithTheFirst) {
  const Report report = fixture_report();
  EXPECT_EQ(report.best, 1u);
  EXPECT_EQ(report.fast, 1u);
  EXPECT_EQ(report.configs[0].compared_with, 0u);
  EXPECT_EQ(report.configs[1].compared_with, 0u);
  EXPECT_EQ(report.configs[2].compared_with, 0u);
  const auto ttft =
      std::ranges::find_if(report.differences, [](const ReportDifference& d) { return d.config == 1 && d.figures.metric == "ttft_ms"; });
  ASSERT_NE(ttft, report.differences.end());
  EXPECT_EQ(ttft->figures.n, 12u) << "a failed answer has no pair";
  EXPECT_NEAR(ttft->figures.difference, -600, 1e-6);
  for (const ReportDifference& d : report.differences) {
    EXPECT_GE(d.figures.p_holm, d.figures.p);
  }
  // One family over both configs: the smallest p-value of all is multiplied by their number.
  const auto smallest = std::ranges::min_element(report.differences, {}, [](const ReportDifference& d) { return d.figures.p; });
  EXPECT_NEAR(smallest->figures.p_holm, std::min(1.0, smallest->figures.p * static_cast<double>(report.differences.size())), 1e-12);
  // 1000 ms and F1 0.4 are beaten by 400 ms and F1 0.425; words alone start a millisecond earlier than none, and have less.
  EXPECT_FALSE(report.configs[0].on_front);
  EXPECT_TRUE(report.configs[1].on_front);
  EXPECT_FALSE(report.configs[2].on_front);
}

TEST(ReportOfFixture, ShowsWhatIsWorstAndWhatFlipped) {
  const Report report = fixture_report();
  ASSERT_EQ(report.worst.size(), 10u) << "all answerable ones have F1 below 1";
  EXPECT_EQ(report.worst[0].id, "q0");
  EXPECT_EQ(report.worst[0].rows.size(), 3u);
  ASSERT_EQ(report.flipped.size(), 2u + 0u);
  EXPECT_EQ(report.flipped[0].id, "q1") << "lost by reuse comes first";
  EXPECT_EQ(report.flipped[1].id, "q8");
  ASSERT_EQ(report.failures.size(), 2u);
  EXPECT_EQ(report.failures[0].where, "none/k5/docs-first");
  EXPECT_EQ(report.failures[0].example, "q12");
  EXPECT_EQ(report.failures[1].count, 1u);
}

// What is said must hold: F1 of ten questions tells nothing apart here, 600 ms of twelve does.
TEST(ReportOfFixture, FindingsStayWithinTheirIntervals) {
  const Report report = fixture_report();
  ASSERT_GE(report.findings.size(), 5u);
  EXPECT_NE(report.findings[0].find("Of 3 configs asked 10 answerable questions, chunks/int8/k5/docs-first has the highest F1, 0.425"),
            std::string::npos)
      << report.findings[0];
  EXPECT_NE(report.findings[1].find("600 ms earlier"), std::string::npos) << report.findings[1];
  EXPECT_NE(report.findings[1].find("10 questions cannot tell from no difference"), std::string::npos) << report.findings[1];
  EXPECT_NE(report.findings[2].find("bm25+none/k5/docs-first beside none/k5/docs-first"), std::string::npos) << report.findings[2];
}

TEST(ReportOfFixture, PageEscapesWhatFilesSayAndLoadsNothing) {
  const std::string html = report_html(fixture_report());
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("<img"), std::string::npos);
  EXPECT_EQ(html.find("<svg onload"), std::string::npos);
  EXPECT_EQ(html.find("<model>"), std::string::npos);
  EXPECT_EQ(html.find("<peer>"), std::string::npos);
  EXPECT_EQ(html.find("<of 2048"), std::string::npos);
  EXPECT_EQ(count(html, "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quotes&quot; &#39;n&#39; =1+1"), 1u);
  EXPECT_NE(html.find("&lt;img src=x onerror=alert(1)&gt;.md"), std::string::npos);
  EXPECT_NE(html.find("default-src 'none'; style-src 'sha256-"), std::string::npos);
  EXPECT_EQ(html.find("http"), html.find("http-equiv")) << "the only mention of http";
  EXPECT_EQ(count(html, "style="), 0u) << "the policy would drop it";
  for (const char* id :
       {"quality", "cost", "tradeoff", "cdf", "stages", "kind", "differences", "retrieval", "latency", "worst", "flipped", "failures"}) {
    EXPECT_EQ(count(html, std::string("<section id=\"") + id + "\""), 1u) << id;
  }
  for (const char* tag : {"section", "table", "tr", "td", "th", "details", "figure", "svg", "bdi", "span", "ul", "li", "ol", "div"}) {
    EXPECT_EQ(count(html, std::string("<") + tag + ">") + count(html, std::string("<") + tag + " "),
              count(html, std::string("</") + tag + ">"))
        << tag;
  }
}

// The order of columns that readers rely on, and that a hostile name cannot add any.
TEST(ReportOfFixture, CsvHasOneLinePerFigure) {
  const std::string csv = report_csv(fixture_report());
  EXPECT_TRUE(csv.starts_with("table,name,kind,metric,n,value,lower,upper\r\n"));
  EXPECT_NE(csv.find("\r\nanswers,none/k5/docs-first,,f1,10,0.4,"), std::string::npos) << csv.substr(0, 800);
  EXPECT_NE(csv.find("\r\nanswers,none/k5/docs-first,unanswerable,abstention,2,1,,\r\n"), std::string::npos);
  EXPECT_NE(csv.find("\r\nlatency,load,,failed,40,1,,\r\n"), std::string::npos);
  EXPECT_NE(csv.find("\r\nretrieval,fused,,ndcg@10,20,"), std::string::npos);
  for (std::size_t begin = 0; begin < csv.size();) {
    const std::size_t end = csv.find("\r\n", begin);
    ASSERT_NE(end, std::string::npos);
    EXPECT_EQ(count(csv.substr(begin, end - begin), ","), 7u) << csv.substr(begin, end - begin);
    begin = end + 2;
  }
}

TEST(ReportOfFixture, MarkdownAndJsonHoldTheSame) {
  const Report report = fixture_report();
  const std::string markdown = report_markdown(report);
  EXPECT_NE(markdown.find("| none/k5/docs-first |"), std::string::npos);
  EXPECT_NE(markdown.find("connection reset \\| by \\<peer\\>"), std::string::npos);
  EXPECT_EQ(markdown.find("<of"), markdown.find("\\<of") + 1) << "no bare tag";
  const std::string text = report_json(report);
  const rapidjson::Document json = parse_json(text, "report");
  EXPECT_NEAR(json["configs"][1]["f1"].GetDouble(), expected("chunks_f1"), 1e-12);
  EXPECT_EQ(json["worst"].Size(), 10u);
  EXPECT_EQ(json["latency"][0]["failed"].GetInt(), 1);
  EXPECT_EQ(json["differences"].Size(), report.differences.size());
}

TEST(ReportInputsOf, TwoRunsOfOneConfigAreToldApart) {
  const TempDirectory directory;
  std::filesystem::copy_file(fixture("run.jsonl"), directory / "other.jsonl");
  ReportInputs inputs;
  inputs.add(fixture("run.jsonl"));
  inputs.add(directory / "other.jsonl");
  ASSERT_EQ(inputs.configs.size(), 6u);
  EXPECT_EQ(inputs.configs[3], "other+none/k5/docs-first");
  EXPECT_EQ(inputs.configs[5], "other:bm25+none/k5/docs-first");
  EXPECT_EQ(reference_of(inputs.configs, 4), 3u) << "within its own file";
  const Report report = build_report(inputs, {.resamples = 200});
  EXPECT_EQ(report.configs[3].compared_with, 0u);
  EXPECT_EQ(report.configs[3].all.f1, report.configs[0].all.f1);
}

TEST(ReportInputsOf, OldRunFilesGetTheirQuestionsFromTheSet) {
  const TempDirectory directory;
  std::ofstream(directory / "old.jsonl")
      << R"({"gritstone_qa_run":2,"model":"00","numerics":"cpu","collection":"notes","generation":3,"mode":"fused","tokens":64,"abstain":true,"kl":false})"
         "\n"
      << R"({"config":"none/k5/docs-first","id":"q1","kind":"","answerable":true,"answer":"No.","em":0,"f1":0,"contained":false,"abstained":false,)"
         R"("hit":false,"citations":0,"citations_ok":0,"prompt_tokens":5,"reused_tokens":0,"recomputed_tokens":0,"completion_tokens":2,)"
         R"("ttft_ms":10,"total_ms":20,"fingerprint":"","kl":[],"same_top":0})"
         "\n{\"config\":\"none/k5";
  ReportInputs inputs;
  inputs.add(directory / "old.jsonl");
  EXPECT_NE(inputs.sources[0].warning.find("incomplete"), std::string::npos);
  QaQuestion question;
  question.id = "q1";
  question.question = "What?";
  question.answers = {"Yes"};
  inputs.add_questions({question});
  const Report report = build_report(inputs, {.resamples = 200});
  ASSERT_EQ(report.worst.size(), 1u);
  EXPECT_EQ(report.worst[0].question, "What?");
  EXPECT_EQ(report.worst[0].gold, std::vector<std::string>{"Yes"});
  EXPECT_TRUE(report.kinds.empty());
  report_html(report);
}

TEST(ReportInputsOf, WhatIsNoInputIsNamedWithItsLine) {
  const TempDirectory directory;
  const auto path = directory / "x.jsonl";
  const auto refuses = [&](const std::string& text, const std::string& says) {
    std::ofstream(path, std::ios::trunc) << text;
    ReportInputs inputs;
    EXPECT_GS_ERROR(inputs.add(path), ErrorCode::kInvalidArgument, says);
  };
  const std::string header = "{\"gritstone_qa_run\":3}\n", due = R"({"due":0,"begun":0,"ended":1,"ok":true})"
                                                                 "\n";
  refuses("", "x.jsonl");
  refuses("[]", "x.jsonl: no JSON object");
  refuses("{\"a\":1}", "neither a run file");
  refuses("{\"configs\":[],\"kinds\":{}}", "eval qa --run");
  refuses("{\"configs\":[{\"config\":\"a\",\"metrics\":{}}]}", "x.jsonl, config 1: no object \"per_query\"");
  refuses(header + "{}\n", "x.jsonl, line 2: no \"config\"");
  refuses(header + "{\"config\":3}\n", "x.jsonl, line 2");
  refuses(header + "not JSON\n", "x.jsonl, line 2");
  refuses("{\"gritstone_qa_run\":9}\n", "x.jsonl, line 1: version 9");
  refuses("{\"gritstone_qa_run\":3", "no complete line");
  refuses(due + R"({"due":0,"begun":0})"
                "\n",
          "x.jsonl, line 2: no \"ended\"");
  refuses(due + R"({"due":"0","begun":0,"ended":1,"ok":true})"
                "\n",
          "x.jsonl, line 2");
  refuses("{\"gritstone_latency_records\":1}\n", "no complete record");
  refuses(R"({"load":{},"ttft_ms":3})", "x.jsonl: \"ttft_ms\" is no object");
  ReportInputs inputs;
  EXPECT_GS_ERROR(inputs.add(directory / "absent"), ErrorCode::kNotFound, "absent");
  EXPECT_GS_ERROR(build_report(inputs, {}), ErrorCode::kInvalidArgument, "nothing to report");
  std::ofstream(path, std::ios::trunc) << due << R"({"due":1,"begun":1,"en)";
  inputs.add(path);
  EXPECT_EQ(inputs.latency[0].summary.requests, 1u) << "a cut last line is left out";
  EXPECT_NE(inputs.sources[0].warning, "");
}

}  // namespace
}  // namespace gritstone

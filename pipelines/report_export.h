// The report for programs and pull requests: CSV, Markdown, JSON.
#pragma once

#include <string>
#include <string_view>

#include "pipelines/report.h"

namespace gritstone {

// One line per table, name, kind of questions and metric: "table,name,kind,metric,n,value,lower,upper" (RFC 4180: CRLF, quotes where
// needed). Long rather than wide, so that new metrics are new rows; read.csv() and pandas.read_csv() need no options.
std::string report_csv(const Report& report);

// Findings and tables in GitHub's Markdown; what files say is escaped.
std::string report_markdown(const Report& report);

// Everything in numbers, one document.
std::string report_json(const Report& report);

// A field of RFC 4180: in quotes, doubled inside, if it holds a comma, a quote or a line break. A text that a spreadsheet would take for a
// formula gets an apostrophe before it.
std::string csv_field(std::string_view text);

}  // namespace gritstone

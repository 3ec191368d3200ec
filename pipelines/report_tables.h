// The tables of the report as text, the same for HTML and Markdown.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "pipelines/report.h"

namespace gritstone {

struct ReportCell {
  std::string text;
  std::string range;  // of its interval, in smaller print; mostly empty
  bool best = false;  // of its column
};

struct ReportRow {
  std::optional<std::size_t> number;  // of a config, from 1, as in the charts
  std::string name;
  std::vector<ReportCell> cells;
};

struct ReportTable {
  std::string id;  // "quality", "cost", "kind", "retrieval", "latency", "differences", "failures"
  std::string title;
  std::string note;                  // what the columns mean; may be empty
  std::vector<std::string> columns;  // the first is the rows' names
  std::vector<ReportRow> rows;
};

// In the order they are read; those without rows are left out. Several may share an id ("kind").
std::vector<ReportTable> report_tables(const Report& report);

}  // namespace gritstone

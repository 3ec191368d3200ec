// The report as one HTML file: no network, no script, light and dark, on a phone and on paper.
#pragma once

#include <string>

#include "pipelines/report.h"
#include "pipelines/report_markup.h"

namespace gritstone {

// A whole document. Everything that comes from files is escaped (report_markup.h); its policy lets the browser load and run nothing.
std::string report_html(const Report& report);

// The part with single questions (report_html_questions.cc).
Markup questions_html(const Report& report);

// Number and name of a config, coloured as in the charts.
Markup config_chip(std::size_t number);

}  // namespace gritstone

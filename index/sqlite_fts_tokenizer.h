// Gives FTS5 our text analysis under the name `gritstone`: CREATE VIRTUAL TABLE ... tokenize='gritstone english'.
#pragma once

#include <string>

#include "index/text_analysis.h"

struct sqlite3;

namespace gritstone {

// Registers it on one connection. `analyzers` must outlive the connection. Documents are analysed; a query string reaches the tokenizer one
// analysed term at a time (see match_expression) and is taken as it is, since a stem stemmed again may change.
// Throws Error(kStorage) if FTS5 is missing.
void register_fts_tokenizer(sqlite3* connection, AnalyzerCache& analyzers, const std::string& path);

// "any of these": the terms quoted, joined by OR. REQUIRES: terms not empty.
std::string match_expression(const std::vector<std::string>& terms);

}  // namespace gritstone

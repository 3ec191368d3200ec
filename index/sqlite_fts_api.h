// FTS5's extension interface of one connection.
#pragma once

#include <sqlite3.h>

#include <string>

namespace gritstone {

// Throws Error(kStorage) if this SQLite was built without FTS5.
fts5_api* fts5_api_of(sqlite3* connection, const std::string& path);

}  // namespace gritstone

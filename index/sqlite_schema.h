// The tables of gritstone.db and their versions. Described in docs/STORE_FORMAT.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "index/sqlite_database.h"

namespace gritstone {

inline constexpr int kSchemaVersion = 3;

// Creates the tables in an empty database or migrates an older one, in one transaction. Writer connection only.
// Throws Error(kDamagedData) if the database is not a Gritstone store or newer than this program.
void migrate_schema(Database& database);

// Throws Error(kDamagedData) unless the database has exactly kSchemaVersion.
void require_schema(Database& database);

// The full-text table of one collection and the view it is built from. A table each, so that document frequencies, and with them scores,
// never depend on other collections. Ids are numbers, so the names need no quoting.
std::string fts_table(std::int64_t collection);
void create_fts(Database& database, std::int64_t collection, std::string_view language);
void drop_fts(Database& database, std::int64_t collection);

// Columns of the table: title, heading, body. A title names the subject of every chunk below it, so its words weigh more than the body's,
// but it repeats in each of them.
inline constexpr const char* kBm25Call = "gritstone_bm25({table}, 1.0, 1.0, 1.0)";

// kBm25Call for a collection.
std::string bm25_call(std::int64_t collection);

}  // namespace gritstone

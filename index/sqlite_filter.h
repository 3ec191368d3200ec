// A Filter as SQL.
#pragma once

#include <cstdint>
#include <string>

#include "index/filter.h"
#include "index/sqlite_database.h"

namespace gritstone {

// "SELECT c.id ... " over the chunks of the collection's documents that pass; parameters are numbered from `first`.
// REQUIRES: filter is not empty or `first` is 1 (then: all chunks).
std::string filter_chunks_sql(const Filter& filter, int first);
void bind_filter(Statement& statement, const Filter& filter, std::int64_t collection, int first);

}  // namespace gritstone

// From the embeddings table to a searchable index and its file.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "index/sqlite_database.h"
#include "index/sqlite_rows.h"
#include "index/vector_index.h"

namespace gritstone {

// STORE/collections/<id>/vectors-<generation>.faiss
std::filesystem::path vector_file(const std::filesystem::path& store, const CollectionRow& row);

std::string store_id(Database& database);

// Reads every embedding of the collection as the open transaction sees it; rows whose hash differs are left out and counted.
std::shared_ptr<const VectorIndex> vectors_from_rows(Database& database, const CollectionRow& row);

// The file's index if it verifies, else nullptr and the reason ("absent", "content does not match its hash", ...).
std::shared_ptr<const VectorIndex> vectors_from_file(const std::filesystem::path& store, Database& database, const CollectionRow& row,
                                                     std::string& why);

// Replaces the file and removes those of other generations. Throws Error(kStorage).
void write_vector_file(const std::filesystem::path& store, Database& database, const CollectionRow& row, const VectorIndex& index);

// Removes all vector files of a collection; errors are ignored, since a leftover is never read as somebody else's.
void remove_vector_files(const std::filesystem::path& store, std::int64_t collection) noexcept;

}  // namespace gritstone

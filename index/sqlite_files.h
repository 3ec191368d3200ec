// Rows of uploaded files and their links, and where the bytes lie.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "index/sqlite_database.h"
#include "index/uploaded_file.h"

namespace gritstone {

// STORE/files/<first two digits>/<key>. REQUIRES: a key of ours.
std::filesystem::path file_path(const std::filesystem::path& store, std::string_view key);
// 24 hex digits: nothing else may become part of a path.
bool is_file_key(std::string_view key) noexcept;

// Both throw Error(kDamagedData) if the row hash differs.
std::optional<UploadedFile> load_file(Database& database, std::string_view key);
std::vector<UploadedFile> all_files(Database& database);
void insert_file(Database& database, const UploadedFile& file);

// Which links: " WHERE ..." with parameters ?1, ?2 for the columns of file_links. Throws Error(kDamagedData) if a row hash differs.
std::vector<FileLink> load_links(Database& database, const std::string& where, std::int64_t first, std::string_view second);
// The link of a file in a collection; absent if there is none.
std::optional<FileLink> load_link(Database& database, std::int64_t collection, std::string_view key);
void insert_link(Database& database, FileLink& link);  // sets `serial`
void store_link(Database& database, const FileLink& link);

std::int64_t unix_seconds();

// Empty if all is well, else what is wrong with the bytes on disk. Throws Error(kStorage).
std::string check_file_bytes(const std::filesystem::path& store, const UploadedFile& file);
// Names below STORE/files/ that have no row.
std::vector<std::filesystem::path> orphan_files(Database& database, const std::filesystem::path& store);

}  // namespace gritstone

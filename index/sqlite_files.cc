// Uploaded files: rows, bytes on disk, and the operations of Store and WriteJob on them.
#include "index/sqlite_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <random>
#include <set>
#include <system_error>

#include "base/checked_file.h"
#include "base/utf8.h"
#include "index/row_hash.h"
#include "index/sqlite_rows.h"
#include "index/sqlite_store.h"
#include "index/sqlite_write_job.h"

namespace gritstone {
namespace {

constexpr const char* kFileColumns = "key, filename, purpose, bytes, sha256, created, row_hash";

Xxh128Digest file_hash(const UploadedFile& file) {
  RowHash hash;
  hash.add(file.key).add(file.filename).add(file.purpose).add(static_cast<std::int64_t>(file.bytes));
  hash.add(std::span<const std::uint8_t>(file.sha256)).add(file.created);
  return hash.digest();
}

UploadedFile read_file_row(Statement& s) {
  UploadedFile file;
  file.key = s.text(0);
  file.filename = s.text(1);
  file.purpose = s.text(2);
  file.bytes = static_cast<std::uint64_t>(s.integer(3));
  const auto sha = s.blob(4);
  if (sha.size() == file.sha256.size()) std::copy(sha.begin(), sha.end(), file.sha256.begin());
  file.created = s.integer(5);
  if (!equal_hash(s.blob(6), file_hash(file))) {
    s.reset();
    throw Error(ErrorCode::kDamagedData, "the row of file " + sanitize_utf8(file.key) + " does not match its hash");
  }
  return file;
}

// Not secret, but not to be guessed from another one either.
std::string random_key() {
  std::random_device random;
  std::array<std::uint8_t, 12> bytes{};
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return to_hex(bytes);
}

void make_directory(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    throw Error(ErrorCode::kStorage, "cannot create " + path.string() + ": " + std::strerror(errno));
  }
}

}  // namespace

std::filesystem::path file_path(const std::filesystem::path& store, std::string_view key) {
  return store / "files" / std::string(key.substr(0, 2)) / std::string(key);
}

bool is_file_key(std::string_view key) noexcept {
  return key.size() == 24 && std::all_of(key.begin(), key.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::optional<UploadedFile> load_file(Database& database, std::string_view key) {
  Statement& s = database.statement(std::string("SELECT ") + kFileColumns + " FROM files WHERE key = ?1").bind(1, key);
  if (!s.step()) return std::nullopt;
  UploadedFile file = read_file_row(s);
  s.reset();
  return file;
}

std::vector<UploadedFile> all_files(Database& database) {
  std::vector<UploadedFile> files;
  Statement& s = database.statement(std::string("SELECT ") + kFileColumns + " FROM files ORDER BY id DESC");
  while (s.step()) files.push_back(read_file_row(s));
  return files;
}

void insert_file(Database& database, const UploadedFile& file) {
  Statement& s =
      database.statement(std::string("INSERT INTO files(") + kFileColumns + ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)").bind(1, file.key);
  s.bind(2, file.filename).bind(3, file.purpose).bind(4, static_cast<std::int64_t>(file.bytes)).bind_blob(5, file.sha256);
  s.bind(6, file.created).bind_blob(7, file_hash(file)).run();
}

std::string check_file_bytes(const std::filesystem::path& store, const UploadedFile& file) {
  try {
    const std::string bytes = read_file(file_path(store, file.key), file.bytes);
    if (bytes.size() != file.bytes) return "has " + std::to_string(bytes.size()) + " bytes, expected " + std::to_string(file.bytes);
    if (sha256(as_bytes(bytes)) != file.sha256) return "does not match its SHA-256";
    return {};
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) return "the bytes are missing";
    if (error.code() == ErrorCode::kInvalidArgument) return "has more than " + std::to_string(file.bytes) + " bytes, or is no file";
    throw;
  }
}

std::vector<std::filesystem::path> orphan_files(Database& database, const std::filesystem::path& store) {
  std::set<std::string> kept;
  Statement& s = database.statement("SELECT key FROM files");
  while (s.step()) kept.insert(s.text(0));
  std::vector<std::filesystem::path> orphans;
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(store / "files", error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored) && !it->is_symlink(ignored)) continue;
    const std::string name = it->path().filename().string();
    if (!kept.contains(name) || it->path() != file_path(store, name)) orphans.push_back(it->path());
  }
  std::sort(orphans.begin(), orphans.end());
  return orphans;
}

UploadedFile WriteJob::put_file(std::string_view filename, std::string_view purpose, std::string_view bytes) {
  if (!is_valid_utf8(purpose) || purpose.size() > 64)
    throw Error(ErrorCode::kInvalidArgument, "the purpose of a file must be a short text");
  impl_->commit();
  UploadedFile file;
  file.key = random_key();
  file.filename = label_of(filename);
  file.purpose = purpose;
  file.bytes = bytes.size();
  file.sha256 = sha256(as_bytes(bytes));
  file.created = unix_seconds();
  // Bytes before the row: whenever the process dies, a row has its bytes.
  const std::filesystem::path path = file_path(impl_->store, file.key);
  make_directory(impl_->store / "files");
  make_directory(path.parent_path());
  write_file_atomically(path, as_bytes(bytes));
  try {
    impl_->begin();
    insert_file(impl_->database, file);
    impl_->commit();
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
    throw;
  }
  return file;
}

bool WriteJob::remove_file(std::string_view key) {
  return impl_->apply([&] {
    Database& database = impl_->database;
    Statement& known = database.statement("SELECT 1 FROM files WHERE key = ?1").bind(1, key);
    if (!known.step()) return false;
    known.reset();
    std::vector<std::string> collections;
    Statement& names =
        database.statement("SELECT c.name FROM file_links l JOIN collections c ON c.id = l.collection_id WHERE l.file_key = ?1")
            .bind(1, key);
    while (names.step()) collections.push_back(names.text(0));
    for (const std::string& collection : collections) impl_->remove_link(collection, key);
    database.statement("DELETE FROM files WHERE key = ?1").bind(1, key).run();
    impl_->files_removed = true;
    return true;
  });
}

void WriteJob::sweep_files() { impl_->sweep_uploads(); }

void WriteJob::Impl::sweep_uploads() {
  for (const std::filesystem::path& path : orphan_files(database, store)) {
    std::error_code ignored;  // what cannot be removed now is tried again next time
    std::filesystem::remove(path, ignored);
  }
}

std::vector<UploadedFile> Store::files() const {
  return impl_->with_reader([](Database& reader) { return all_files(reader); });
}

std::optional<UploadedFile> Store::find_file(std::string_view key) const {
  return impl_->with_reader([&](Database& reader) { return load_file(reader, key); });
}

std::string Store::file_bytes(std::string_view key) const {
  const auto file = find_file(key);
  if (!file || !is_file_key(file->key)) throw Error(ErrorCode::kNotFound, "no file " + sanitize_utf8(key));
  std::string bytes;
  try {
    bytes = read_file(file_path(impl_->path, file->key), file->bytes);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kStorage) throw;
    throw Error(ErrorCode::kDamagedData, "the bytes of file " + file->key + " are missing or too many");
  }
  if (sha256(as_bytes(bytes)) != file->sha256) throw Error(ErrorCode::kDamagedData, "the bytes of file " + file->key + " are damaged");
  return bytes;
}

}  // namespace gritstone

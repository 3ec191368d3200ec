#include "index/sqlite_vectors.h"

#include <chrono>
#include <limits>
#include <system_error>
#include <utility>
#include <vector>

#include "base/checked_file.h"
#include "index/faiss_vectors.h"

namespace gritstone {
namespace {

std::filesystem::path collection_directory(const std::filesystem::path& store, std::int64_t collection) {
  return store / "collections" / std::to_string(collection);
}

VectorFileIdentity identity_of(Database& database, const CollectionRow& row) {
  return {store_id(database), row.info.id, row.vectors_generation, row.vectors_token, row.info.dim, row.info.embedded_chunks};
}

void make_private_directory(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error) std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
  if (error) throw Error(ErrorCode::kStorage, "cannot create " + path.string() + ": " + error.message());
}

}  // namespace

std::filesystem::path vector_file(const std::filesystem::path& store, const CollectionRow& row) {
  return collection_directory(store, row.info.id) / ("vectors-" + std::to_string(row.vectors_generation) + ".faiss");
}

std::string store_id(Database& database) {
  Statement& s = database.statement("SELECT value FROM meta WHERE key = 'store_id'");
  if (!s.step()) throw Error(ErrorCode::kDamagedData, "the store has no id");
  std::string id = s.text(0);
  s.reset();
  if (id.size() != 32) throw Error(ErrorCode::kDamagedData, "the store's id has " + std::to_string(id.size()) + " characters, expected 32");
  return id;
}

std::shared_ptr<const VectorIndex> vectors_from_rows(Database& database, const CollectionRow& row) {
  const std::size_t dim = row.info.dim;
  std::vector<ChunkId> ids;
  std::vector<float> rows;
  std::size_t damaged = 0;
  ids.reserve(row.info.embedded_chunks);
  rows.reserve(row.info.embedded_chunks * dim);
  // INDEXED BY: the index yields ids in order; the planner might sort blobs instead.
  Statement& s = database.statement(
      "SELECT chunk_id, row_hash, vector FROM embeddings INDEXED BY embeddings_by_collection WHERE collection_id = ?1 ORDER BY chunk_id");
  s.bind(1, row.info.id);
  while (s.step()) {
    const ChunkId id = s.integer(0);
    const auto vector = s.blob(2);
    if (vector.size() != dim * 2 || !equal_hash(s.blob(1), embedding_row_hash(id, vector))) {
      ++damaged;
      continue;
    }
    ids.push_back(id);
    rows.resize(rows.size() + dim);
    unpack_half(vector, std::span(rows).last(dim));
  }
  return build_vector_index(dim, std::move(ids), rows, damaged);
}

std::shared_ptr<const VectorIndex> vectors_from_file(const std::filesystem::path& store, Database& database, const CollectionRow& row,
                                                     std::string& why) {
  const std::filesystem::path path = vector_file(store, row);
  std::string bytes;
  try {
    bytes = read_file(path, std::numeric_limits<std::uint64_t>::max());
  } catch (const Error& error) {
    why = error.code() == ErrorCode::kNotFound ? "absent" : error.what();
    return nullptr;
  }
  return parse_vector_index(as_bytes(bytes), identity_of(database, row), why);
}

void write_vector_file(const std::filesystem::path& store, Database& database, const CollectionRow& row, const VectorIndex& index) {
  const std::filesystem::path path = vector_file(store, row);
  make_private_directory(path.parent_path());
  write_file_atomically(path, serialize_vector_index(index, identity_of(database, row)));
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(path.parent_path(), ignored)) {
    const std::string name = entry.path().filename().string();
    // A killed process leaves its temporary file; one that is being written is younger than this.
    if (name.find(".faiss.tmp.") != std::string::npos &&
        std::filesystem::file_time_type::clock::now() - entry.last_write_time(ignored) > std::chrono::hours(1)) {
      std::filesystem::remove(entry.path(), ignored);
    }
    // Newer ones belong to a commit we do not see yet.
    if (entry.path() == path || !name.starts_with("vectors-") || !name.ends_with(".faiss")) continue;
    const std::string number = name.substr(8, name.size() - 14);
    if (number.size() < 20 && number.find_first_not_of("0123456789") == std::string::npos && !number.empty() &&
        std::stoull(number) < row.vectors_generation) {
      std::filesystem::remove(entry.path(), ignored);
    }
  }
}

void remove_vector_files(const std::filesystem::path& store, std::int64_t collection) noexcept {
  std::error_code ignored;
  std::filesystem::remove_all(collection_directory(store, collection), ignored);
}

}  // namespace gritstone

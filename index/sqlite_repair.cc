// Takes damage out of a collection, so that indexing the same files again makes it whole.
#include <algorithm>

#include "index/sqlite_files.h"
#include "index/sqlite_schema.h"
#include "index/sqlite_write_job.h"

namespace gritstone {
namespace {

std::vector<std::int64_t> column(Database& database, const char* sql, std::int64_t parameter) {
  std::vector<std::int64_t> values;
  Statement& s = database.statement(sql).bind(1, parameter);
  while (s.step()) values.push_back(s.integer(0));
  return values;
}

std::int64_t single(Database& database, const char* sql, std::int64_t parameter) { return column(database, sql, parameter).at(0); }

bool is_honest(Database& database, DocumentId document) {
  try {
    const auto record = load_document(database, document);
    const auto chunks = column(database, "SELECT id FROM chunks WHERE document_id = ?1", document);
    if (!record || record->chunks != chunks.size()) return false;
    return std::all_of(chunks.begin(), chunks.end(), [&](ChunkId chunk) { return load_chunk(database, chunk).has_value(); });
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kDamagedData) return false;
    throw;
  }
}

bool is_honest_vector(Database& database, ChunkId chunk, std::size_t dim) {
  Statement& s = database.statement("SELECT row_hash, vector FROM embeddings WHERE chunk_id = ?1").bind(1, chunk);
  if (!s.step()) return true;
  const auto vector = s.blob(1);
  const bool honest = vector.size() == dim * 2 && equal_hash(s.blob(0), embedding_row_hash(chunk, vector));
  s.reset();
  return honest;
}

std::string path_of(Database& database, DocumentId document) {
  Statement& s = database.statement("SELECT path FROM documents WHERE id = ?1").bind(1, document);
  std::string path = s.step() ? s.text(0) : std::string();
  s.reset();
  return path;
}

}  // namespace

void WriteJob::Impl::rebuild(CollectionRow& row) {
  const std::string table = fts_table(row.info.id);
  database.execute("INSERT INTO " + table + "(" + table + ") VALUES('rebuild')");
  CollectionInfo& info = row.info;
  const auto count = [&](const char* sql) { return static_cast<std::size_t>(single(database, sql, info.id)); };
  info.documents = count("SELECT count(*) FROM documents WHERE collection_id = ?1");
  info.chunks = count("SELECT count(*) FROM chunks WHERE collection_id = ?1");
  info.embedded_chunks = count("SELECT count(*) FROM embeddings WHERE collection_id = ?1");
  // As a blob: length() of text counts characters.
  info.text_bytes = count("SELECT coalesce(sum(length(CAST(text AS BLOB))), 0) FROM chunks WHERE collection_id = ?1");
  info.tokens = count("SELECT coalesce(sum(tokens), 0) FROM chunks WHERE collection_id = ?1");
  row.vectors_changed = true;
}

std::vector<std::string> WriteJob::repair(std::string_view collection) {
  return impl_->apply([&] {
    Database& database = impl_->database;
    CollectionRow& row = impl_->row(collection);
    std::vector<std::string> removed;
    impl_->text_removed = true;
    for (const DocumentId id : column(database, "SELECT id FROM documents WHERE collection_id = ?1 ORDER BY path", row.info.id)) {
      if (is_honest(database, id)) continue;
      removed.push_back(path_of(database, id));
      database.statement("DELETE FROM documents WHERE id = ?1").bind(1, id).run();
    }
    for (const ChunkId id : column(database, "SELECT chunk_id FROM embeddings WHERE collection_id = ?1", row.info.id)) {
      if (!is_honest_vector(database, id, row.info.dim)) database.statement("DELETE FROM embeddings WHERE chunk_id = ?1").bind(1, id).run();
    }
    // Orphans of all collections: they belong to nobody.
    database.execute("DELETE FROM chunks WHERE document_id NOT IN (SELECT id FROM documents)");
    database.execute("DELETE FROM embeddings WHERE chunk_id NOT IN (SELECT id FROM chunks)");
    database.execute("DELETE FROM attributes WHERE document_id NOT IN (SELECT id FROM documents)");
    impl_->files_removed = true;  // sweeps bytes without a row
    for (const std::int64_t serial : column(database, "SELECT serial FROM file_links WHERE collection_id = ?1", row.info.id)) {
      try {
        load_links(database, " WHERE serial = ?1", serial, {});
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kDamagedData) throw;
        // Its document stays, like one that was never uploaded.
        database.statement("DELETE FROM file_links WHERE serial = ?1").bind(1, serial).run();
      }
    }
    // What was uploaded is still there: it is indexed again.
    for (const std::string& path : removed) {
      for (FileLink& link : load_links(database, " WHERE collection_id = ?1 AND path = ?2", row.info.id, path)) {
        link.status = LinkStatus::kInProgress;
        link.searchable = false;
        store_link(database, link);
      }
    }
    impl_->rebuild(row);
    return removed;
  });
}

}  // namespace gritstone

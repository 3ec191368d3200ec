// The transaction of a write job and the row operations its functions are made of.
#include <random>
#include <utility>

#include "index/sqlite_schema.h"
#include "index/sqlite_vectors.h"
#include "index/sqlite_write_job.h"

namespace gritstone {

WriteJob::Impl::Impl(const std::filesystem::path& store_path)
    : store(store_path), lock(store_path), database(store_path / "gritstone.db", Database::Mode::kWriter) {
  require_schema(database);
}

WriteJob::Impl::~Impl() {
  try {
    if (database.in_transaction()) database.execute("ROLLBACK");
    // Keeps the log short for the readers that stay; what it cannot move now, the next job does.
    database.execute("PRAGMA wal_checkpoint(PASSIVE)");
  } catch (const Error&) {
    // Closing rolls back, and the log is checkpointed later.
  }
}

void WriteJob::Impl::begin() {
  if (!database.in_transaction()) database.execute("BEGIN IMMEDIATE");
}

void WriteJob::Impl::undo(const std::map<std::string, CollectionRow, std::less<>>& before) noexcept {
  try {
    if (database.in_transaction()) {
      database.execute("ROLLBACK TO change");
      database.execute("RELEASE change");
      touched = before;
      return;
    }
  } catch (const Error&) {
    // The transaction cannot go on: give it up whole.
  }
  try {
    if (database.in_transaction()) database.execute("ROLLBACK");
  } catch (const Error&) {
  }
  touched.clear();
  removed.clear();
}

CollectionRow& WriteJob::Impl::row(std::string_view collection) {
  const auto known = touched.find(collection);
  if (known != touched.end()) return known->second;
  auto stored = find_collection_row(database, collection);
  if (!stored) {
    throw Error(ErrorCode::kNotFound, "no collection \"" + std::string(collection) + "\" (there are: " + collection_names(database) + ")");
  }
  return touched[std::string(collection)] = std::move(*stored);
}

void WriteJob::Impl::commit() {
  if (!database.in_transaction()) return;
  try {
    for (auto& [name, row] : touched) {
      ++row.info.generation;
      if (row.vectors_changed) {
        row.vectors_generation = row.info.generation;
        std::random_device random;
        row.vectors_token = static_cast<std::int64_t>((static_cast<std::uint64_t>(random()) << 32) | random());
      }
      update_collection_row(database, row);
    }
    if (text_removed) drop_orphan_spans();
    database.execute("COMMIT");
  } catch (...) {
    try {
      if (database.in_transaction()) database.execute("ROLLBACK");
    } catch (const Error&) {
    }
    touched.clear();
    removed.clear();
    text_removed = false;
    files_removed = false;
    throw;
  }
  touched.clear();
  if (std::exchange(text_removed, false)) sweep_span_files();
  if (std::exchange(files_removed, false)) sweep_uploads();
  for (const std::int64_t id : removed) remove_vector_files(store, id);
  removed.clear();
}

DocumentId WriteJob::Impl::insert_document(CollectionRow& row, const DocumentMeta& meta, std::size_t chunks) {
  DocumentRecord record;
  static_cast<DocumentMeta&>(record) = meta;
  record.chunks = chunks;
  // The id is part of the row hash, so it must be known before the row is written.
  Statement& next = database.statement("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'documents'), 0) + 1");
  next.step();
  record.id = next.integer(0);
  next.reset();
  Statement& s = database.statement(
      "INSERT INTO documents(id, collection_id, path, sha256, size, mtime_ns, type, title, chunk_count, row_hash) "
      "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
  s.bind(1, record.id).bind(2, row.info.id).bind(3, meta.path).bind_blob(4, meta.sha256).bind(5, static_cast<std::int64_t>(meta.size));
  s.bind(6, meta.mtime_ns).bind(7, meta.type).bind(8, meta.title).bind(9, static_cast<std::int64_t>(chunks));
  s.bind_blob(10, document_hash(row.info.id, record)).run();
  for (const auto& [key, value] : meta.attributes) {
    database.statement("INSERT INTO attributes(document_id, key, value) VALUES(?1, ?2, ?3)")
        .bind(1, record.id)
        .bind(2, key)
        .bind(3, value)
        .run();
  }
  ++row.info.documents;
  return record.id;
}

void WriteJob::Impl::delete_document(CollectionRow& row, DocumentId id) {
  text_removed = true;
  const std::string table = fts_table(row.info.id);
  std::vector<ChunkId> chunks;
  Statement& ids = database.statement("SELECT id FROM chunks WHERE document_id = ?1").bind(1, id);
  while (ids.step()) chunks.push_back(ids.integer(0));
  // Terms are taken out by reading the text again. Where this document is most of the collection, indexing the others anew reads less.
  bool anew = 2 * chunks.size() > row.info.chunks;
  std::string title;
  try {
    if (const auto record = load_document(database, id)) title = record->title;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kDamagedData) throw;
    anew = true;
  }
  for (const ChunkId chunk_id : chunks) {
    if (anew) break;
    try {
      const ChunkRow chunk = load_chunk(database, chunk_id).value();
      // FTS5 takes the terms of the old text out of its index; it does not keep the text itself.
      database.statement("INSERT INTO " + table + "(" + table + ", rowid, title, heading, body) VALUES('delete', ?1, ?2, ?3, ?4)")
          .bind(1, chunk_id)
          .bind(2, title)
          .bind(3, chunk.record.heading_path)
          .bind(4, chunk.record.text)
          .run();
      --row.info.chunks;
      row.info.text_bytes -= chunk.record.text.size();
      row.info.tokens -= chunk.record.tokens;
      Statement& vector = database.statement("SELECT 1 FROM embeddings WHERE chunk_id = ?1").bind(1, chunk_id);
      if (vector.step()) {
        vector.reset();
        --row.info.embedded_chunks;
        row.vectors_changed = true;
      }
    } catch (const Error& error) {
      // Terms of a text that changed behind our back cannot be taken out one by one.
      if (error.code() != ErrorCode::kDamagedData) throw;
      anew = true;
    }
  }
  // Links of prompts hold the document's title or path beside the passage, so they go even if another document has the same passage.
  database
      .statement(
          "DELETE FROM kv_spans WHERE collection_id = ?1 AND left_key IS NOT NULL AND content_hash IN "
          "(SELECT content_hash FROM chunks WHERE document_id = ?2)")
      .bind(1, row.info.id)
      .bind(2, id)
      .run();
  database.statement("DELETE FROM documents WHERE id = ?1").bind(1, id).run();  // chunks, vectors, attributes cascade
  --row.info.documents;
  if (anew) rebuild(row);
}

bool WriteJob::Impl::insert_chunk(CollectionRow& row, DocumentId document, std::size_t ordinal, const std::string& title,
                                  const Chunk& chunk, const std::map<std::string, std::vector<std::uint8_t>>& reusable) {
  ChunkRow stored;
  stored.collection = row.info.id;
  stored.content_hash = chunk_content_hash(chunk.heading_path, chunk.text);
  ChunkRecord& r = stored.record;
  r.document = document;
  r.ordinal = ordinal;
  r.heading_path = chunk.heading_path;
  r.span = chunk.span;
  r.context_bytes = chunk.context_bytes;
  r.tokens = chunk.tokens;
  r.text = chunk.text;
  Statement& next = database.statement("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'chunks'), 0) + 1");
  next.step();
  r.id = next.integer(0);
  next.reset();
  // Before the row exists, so that it cannot find itself.
  std::vector<std::uint8_t> vector;
  if (row.info.embedded_chunks > 0 || !reusable.empty()) {
    const auto own = reusable.find(to_hex(stored.content_hash));
    vector = own != reusable.end() ? own->second : embedded_equal(row, stored.content_hash);
  }
  Statement& s = database.statement(
      "INSERT INTO chunks(id, document_id, collection_id, ordinal, start_byte, end_byte, context_bytes, tokens, content_hash, row_hash, "
      "heading, "
      "text) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)");
  s.bind(1, r.id).bind(2, r.document).bind(3, stored.collection).bind(4, static_cast<std::int64_t>(ordinal));
  s.bind(5, static_cast<std::int64_t>(r.span.start)).bind(6, static_cast<std::int64_t>(r.span.end));
  s.bind(7, static_cast<std::int64_t>(r.context_bytes)).bind(8, static_cast<std::int64_t>(r.tokens));
  s.bind_blob(9, stored.content_hash).bind_blob(10, chunk_row_hash(stored)).bind(11, r.heading_path).bind(12, r.text).run();
  database.statement("INSERT INTO " + fts_table(row.info.id) + "(rowid, title, heading, body) VALUES(?1, ?2, ?3, ?4)")
      .bind(1, r.id)
      .bind(2, title)
      .bind(3, r.heading_path)
      .bind(4, r.text)
      .run();
  ++row.info.chunks;
  row.info.text_bytes += r.text.size();
  row.info.tokens += r.tokens;
  if (vector.empty()) return false;
  insert_embedding(row, r.id, vector);
  return true;
}

void WriteJob::Impl::insert_embedding(CollectionRow& row, ChunkId chunk, std::span<const std::uint8_t> vector) {
  Statement& old = database.statement("SELECT 1 FROM embeddings WHERE chunk_id = ?1").bind(1, chunk);
  const bool replaced = old.step();
  old.reset();
  Statement& s = database.statement("INSERT OR REPLACE INTO embeddings(chunk_id, collection_id, row_hash, vector) VALUES(?1, ?2, ?3, ?4)");
  s.bind(1, chunk).bind(2, row.info.id).bind_blob(3, embedding_row_hash(chunk, vector)).bind_blob(4, vector).run();
  if (!replaced) ++row.info.embedded_chunks;
  row.vectors_changed = true;
}

std::map<std::string, std::vector<std::uint8_t>> WriteJob::Impl::vectors_of(DocumentId id) {
  std::map<std::string, std::vector<std::uint8_t>> vectors;
  Statement& s = database.statement(
      "SELECT c.id, c.content_hash, e.row_hash, e.vector FROM chunks c JOIN embeddings e ON e.chunk_id = c.id WHERE c.document_id = ?1");
  s.bind(1, id);
  while (s.step()) {
    const auto vector = s.blob(3);
    if (equal_hash(s.blob(2), embedding_row_hash(s.integer(0), vector))) vectors[to_hex(s.blob(1))] = {vector.begin(), vector.end()};
  }
  return vectors;
}

std::vector<std::uint8_t> WriteJob::Impl::embedded_equal(const CollectionRow& row, const Xxh128Digest& content) {
  Statement& s = database.statement(
      "SELECT e.chunk_id, e.row_hash, e.vector FROM chunks c INDEXED BY chunks_by_content JOIN embeddings e ON e.chunk_id = c.id WHERE "
      "c.collection_id = ?1 AND c.content_hash = ?2 ORDER BY c.id LIMIT 1");
  s.bind(1, row.info.id).bind_blob(2, content);
  std::vector<std::uint8_t> vector;
  if (s.step()) {
    const auto bytes = s.blob(2);
    if (equal_hash(s.blob(1), embedding_row_hash(s.integer(0), bytes))) vector.assign(bytes.begin(), bytes.end());
    s.reset();
  }
  return vector;
}

}  // namespace gritstone

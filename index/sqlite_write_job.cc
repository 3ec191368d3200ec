#include "index/sqlite_write_job.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/json.h"
#include "base/utf8.h"
#include "index/sqlite_files.h"
#include "index/sqlite_schema.h"
#include "index/sqlite_vectors.h"

namespace gritstone {
namespace {

void require_utf8(std::string_view text, const char* what, std::string_view path) {
  if (!is_valid_utf8(text))
    throw Error(ErrorCode::kInvalidArgument, std::string(what) + " of " + sanitize_utf8(path) + " is not valid UTF-8");
}

void require_json(std::string_view manifest) {
  if (!parse_json(manifest, "manifest").IsObject()) throw Error(ErrorCode::kInvalidArgument, "the manifest is not a JSON object");
}

void check_document(const DocumentMeta& meta, std::span<const Chunk> chunks) {
  if (meta.path.empty()) throw Error(ErrorCode::kInvalidArgument, "a document needs a path");
  require_utf8(meta.path, "path", meta.path);
  require_utf8(meta.title, "title", meta.path);
  require_utf8(meta.type, "type", meta.path);
  for (const auto& [key, value] : meta.attributes) {
    require_utf8(key, "attribute", meta.path);
    require_utf8(value, "attribute", meta.path);
  }
  for (const Chunk& chunk : chunks) {
    require_utf8(chunk.text, "text", meta.path);
    require_utf8(chunk.heading_path, "heading", meta.path);
    if (chunk.span.start > chunk.span.end || chunk.context_bytes > chunk.text.size()) {
      throw Error(ErrorCode::kInvalidArgument, "chunk of " + meta.path + " has the span [" + std::to_string(chunk.span.start) + ", " +
                                                   std::to_string(chunk.span.end) + ") and " + std::to_string(chunk.context_bytes) +
                                                   " context bytes of " + std::to_string(chunk.text.size()));
    }
  }
}

}  // namespace

WriteJob::WriteJob(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WriteJob::WriteJob(WriteJob&&) noexcept = default;
WriteJob::~WriteJob() = default;

CollectionInfo WriteJob::create_collection(const CollectionOptions& options) {
  if (!is_valid_collection_name(options.name)) {
    throw Error(ErrorCode::kInvalidArgument, "collection name \"" + sanitize_utf8(options.name) +
                                                 "\" must be 1 to 64 of a-z, 0-9, _ and -, and start with a letter or digit");
  }
  if (!is_known_language(options.language)) {
    throw Error(ErrorCode::kInvalidArgument, "no stemmer for language \"" + sanitize_utf8(options.language) + "\"");
  }
  require_json(options.manifest);
  return impl_->apply([&] {
    if (find_collection_row(impl_->database, options.name)) {
      throw Error(ErrorCode::kInvalidArgument, "collection \"" + options.name + "\" exists already");
    }
    CollectionRow row;
    row.info.name = options.name;
    row.info.language = options.language;
    row.info.manifest = options.manifest;
    insert_collection_row(impl_->database, row);
    create_fts(impl_->database, row.info.id, options.language);
    Statement& card =
        impl_->database.statement("INSERT INTO collection_cards(collection_id, title, metadata, created) VALUES(?1, ?2, '{}', ?3)");
    card.bind(1, row.info.id).bind(2, options.name).bind(3, unix_seconds()).run();
    impl_->touched[options.name] = row;
    return row.info;
  });
}

bool WriteJob::remove_collection(std::string_view collection) {
  return impl_->apply([&] {
    impl_->touched.erase(std::string(collection));
    const auto row = find_collection_row(impl_->database, collection);
    if (!row) return false;
    const std::int64_t id = row->info.id;
    for (const char* sql : {"DELETE FROM embeddings WHERE collection_id = ?1", "DELETE FROM chunks WHERE collection_id = ?1",
                            "DELETE FROM documents WHERE collection_id = ?1", "DELETE FROM certificates WHERE collection_id = ?1",
                            "DELETE FROM file_links WHERE collection_id = ?1", "DELETE FROM collection_cards WHERE collection_id = ?1",
                            "DELETE FROM collections WHERE id = ?1"}) {
      impl_->database.statement(sql).bind(1, id).run();
    }
    impl_->database.statement("DELETE FROM meta WHERE key = 'kv_off.' || ?1").bind(1, id).run();
    drop_fts(impl_->database, id);
    impl_->removed.push_back(id);
    impl_->text_removed = true;
    return true;
  });
}

void WriteJob::set_manifest(std::string_view collection, std::string_view manifest) {
  require_json(manifest);
  impl_->apply([&] {
    impl_->row(collection).info.manifest = manifest;
    return 0;
  });
}

PutResult WriteJob::put_document(std::string_view collection, const DocumentMeta& meta, std::span<const Chunk> chunks) {
  check_document(meta, chunks);
  return impl_->apply([&] {
    CollectionRow& row = impl_->row(collection);
    PutResult result;
    std::map<std::string, std::vector<std::uint8_t>> reusable;
    if (const auto old = find_document_id(impl_->database, row.info.id, meta.path)) {
      result.replaced = true;
      reusable = impl_->vectors_of(*old);
      impl_->delete_document(row, *old);
    }
    result.id = impl_->insert_document(row, meta, chunks.size());
    result.chunks = chunks.size();
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      if (impl_->insert_chunk(row, result.id, i, meta.title, chunks[i], reusable)) ++result.reused_embeddings;
    }
    return result;
  });
}

bool WriteJob::remove_document(std::string_view collection, std::string_view path) {
  return impl_->apply([&] {
    CollectionRow& row = impl_->row(collection);
    const auto id = find_document_id(impl_->database, row.info.id, path);
    if (id) impl_->delete_document(row, *id);
    return id.has_value();
  });
}

void WriteJob::update_document_meta(std::string_view collection, const DocumentMeta& meta) {
  check_document(meta, {});
  impl_->apply([&] {
    CollectionRow& row = impl_->row(collection);
    const auto id = find_document_id(impl_->database, row.info.id, meta.path);
    if (!id) throw Error(ErrorCode::kNotFound, "no document " + meta.path + " in collection " + row.info.name);
    DocumentRecord record = load_document(impl_->database, *id).value();
    if (record.title != meta.title) {
      throw Error(ErrorCode::kInvalidArgument, "the title of " + meta.path + " changed: put the document again");
    }
    static_cast<DocumentMeta&>(record) = meta;
    Database& database = impl_->database;
    database.statement("DELETE FROM attributes WHERE document_id = ?1").bind(1, *id).run();
    for (const auto& [key, value] : meta.attributes) {
      database.statement("INSERT INTO attributes(document_id, key, value) VALUES(?1, ?2, ?3)")
          .bind(1, *id)
          .bind(2, key)
          .bind(3, value)
          .run();
    }
    Statement& s = database.statement("UPDATE documents SET sha256 = ?2, size = ?3, mtime_ns = ?4, type = ?5, row_hash = ?6 WHERE id = ?1");
    s.bind(1, *id).bind_blob(2, meta.sha256).bind(3, static_cast<std::int64_t>(meta.size)).bind(4, meta.mtime_ns).bind(5, meta.type);
    s.bind_blob(6, document_hash(row.info.id, record)).run();
    return 0;
  });
}

std::vector<PendingChunk> WriteJob::pending_embeddings(std::string_view collection, std::size_t limit, ChunkId after) {
  const auto touched = impl_->touched.find(collection);
  const auto row = touched != impl_->touched.end() ? std::optional(touched->second) : find_collection_row(impl_->database, collection);
  if (!row) throw Error(ErrorCode::kNotFound, "no collection \"" + std::string(collection) + "\"");
  return pending_chunks(impl_->database, row->info.id, limit, after, false);
}

void WriteJob::put_embeddings(std::string_view collection, std::span<const ChunkId> ids, MatrixView<const float> rows) {
  if (rows.rows != ids.size() || (rows.rows > 0 && (rows.cols == 0 || rows.cols > 65536))) {
    throw Error(ErrorCode::kInvalidArgument, "embeddings are [" + std::to_string(rows.rows) + ", " + std::to_string(rows.cols) + "] for " +
                                                 std::to_string(ids.size()) + " chunks");
  }
  if (ids.empty()) return;
  impl_->apply([&] {
    CollectionRow& row = impl_->row(collection);
    if (row.info.dim == 0) row.info.dim = rows.cols;
    if (row.info.dim != rows.cols) {
      throw Error(ErrorCode::kInvalidArgument, "embeddings have " + std::to_string(rows.cols) + " dimensions, collection " + row.info.name +
                                                   " has " + std::to_string(row.info.dim));
    }
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto values = rows.row(i);
      // 65504 is f16's largest; above it the stored value would be infinity.
      if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x) && std::abs(x) <= 65504.0f; })) {
        throw Error(ErrorCode::kInvalidArgument, "embedding " + std::to_string(i) + " has a value that is not finite in f16");
      }
      Statement& s = impl_->database.statement("SELECT collection_id FROM chunks WHERE id = ?1").bind(1, ids[i]);
      const bool mine = s.step() && s.integer(0) == row.info.id;
      s.reset();
      if (!mine) throw Error(ErrorCode::kNotFound, "chunk " + std::to_string(ids[i]) + " is not in collection " + row.info.name);
      impl_->insert_embedding(row, ids[i], pack_half(values));
    }
    return 0;
  });
}

void WriteJob::drop_embeddings(std::string_view collection) {
  impl_->apply([&] {
    CollectionRow& row = impl_->row(collection);
    impl_->database.statement("DELETE FROM embeddings WHERE collection_id = ?1").bind(1, row.info.id).run();
    row.info.dim = 0;
    row.info.embedded_chunks = 0;
    row.vectors_changed = true;
    return 0;
  });
}

void WriteJob::commit() { impl_->commit(); }

void WriteJob::publish_vectors(std::string_view collection) {
  const auto row = find_collection_row(impl_->database, collection);
  if (!row) throw Error(ErrorCode::kNotFound, "no collection \"" + std::string(collection) + "\"");
  if (impl_->touched.contains(collection)) throw Error(ErrorCode::kInvalidArgument, "publish_vectors() before commit()");
  if (row->info.embedded_chunks == 0) return remove_vector_files(impl_->store, row->info.id);
  std::string why;
  if (vectors_from_file(impl_->store, impl_->database, *row, why) != nullptr) return;
  const auto index = vectors_from_rows(impl_->database, *row);
  // A file must stand for all rows; with damaged ones readers build their own and say so.
  if (index->damaged_rows() == 0) write_vector_file(impl_->store, impl_->database, *row, *index);
}

void WriteJob::compact() {
  impl_->commit();
  for (const CollectionRow& row : all_collection_rows(impl_->database)) {
    const std::string table = fts_table(row.info.id);
    impl_->database.execute("INSERT INTO " + table + "(" + table + ") VALUES('optimize')");
  }
  impl_->database.forget_statements();
  impl_->database.execute("VACUUM");
  impl_->database.execute("PRAGMA wal_checkpoint(TRUNCATE)");
}

}  // namespace gritstone

#include "index/sqlite_rows.h"

#include <algorithm>

#include "index/half_float.h"
#include "index/row_hash.h"

namespace gritstone {
namespace {

constexpr const char* kCollectionColumns =
    "id, name, language, manifest, generation, dim, vectors_generation, vectors_token, documents, chunks, embedded, text_bytes, tokens, "
    "row_hash";

std::int64_t as_signed(std::uint64_t value) { return static_cast<std::int64_t>(value); }

Xxh128Digest collection_hash(const CollectionRow& row) {
  const CollectionInfo& info = row.info;
  return RowHash()
      .add(info.id)
      .add(info.name)
      .add(info.language)
      .add(info.manifest)
      .add(as_signed(info.generation))
      .add(as_signed(info.dim))
      .add(as_signed(row.vectors_generation))
      .add(row.vectors_token)
      .add(as_signed(info.documents))
      .add(as_signed(info.chunks))
      .add(as_signed(info.embedded_chunks))
      .add(as_signed(info.text_bytes))
      .add(as_signed(info.tokens))
      .digest();
}

CollectionRow read_collection(Statement& s) {
  CollectionRow row;
  CollectionInfo& info = row.info;
  info.id = s.integer(0);
  info.name = s.text(1);
  info.language = s.text(2);
  info.manifest = s.text(3);
  info.generation = static_cast<std::uint64_t>(s.integer(4));
  info.dim = static_cast<std::size_t>(s.integer(5));
  row.vectors_generation = static_cast<std::uint64_t>(s.integer(6));
  row.vectors_token = s.integer(7);
  info.documents = static_cast<std::size_t>(s.integer(8));
  info.chunks = static_cast<std::size_t>(s.integer(9));
  info.embedded_chunks = static_cast<std::size_t>(s.integer(10));
  info.text_bytes = static_cast<std::uint64_t>(s.integer(11));
  info.tokens = static_cast<std::uint64_t>(s.integer(12));
  if (!equal_hash(s.blob(13), collection_hash(row))) {
    throw Error(ErrorCode::kDamagedData, "the row of collection " + std::to_string(info.id) + " does not match its hash");
  }
  return row;
}

void bind_collection(Statement& s, const CollectionRow& row) {
  const CollectionInfo& info = row.info;
  s.bind(1, info.id).bind(2, info.name).bind(3, info.language).bind(4, info.manifest).bind(5, as_signed(info.generation));
  s.bind(6, as_signed(info.dim)).bind(7, as_signed(row.vectors_generation)).bind(8, row.vectors_token);
  s.bind(9, as_signed(info.documents)).bind(10, as_signed(info.chunks)).bind(11, as_signed(info.embedded_chunks));
  s.bind(12, as_signed(info.text_bytes)).bind(13, as_signed(info.tokens)).bind_blob(14, collection_hash(row));
}

}  // namespace

bool equal_hash(std::span<const std::uint8_t> stored, const Xxh128Digest& computed) noexcept {
  return stored.size() == computed.size() && std::equal(stored.begin(), stored.end(), computed.begin());
}

std::optional<CollectionRow> find_collection_row(Database& database, std::string_view name) {
  Statement& s = database.statement(std::string("SELECT ") + kCollectionColumns + " FROM collections WHERE name = ?1").bind(1, name);
  if (!s.step()) return std::nullopt;
  CollectionRow row = read_collection(s);
  s.reset();
  return row;
}

std::vector<CollectionRow> all_collection_rows(Database& database) {
  std::vector<CollectionRow> rows;
  Statement& s = database.statement(std::string("SELECT ") + kCollectionColumns + " FROM collections ORDER BY name");
  while (s.step()) rows.push_back(read_collection(s));
  return rows;
}

void insert_collection_row(Database& database, CollectionRow& row) {
  Statement& next = database.statement("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'collections'), 0) + 1");
  next.step();
  row.info.id = next.integer(0);
  next.reset();
  Statement& s = database.statement(std::string("INSERT INTO collections(") + kCollectionColumns +
                                    ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)");
  bind_collection(s, row);
  s.run();
}

void update_collection_row(Database& database, const CollectionRow& row) {
  Statement& s = database.statement(std::string("UPDATE collections SET (") + kCollectionColumns +
                                    ") = (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) WHERE id = ?1");
  bind_collection(s, row);
  s.run();
}

std::string collection_names(Database& database) {
  std::string names;
  Statement& s = database.statement("SELECT name FROM collections ORDER BY name");
  while (s.step()) names += (names.empty() ? "" : ", ") + s.text(0);
  return names.empty() ? "none yet" : names;
}

Xxh128Digest document_hash(std::int64_t collection, const DocumentRecord& record) {
  RowHash hash;
  hash.add(record.id).add(collection).add(record.path).add(std::span<const std::uint8_t>(record.sha256)).add(as_signed(record.size));
  hash.add(record.mtime_ns).add(record.type).add(record.title).add(as_signed(record.chunks));
  for (const auto& [key, value] : record.attributes) hash.add(key).add(value);
  return hash.digest();
}

std::optional<DocumentRecord> load_document(Database& database, DocumentId id, bool mark_damaged) {
  DocumentRecord record;
  Statement& attributes = database.statement("SELECT key, value FROM attributes WHERE document_id = ?1").bind(1, id);
  while (attributes.step()) record.attributes.emplace(attributes.text(0), attributes.text(1));
  Statement& s =
      database
          .statement("SELECT collection_id, path, sha256, size, mtime_ns, type, title, chunk_count, row_hash FROM documents WHERE id = ?1")
          .bind(1, id);
  if (!s.step()) return std::nullopt;
  record.id = id;
  const std::int64_t collection = s.integer(0);
  record.path = s.text(1);
  const auto sha = s.blob(2);
  if (sha.size() == record.sha256.size()) std::copy(sha.begin(), sha.end(), record.sha256.begin());
  record.size = static_cast<std::uint64_t>(s.integer(3));
  record.mtime_ns = s.integer(4);
  record.type = s.text(5);
  record.title = s.text(6);
  record.chunks = static_cast<std::size_t>(s.integer(7));
  const bool honest = equal_hash(s.blob(8), document_hash(collection, record));
  s.reset();
  if (honest) return record;
  if (!mark_damaged) {
    throw Error(ErrorCode::kDamagedData, "the row of document " + std::to_string(id) + " (" + record.path + ") does not match its hash");
  }
  record.damaged = true;
  record.sha256 = {};
  return record;
}

std::optional<DocumentId> find_document_id(Database& database, std::int64_t collection, std::string_view path) {
  Statement& s = database.statement("SELECT id FROM documents WHERE collection_id = ?1 AND path = ?2").bind(1, collection).bind(2, path);
  if (!s.step()) return std::nullopt;
  const DocumentId id = s.integer(0);
  s.reset();
  return id;
}

Xxh128Digest chunk_content_hash(std::string_view heading_path, std::string_view text) {
  return RowHash().add(heading_path).add(text).digest();
}

Xxh128Digest chunk_row_hash(const ChunkRow& row) {
  const ChunkRecord& r = row.record;
  return RowHash()
      .add(r.id)
      .add(r.document)
      .add(row.collection)
      .add(as_signed(r.ordinal))
      .add(as_signed(r.span.start))
      .add(as_signed(r.span.end))
      .add(as_signed(r.context_bytes))
      .add(as_signed(r.tokens))
      .add(std::span<const std::uint8_t>(row.content_hash))
      .add(r.heading_path)
      .add(r.text)
      .digest();
}

std::optional<ChunkRow> load_chunk(Database& database, ChunkId id) {
  Statement& s = database.statement(
      "SELECT document_id, collection_id, ordinal, start_byte, end_byte, context_bytes, tokens, content_hash, row_hash, heading, text "
      "FROM chunks WHERE id = ?1");
  s.bind(1, id);
  if (!s.step()) return std::nullopt;
  ChunkRow row;
  ChunkRecord& r = row.record;
  r.id = id;
  r.document = s.integer(0);
  row.collection = s.integer(1);
  r.ordinal = static_cast<std::size_t>(s.integer(2));
  r.span = {static_cast<std::size_t>(s.integer(3)), static_cast<std::size_t>(s.integer(4))};
  r.context_bytes = static_cast<std::size_t>(s.integer(5));
  r.tokens = static_cast<std::size_t>(s.integer(6));
  const auto content = s.blob(7);
  if (content.size() == row.content_hash.size()) std::copy(content.begin(), content.end(), row.content_hash.begin());
  r.heading_path = s.text(9);
  r.text = s.text(10);
  const bool honest = equal_hash(s.blob(8), chunk_row_hash(row));
  s.reset();
  if (!honest) throw Error(ErrorCode::kDamagedData, "chunk " + std::to_string(id) + " does not match its hash");
  return row;
}

std::vector<PendingChunk> pending_chunks(Database& database, std::int64_t collection, std::size_t limit, ChunkId after, bool all) {
  std::vector<ChunkId> ids;
  Statement& s = database.statement(
      "SELECT id FROM chunks INDEXED BY chunks_by_collection WHERE collection_id = ?1 AND id > ?2 AND (?4 OR NOT EXISTS "
      "(SELECT 1 FROM embeddings WHERE chunk_id = chunks.id)) ORDER BY id LIMIT ?3");
  s.bind(1, collection).bind(2, after).bind(3, static_cast<std::int64_t>(limit)).bind(4, all ? 1 : 0);
  while (s.step()) ids.push_back(s.integer(0));
  std::vector<PendingChunk> pending;
  for (const ChunkId id : ids) {
    ChunkRow chunk = load_chunk(database, id).value();
    std::string title = load_document(database, chunk.record.document).value().title;
    pending.push_back({id, std::move(title), std::move(chunk.record.heading_path), std::move(chunk.record.text), chunk.record.tokens});
  }
  return pending;
}

std::optional<ChunkId> find_chunk_id(Database& database, DocumentId document, std::size_t ordinal) {
  Statement& s =
      database.statement("SELECT id FROM chunks WHERE document_id = ?1 AND ordinal = ?2").bind(1, document).bind(2, as_signed(ordinal));
  if (!s.step()) return std::nullopt;
  const ChunkId id = s.integer(0);
  s.reset();
  return id;
}

Xxh128Digest embedding_row_hash(ChunkId chunk, std::span<const std::uint8_t> vector) { return RowHash().add(chunk).add(vector).digest(); }

std::vector<std::uint8_t> pack_half(std::span<const float> values) {
  std::vector<std::uint8_t> bytes(values.size() * 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t half = float_to_half(values[i]);
    bytes[2 * i] = static_cast<std::uint8_t>(half);
    bytes[2 * i + 1] = static_cast<std::uint8_t>(half >> 8);
  }
  return bytes;
}

void unpack_half(std::span<const std::uint8_t> bytes, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = half_to_float(static_cast<std::uint16_t>(bytes[2 * i] | (bytes[2 * i + 1] << 8)));
  }
}

}  // namespace gritstone

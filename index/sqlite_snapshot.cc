#include <algorithm>
#include <utility>

#include "index/sqlite_filter.h"
#include "index/sqlite_fts_tokenizer.h"
#include "index/sqlite_schema.h"
#include "index/sqlite_store.h"

namespace gritstone {

Snapshot::Impl::Impl(std::shared_ptr<Store::Impl> owner, std::string_view collection)
    : store(std::move(owner)), database(store->take_reader()) {
  // The first read after BEGIN fixes what this transaction sees.
  database->execute("BEGIN");
  try {
    auto found = find_collection_row(*database, collection);
    if (!found) {
      throw Error(ErrorCode::kNotFound,
                  "no collection \"" + std::string(collection) + "\" (there are: " + collection_names(*database) + ")");
    }
    row = std::move(*found);
  } catch (...) {
    if (database->in_transaction()) database->execute("ROLLBACK");
    throw;
  }
}

Snapshot::Impl::~Impl() {
  try {
    if (database->in_transaction()) database->execute("ROLLBACK");
    store->give_back(std::move(database));
  } catch (const Error&) {
    // The connection closes with us.
  }
}

std::vector<ScoredChunk> Snapshot::Impl::ranked(std::string_view query, std::size_t k, const std::string& where,
                                                const std::function<void(Statement&)>& bind_where, bool once) {
  const auto terms = database->analyzers().get(row.info.language).query_terms(query);
  if (terms.empty() || k == 0) return {};
  const std::string table = fts_table(row.info.id);
  const std::string sql = "SELECT rowid, " + bm25_call(row.info.id) + " AS score FROM " + table + " WHERE " + table + " MATCH ?1" + where +
                          " ORDER BY score DESC, rowid LIMIT ?2";
  std::optional<Statement> own;
  if (once) own.emplace(database->handle(), sql, &database->path());
  Statement& s = once ? *own : database->statement(sql);
  s.bind(1, match_expression(terms)).bind(2, static_cast<std::int64_t>(std::min<std::size_t>(k, INT64_MAX)));
  bind_where(s);
  std::vector<ScoredChunk> hits;
  while (s.step()) hits.push_back({s.integer(0), static_cast<float>(s.real(1))});
  return hits;
}

const DocumentRecord& Snapshot::Impl::document(DocumentId id) {
  const auto known = documents_.find(id);
  if (known != documents_.end()) return known->second;
  auto record = load_document(*database, id);
  if (!record) throw Error(ErrorCode::kNotFound, "no document " + std::to_string(id) + " in collection " + row.info.name);
  return documents_.emplace(id, std::move(*record)).first->second;
}

ChunkRecord Snapshot::Impl::complete(ChunkRow chunk) {
  const DocumentRecord& owner = document(chunk.record.document);
  chunk.record.path = owner.path;
  chunk.record.title = owner.title;
  return std::move(chunk.record);
}

Snapshot::Snapshot(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Snapshot::~Snapshot() = default;

const CollectionInfo& Snapshot::info() const noexcept { return impl_->row.info; }

std::vector<ScoredChunk> Snapshot::bm25(std::string_view query, std::size_t k, const Filter& filter) const {
  const std::lock_guard guard(impl_->mutex);
  if (filter.empty()) return impl_->ranked(query, k, "", [](Statement&) {});
  // The unary plus keeps SQLite from asking FTS5 row by row, which would count document frequencies anew for each.
  return impl_->ranked(
      query, k, " AND +rowid IN (" + filter_chunks_sql(filter, 3) + ")",
      [&](Statement& s) { bind_filter(s, filter, impl_->row.info.id, 3); }, true);
}

std::vector<float> Snapshot::bm25_scores(std::string_view query, std::span<const ChunkId> ids) const {
  const std::lock_guard guard(impl_->mutex);
  std::string list = "[";
  for (const ChunkId id : ids) list += (list.size() > 1 ? "," : "") + std::to_string(id);
  list += "]";
  const auto hits =
      impl_->ranked(query, ids.size(), " AND +rowid IN (SELECT value FROM json_each(?3))", [&](Statement& s) { s.bind(3, list); });
  std::unordered_map<ChunkId, float> by_id;
  for (const ScoredChunk& hit : hits) by_id[hit.id] = hit.score;
  std::vector<float> scores;
  for (const ChunkId id : ids) {
    const auto found = by_id.find(id);
    scores.push_back(found == by_id.end() ? 0.0f : found->second);
  }
  return scores;
}

std::vector<ChunkId> Snapshot::matching_chunks(const Filter& filter) const {
  const std::lock_guard guard(impl_->mutex);
  std::vector<ChunkId> ids;
  Statement s(impl_->database->handle(), filter_chunks_sql(filter, 1) + " ORDER BY c.id", &impl_->database->path());
  bind_filter(s, filter, impl_->row.info.id, 1);
  while (s.step()) ids.push_back(s.integer(0));
  return ids;
}

ChunkRecord Snapshot::chunk(ChunkId id) const {
  const std::lock_guard guard(impl_->mutex);
  auto row = load_chunk(*impl_->database, id);
  if (!row || row->collection != impl_->row.info.id) {
    throw Error(ErrorCode::kNotFound, "no chunk " + std::to_string(id) + " in collection " + impl_->row.info.name);
  }
  return impl_->complete(std::move(*row));
}

std::optional<ChunkRecord> Snapshot::chunk_at(DocumentId document, std::size_t ordinal) const {
  const std::lock_guard guard(impl_->mutex);
  const auto id = find_chunk_id(*impl_->database, document, ordinal);
  if (!id) return std::nullopt;
  auto row = load_chunk(*impl_->database, *id);
  if (!row || row->collection != impl_->row.info.id) return std::nullopt;
  return impl_->complete(std::move(*row));
}

DocumentRecord Snapshot::document(DocumentId id) const {
  const std::lock_guard guard(impl_->mutex);
  Statement& s =
      impl_->database->statement("SELECT 1 FROM documents WHERE id = ?1 AND collection_id = ?2").bind(1, id).bind(2, impl_->row.info.id);
  const bool mine = s.step();
  s.reset();
  if (!mine) throw Error(ErrorCode::kNotFound, "no document " + std::to_string(id) + " in collection " + impl_->row.info.name);
  return impl_->document(id);
}

std::optional<DocumentRecord> Snapshot::find_document(std::string_view path) const {
  const std::lock_guard guard(impl_->mutex);
  const auto id = find_document_id(*impl_->database, impl_->row.info.id, path);
  if (!id) return std::nullopt;
  return impl_->document(*id);
}

std::vector<DocumentRecord> Snapshot::documents() const {
  const std::lock_guard guard(impl_->mutex);
  std::vector<DocumentId> ids;
  Statement& s = impl_->database->statement("SELECT id FROM documents WHERE collection_id = ?1 ORDER BY path").bind(1, impl_->row.info.id);
  while (s.step()) ids.push_back(s.integer(0));
  std::vector<DocumentRecord> records;
  records.reserve(ids.size());
  for (const DocumentId id : ids) {
    auto record = load_document(*impl_->database, id, true);
    if (record) records.push_back(std::move(*record));
  }
  return records;
}

std::vector<Snapshot::DocumentName> Snapshot::document_names() const {
  const std::lock_guard guard(impl_->mutex);
  std::vector<DocumentName> names;
  Statement& s = impl_->database->statement("SELECT id, path, mtime_ns FROM documents WHERE collection_id = ?1 ORDER BY path");
  s.bind(1, impl_->row.info.id);
  while (s.step()) names.push_back({s.integer(0), s.text(1), s.integer(2)});
  return names;
}

std::size_t Snapshot::embedded_chunks(DocumentId document) const {
  const std::lock_guard guard(impl_->mutex);
  Statement& s = impl_->database->statement(
      "SELECT count(*) FROM chunks c JOIN embeddings e ON e.chunk_id = c.id WHERE c.document_id = ?1 AND c.collection_id = ?2");
  s.bind(1, document).bind(2, impl_->row.info.id).step();
  const auto count = static_cast<std::size_t>(s.integer(0));
  s.reset();
  return count;
}

std::vector<PendingChunk> Snapshot::pending_embeddings(std::size_t limit, ChunkId after, bool all) const {
  const std::lock_guard guard(impl_->mutex);
  return pending_chunks(*impl_->database, impl_->row.info.id, limit, after, all);
}

std::optional<std::vector<float>> Snapshot::embedding(ChunkId id) const {
  const std::lock_guard guard(impl_->mutex);
  Statement& s = impl_->database->statement("SELECT row_hash, vector FROM embeddings WHERE chunk_id = ?1 AND collection_id = ?2");
  s.bind(1, id).bind(2, impl_->row.info.id);
  if (!s.step()) return std::nullopt;
  const auto vector = s.blob(1);
  const bool honest = vector.size() == impl_->row.info.dim * 2 && equal_hash(s.blob(0), embedding_row_hash(id, vector));
  std::vector<float> values(impl_->row.info.dim);
  if (honest) unpack_half(vector, values);
  s.reset();
  if (!honest) throw Error(ErrorCode::kDamagedData, "the embedding of chunk " + std::to_string(id) + " does not match its hash");
  return values;
}

std::shared_ptr<const VectorIndex> Snapshot::vectors() const {
  const std::lock_guard guard(impl_->mutex);
  return impl_->store->vectors(*impl_->database, impl_->row);
}

}  // namespace gritstone

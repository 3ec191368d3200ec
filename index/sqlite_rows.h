// Rows of the store as structs: reading with verification, hashing, and what is written back.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "index/sqlite_database.h"
#include "index/store.h"

namespace gritstone {

struct CollectionRow {
  CollectionInfo info;
  std::uint64_t vectors_generation = 0;  // the generation whose commit last changed the set of vectors; 0 = never
  std::int64_t vectors_token = 0;        // random, new with every such commit: two histories of one store never share it
  bool vectors_changed = false;          // not stored: by the transaction that is open
};

// All three throw Error(kDamagedData) if the row hash differs.
std::optional<CollectionRow> find_collection_row(Database& database, std::string_view name);
std::vector<CollectionRow> all_collection_rows(Database& database);
void update_collection_row(Database& database, const CollectionRow& row);
void insert_collection_row(Database& database, CollectionRow& row);  // sets info.id

// "arts, docs": for errors about a collection that is not there.
std::string collection_names(Database& database);

// Throws Error(kDamagedData) naming the path if the row hash differs; absent = no such row. mark_damaged: sets `damaged` instead of
// throwing.
std::optional<DocumentRecord> load_document(Database& database, DocumentId id, bool mark_damaged = false);
std::optional<DocumentId> find_document_id(Database& database, std::int64_t collection, std::string_view path);
Xxh128Digest document_hash(std::int64_t collection, const DocumentRecord& record);

struct ChunkRow {
  ChunkRecord record;  // path and title are the document's, left empty here
  std::int64_t collection = 0;
  Xxh128Digest content_hash{};
};
// Identity of what is embedded: equal hash = equal heading path and text.
Xxh128Digest chunk_content_hash(std::string_view heading_path, std::string_view text);
Xxh128Digest chunk_row_hash(const ChunkRow& row);
// Throws Error(kDamagedData) if the row hash differs; absent = no such row.
std::optional<ChunkRow> load_chunk(Database& database, ChunkId id);
// Chunks without embedding (all: with one too), ascending ids > after, at most `limit`.
std::vector<PendingChunk> pending_chunks(Database& database, std::int64_t collection, std::size_t limit, ChunkId after, bool all);
std::optional<ChunkId> find_chunk_id(Database& database, DocumentId document, std::size_t ordinal);

Xxh128Digest embedding_row_hash(ChunkId chunk, std::span<const std::uint8_t> vector);
// f32 to little-endian f16 and back.
std::vector<std::uint8_t> pack_half(std::span<const float> values);
void unpack_half(std::span<const std::uint8_t> bytes, std::span<float> out);

bool equal_hash(std::span<const std::uint8_t> stored, const Xxh128Digest& computed) noexcept;

}  // namespace gritstone

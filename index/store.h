// The store: collections of documents, their chunks, embeddings and full-text index in one directory.
// SQLite (STORE/gritstone.db) is the only truth; FAISS files are derived from it. Format: docs/STORE_FORMAT.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/matrix_view.h"
#include "index/chunker.h"
#include "index/filter.h"
#include "index/span_store.h"
#include "index/uploaded_file.h"
#include "index/vector_index.h"

namespace gritstone {

using DocumentId = std::int64_t;

struct CollectionOptions {
  std::string name;                  // ^[a-z0-9][a-z0-9_-]{0,63}$
  std::string language = "english";  // Snowball stemmer of the full-text index; "none" = no stemming
  std::string manifest = "{}";       // JSON, opaque here: what made the vectors (model hash, pooling, ...)
};

struct CollectionInfo {
  std::int64_t id = 0;
  std::string name;
  std::string language;
  std::string manifest;
  std::uint64_t generation = 0;  // grows by one with every commit that touched the collection
  std::size_t dim = 0;           // of the embeddings; 0 before the first
  std::size_t documents = 0;
  std::size_t chunks = 0;
  std::size_t embedded_chunks = 0;
  std::uint64_t text_bytes = 0;  // of all chunks
  std::uint64_t tokens = 0;
};

// What the caller knows about a file beside its chunks.
struct DocumentMeta {
  std::string path;       // unique in the collection; valid UTF-8
  Sha256Digest sha256{};  // of the file's bytes
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::string type;  // document_type_name()
  std::string title;
  std::map<std::string, std::string> attributes;
  bool operator==(const DocumentMeta&) const = default;
};

struct DocumentRecord : DocumentMeta {
  DocumentId id = 0;
  std::size_t chunks = 0;
  bool damaged = false;  // documents() only: the row does not match its hash; sha256 is zero then, so that indexing reads the file again
};

struct ChunkRecord {
  ChunkId id = 0;
  DocumentId document = 0;
  std::size_t ordinal = 0;  // 0, 1, ... within the document
  std::string path;
  std::string title;
  std::string heading_path;
  ByteSpan span;
  std::size_t context_bytes = 0;  // see Chunk
  std::size_t tokens = 0;
  std::string text;
};

// A chunk whose embedding is still to be computed.
struct PendingChunk {
  ChunkId id = 0;
  std::string title;
  std::string heading_path;
  std::string text;
  std::size_t tokens = 0;
};

struct PutResult {
  DocumentId id = 0;
  bool replaced = false;  // a document of this path was there
  std::size_t chunks = 0;
  std::size_t reused_embeddings = 0;  // chunks whose heading path and text the collection had already embedded
};

struct Problem {
  std::string collection;  // empty: the whole store
  std::string where;       // "document docs/a.md, chunk 3", "vectors-7.faiss", "database"
  std::string what;
};

// The only way to change a store. Holds the store's write lock (and the only writing connection) from begin_write() to destruction.
// Changes are one transaction until commit(); a destroyed job rolls back what was not committed. A killed process leaves the last commit.
// Used from one thread at a time. Every function throws Error: kStorage (disk full, I/O), kDamagedData (SQLite reports corruption).
class WriteJob {
 public:
  WriteJob(WriteJob&&) noexcept;
  WriteJob& operator=(WriteJob&&) = delete;
  ~WriteJob();

  // Throws Error(kInvalidArgument) for a bad name, language or manifest, or a name that is taken.
  CollectionInfo create_collection(const CollectionOptions& options);
  // Removes documents, vectors, full-text rows and the manifest; false if there was none.
  bool remove_collection(std::string_view collection);
  // Throws Error(kNotFound) for an unknown collection, kInvalidArgument if not JSON. Embeddings are kept: call drop_embeddings() when they
  // no longer match.
  void set_manifest(std::string_view collection, std::string_view manifest);

  // Adds the document or replaces the one with the same path, in the transaction. Embeddings of chunks with equal heading path and text are
  // carried over. Throws Error: kNotFound (collection), kInvalidArgument (path or text not UTF-8, span reversed).
  PutResult put_document(std::string_view collection, const DocumentMeta& meta, std::span<const Chunk> chunks);
  // False if there was none.
  bool remove_document(std::string_view collection, std::string_view path);
  // The file is the same but its time or attributes changed (a touch): nothing is re-chunked. Throws Error(kNotFound).
  void update_document_meta(std::string_view collection, const DocumentMeta& meta);

  // Chunks without embedding, ascending ids > after, at most `limit`.
  std::vector<PendingChunk> pending_embeddings(std::string_view collection, std::size_t limit, ChunkId after = 0);
  // Rows are rounded to f16. `rows` is [ids.size(), dim]; dim is fixed by the collection's first embedding.
  // Throws Error: kInvalidArgument (shape, not finite, dim differs), kNotFound (an id that is no chunk of the collection).
  void put_embeddings(std::string_view collection, std::span<const ChunkId> ids, MatrixView<const float> rows);
  // Forgets all embeddings (and dim) of the collection.
  void drop_embeddings(std::string_view collection);

  // Makes everything so far durable and visible, and starts the next transaction. Each touched collection's generation grows by one.
  void commit();
  // Removes what does not match its hash: whole documents with a damaged row (their paths are returned, sorted; index them again), single
  // damaged vectors (they become pending), orphans. Rebuilds the full-text index and the counters. Throws Error: kNotFound; kDamagedData if
  // the collection's own row or the database file is damaged: restore it from a copy, or remove it.
  std::vector<std::string> repair(std::string_view collection);
  // Writes the FAISS file of the collection's committed vectors and removes older ones. Optional: readers build what is missing.
  void publish_vectors(std::string_view collection);
  // Keeps KV spans in files (the disk tier of the span cache): commits first, then makes room within `budget` bytes for all collections by
  // dropping what is least worth keeping (GDSF), then writes the files and records them. Spans that are kept already, whose chunk is gone,
  // whose left neighbour is not kept, or that are larger than the budget are left out, and all where set_keeps_spans() said so. Returns how many were written.
  std::size_t put_spans(std::string_view collection, std::span<const SpanPut> spans, std::uint64_t budget);
  // Whether spans of the collection are kept in files at all (they are unless told otherwise); `keep` false drops those there are. Commits.
  // Throws Error(kNotFound).
  void set_keeps_spans(std::string_view collection, bool keep);
  // Counts a use of each span that is kept. Commits.
  void touch_spans(std::span<const SpanKey> keys);
  // As Store::span_stats(), of all collections.
  SpanTierStats span_stats() const;
  // Drops spans until the files of all collections have at most `budget` bytes; 0: all. Returns how many went.
  std::size_t prune_spans(std::uint64_t budget);
  // Keeps a measurement of a reuse policy (JSON, opaque here) under `name`, replacing an older one; goes with the collection. Commits.
  // Throws Error(kNotFound).
  void put_certificate(std::string_view collection, std::string_view name, std::string_view body);
  // Likewise what ways of asking were measured to be worth (pipelines/quality_table.h); `model` tells tables of one collection apart.
  void put_quality_table(std::string_view collection, std::string_view model, std::string_view body);

  // Uploaded files (index/uploaded_file.h).
  // Keeps the bytes in a file and records it. Commits. Throws Error: kInvalidArgument (purpose not UTF-8); kStorage.
  UploadedFile put_file(std::string_view filename, std::string_view purpose, std::string_view bytes);
  // Removes the file and, in every collection that has it, its document; the bytes go with the commit. False if there was none.
  bool remove_file(std::string_view key);
  // Puts the file on the collection's list, to be indexed; if it is there, its link is returned as it is, but for the
  // batch, if `wanted` has one. Only attributes, chunk_tokens and batch of `wanted` are read. Throws Error: kNotFound (collection, file);
  // kInvalidArgument (attributes).
  FileLink link_file(std::string_view collection, std::string_view key, const FileLink& wanted);
  std::optional<FileLink> find_link(std::string_view collection, std::string_view key) const;
  // Stores status, searchable, error and attempts of the link. False if the link is gone.
  bool update_link(const FileLink& link);
  // Of the link and of its document. False if there is no such link. Throws Error(kInvalidArgument) as attribute_texts().
  bool set_link_attributes(std::string_view collection, std::string_view key, std::string_view attributes);
  // Takes the file off the collection's list and removes its document. False if it is not on it.
  bool unlink_file(std::string_view collection, std::string_view key);
  // Marks as completed what is searchable and has all its vectors. Returns how many there were.
  std::size_t complete_links(std::string_view collection);
  // Title and metadata; `created` stays. Throws Error(kNotFound), kInvalidArgument (not UTF-8, not a JSON object).
  void set_card(std::string_view collection, const CollectionCard& card);
  // Removes what lies under STORE/files/ without a row: leftovers of killed writers.
  void sweep_files();

  // Rewrites the full-text index (dropping terms of deleted text) and returns free pages to the file system. Commits first.
  void compact();

  class Impl;

 private:
  friend class Store;
  explicit WriteJob(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// One collection as of one generation; later commits do not show. Keep it as long as one request, not as long as a server: an old snapshot
// keeps the write-ahead log from shrinking. Thread-safe (calls on one snapshot take turns; take one snapshot per request for parallel
// reads). Every function throws Error(kDamagedData) if SQLite reports corruption, kStorage on I/O errors.
class Snapshot {
 public:
  ~Snapshot();

  const CollectionInfo& info() const noexcept;
  std::uint64_t generation() const noexcept { return info().generation; }

  // Best k chunks by BM25 (k1 0.9, b 0.4; title, heading path and body weighted), best first, ties by ascending id. Any string is a valid
  // query; one without any word finds nothing. Scores are > 0 and comparable only within one query.
  std::vector<ScoredChunk> bm25(std::string_view query, std::size_t k, const Filter& filter = {}) const;
  // BM25 scores of given chunks for the query, in the same order; 0 where no word matches.
  std::vector<float> bm25_scores(std::string_view query, std::span<const ChunkId> ids) const;

  // Chunk ids of the documents that pass, ascending.
  std::vector<ChunkId> matching_chunks(const Filter& filter) const;

  // The chunk, verified against its row hash. Throws Error: kNotFound; kDamagedData (hash differs: the text must not be used).
  ChunkRecord chunk(ChunkId id) const;
  // Neighbour access: chunk `ordinal` of the document; absent past the end.
  std::optional<ChunkRecord> chunk_at(DocumentId document, std::size_t ordinal) const;
  // Throws Error: kNotFound; kDamagedData.
  DocumentRecord document(DocumentId id) const;
  std::optional<DocumentRecord> find_document(std::string_view path) const;
  // Sorted by path; damaged rows are marked, not left out: putting or removing the document makes the collection whole again.
  std::vector<DocumentRecord> documents() const;

  // Path, id and modification time of all documents, sorted by path: enough to page through a large collection. Hashes are not checked.
  struct DocumentName {
    DocumentId id = 0;
    std::string path;
    std::int64_t mtime_ns = 0;
  };
  std::vector<DocumentName> document_names() const;
  // How many of the document's chunks have a vector.
  std::size_t embedded_chunks(DocumentId document) const;
  // As WriteJob::pending_embeddings(), of this generation; all: whether they have a vector or not.
  std::vector<PendingChunk> pending_embeddings(std::size_t limit, ChunkId after = 0, bool all = false) const;

  // Uploaded files of the collection in the order of their links, and one of them. Throws Error(kDamagedData).
  std::vector<FileLink> links() const;
  std::optional<FileLink> find_link(std::string_view key) const;
  // Key of the file that the document of this path was uploaded as, else document_key().
  std::string file_key(std::string_view path) const;

  // The stored vector of one chunk (f16 widened), verified; absent if not embedded yet. Throws Error(kDamagedData).
  std::optional<std::vector<float>> embedding(ChunkId id) const;
  // Index over all embeddings; nullptr before the first. Loaded from the FAISS file if that verifies, else built from SQLite; cached.
  std::shared_ptr<const VectorIndex> vectors() const;

  // Everything that does not depend on how it came about, in a stable order: equal for two runs over the same files. Called with pieces of
  // UTF-8.
  void export_logical(const std::function<void(std::string_view)>& write) const;

  class Impl;

 private:
  friend class Store;
  explicit Snapshot(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Thread-safe.
class Store {
 public:
  enum class Mode {
    kRead,       // must exist
    kReadWrite,  // created (directory 0700, files 0600) if absent
  };

  // Brings an older schema up to date (takes the write lock for it). Throws Error: kNotFound (kRead and absent);
  // kInvalidArgument (directory of another user or writable by others); kDamagedData (not a store, newer schema); kLocked; kStorage.
  static std::unique_ptr<Store> open(const std::filesystem::path& path, Mode mode);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  const std::filesystem::path& path() const noexcept;
  // Random, fixed for the life of the store.
  std::string id() const;
  // Spans kept on disk; of one collection, or of all (nullopt).
  SpanTierStats span_stats(std::optional<std::int64_t> collection = std::nullopt) const;
  bool keeps_spans(std::int64_t collection) const;
  // Bodies, by name.
  std::vector<std::string> certificates(std::int64_t collection) const;
  std::optional<std::string> quality_table(std::int64_t collection, std::string_view model) const;
  // Opens every span file and compares it with its checksums; damaged ones are removed (each is a miss). Needs kReadWrite and takes the
  // write lock. Returns how many were damaged or missing.
  std::size_t verify_spans() const;

  // Throws Error: kLocked naming the process that holds the lock; kInvalidArgument in kRead mode.
  std::unique_ptr<WriteJob> begin_write();
  // Waits for the lock as long as `patience`. Throws Error(kCancelled) when `stop` is requested.
  std::unique_ptr<WriteJob> begin_write(std::chrono::milliseconds patience, const std::stop_token& stop = {});

  std::vector<CollectionInfo> collections() const;  // sorted by name
  std::optional<CollectionInfo> find_collection(std::string_view name) const;
  // Throws Error(kNotFound) naming the collections there are.
  std::shared_ptr<const Snapshot> snapshot(std::string_view collection) const;

  // Uploaded files, newest first. Throws Error(kDamagedData), as find_file().
  std::vector<UploadedFile> files() const;
  std::optional<UploadedFile> find_file(std::string_view key) const;
  // Verified against SHA-256. Throws Error: kNotFound; kDamagedData (the bytes are not those that were uploaded); kStorage.
  std::string file_bytes(std::string_view key) const;
  // What is to be indexed, over all collections, in the order it was asked for. Damaged rows are left out: verify() tells of them.
  std::vector<FileLink> pending_links() const;
  // By collection id; a new one has its name as title.
  std::map<std::int64_t, CollectionCard> cards() const;

  // Reads everything: SQLite's and FTS5's integrity checks, every row hash, orphans, FAISS files against SQLite, uploaded files. Empty
  // `collection` = all.
  // Needs kReadWrite and takes the write lock (FTS5's check is an INSERT statement). Throws Error: kLocked, kNotFound.
  std::vector<Problem> verify(std::string_view collection = {}) const;

  class Impl;

 private:
  explicit Store(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with its snapshots, which may outlive it
};

bool is_valid_collection_name(std::string_view name) noexcept;

}  // namespace gritstone

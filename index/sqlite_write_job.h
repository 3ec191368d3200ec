// WriteJob's state: the lock, the writing connection and what the open transaction has changed.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "index/sqlite_database.h"
#include "index/sqlite_rows.h"
#include "index/store.h"
#include "index/write_lock.h"

namespace gritstone {

class WriteJob::Impl {
 public:
  explicit Impl(const std::filesystem::path& store_path);
  ~Impl();

  // Runs `change` inside the job's transaction. If it throws, its own effects are undone and earlier ones stay, unless SQLite had to roll
  // the whole transaction back (disk full).
  template <typename Change>
  auto apply(Change&& change) {
    begin();
    const auto before = touched;
    database.execute("SAVEPOINT change");
    try {
      auto result = change();
      database.execute("RELEASE change");
      return result;
    } catch (...) {
      undo(before);
      throw;
    }
  }

  // The collection as this transaction has it. Throws Error(kNotFound).
  CollectionRow& row(std::string_view collection);
  void begin();
  void commit();

  DocumentId insert_document(CollectionRow& row, const DocumentMeta& meta, std::size_t chunks);
  void delete_document(CollectionRow& row, DocumentId id);
  // Full-text index and counters anew from the rows that are there.
  void rebuild(CollectionRow& row);
  // Inserts the chunk, its full-text row and, if an equal passage is embedded, its vector; true if so.
  bool insert_chunk(CollectionRow& row, DocumentId document, std::size_t ordinal, const std::string& title, const Chunk& chunk,
                    const std::map<std::string, std::vector<std::uint8_t>>& reusable);
  void insert_embedding(CollectionRow& row, ChunkId chunk, std::span<const std::uint8_t> vector);
  // Vectors of the document's chunks by content hash (hex); damaged ones are left out, so that they get computed again.
  std::map<std::string, std::vector<std::uint8_t>> vectors_of(DocumentId id);

  // Rows of spans whose text, collection or left neighbour is gone; in the transaction.
  void drop_orphan_spans();
  // Files under kv/ without a row: of dropped spans, of killed writers, half-written ones. After the commit.
  void sweep_span_files();
  // Files under files/ without a row. After the commit.
  void sweep_uploads();
  // The file off the collection's list, and its document; in the transaction. False if it is not on it.
  bool remove_link(std::string_view collection, std::string_view key);

  std::filesystem::path store;
  WriteLock lock;
  Database database;
  // Collections changed since the last commit, by name.
  std::map<std::string, CollectionRow, std::less<>> touched;
  // Removed since the last commit: their files go once the commit is safe.
  std::vector<std::int64_t> removed;
  // Text was taken out since the last commit: spans may have lost their owner.
  bool text_removed = false;
  // Uploaded files were removed since the last commit.
  bool files_removed = false;

 private:
  void undo(const std::map<std::string, CollectionRow, std::less<>>& before) noexcept;
  std::vector<std::uint8_t> embedded_equal(const CollectionRow& row, const Xxh128Digest& content);
};

}  // namespace gritstone

// Store's state: reading connections for reuse and the vector indexes that snapshots share.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "index/sqlite_database.h"
#include "index/sqlite_rows.h"
#include "index/store.h"

namespace gritstone {

class Store::Impl {
 public:
  std::unique_ptr<Database> take_reader();
  void give_back(std::unique_ptr<Database> reader) noexcept;
  // Reads with one of the connections.
  template <typename Read>
  auto with_reader(Read&& read) {
    auto reader = take_reader();
    auto result = read(*reader);
    give_back(std::move(reader));
    return result;
  }
  // Loads, builds or finds the index of the row's vectors; `reader` has the transaction open that `row` was read in.
  std::shared_ptr<const VectorIndex> vectors(Database& reader, const CollectionRow& row);

  std::filesystem::path path;
  Mode mode = Mode::kRead;

 private:
  struct CachedVectors {
    std::int64_t token = 0;
    std::shared_ptr<const VectorIndex> index;
  };
  std::mutex mutex_;
  std::vector<std::unique_ptr<Database>> idle_;
  std::mutex vectors_mutex_;                                 // held while loading, so that two requests do not load twice
  std::unordered_map<std::int64_t, CachedVectors> vectors_;  // by collection: the newest anybody asked for
};

class Snapshot::Impl {
 public:
  Impl(std::shared_ptr<Store::Impl> owner, std::string_view collection);
  ~Impl();

  // `where` adds a condition on rowid; its parameters start at ?3. once: the statement is not kept (conditions of clients come in any
  // number of shapes).
  std::vector<ScoredChunk> ranked(std::string_view query, std::size_t k, const std::string& where,
                                  const std::function<void(Statement&)>& bind_where, bool once = false);
  // Documents are read once: many chunks of one answer share them.
  const DocumentRecord& document(DocumentId id);
  ChunkRecord complete(ChunkRow row);

  std::shared_ptr<Store::Impl> store;
  std::mutex mutex;
  std::unique_ptr<Database> database;
  CollectionRow row;

 private:
  std::unordered_map<DocumentId, DocumentRecord> documents_;
};

}  // namespace gritstone

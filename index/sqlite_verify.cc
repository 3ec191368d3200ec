// Reads a whole store and says what does not hold.
#include "index/sqlite_files.h"
#include "index/sqlite_schema.h"
#include "index/sqlite_store.h"
#include "index/sqlite_vectors.h"
#include "index/sqlite_write_job.h"

namespace gritstone {
namespace {

// A heavily damaged store would otherwise fill memory with its complaints.
constexpr std::size_t kMaxProblems = 10000;

class Verifier {
 public:
  Verifier(Database& database, const std::filesystem::path& store) : database_(database), store_(store) {}

  void add(const std::string& where, const std::string& what) {
    if (problems.size() < kMaxProblems) problems.push_back({collection_, where, what});
  }

  // Runs a check that may itself trip over the damage.
  template <typename Check>
  void guarded(const std::string& where, Check&& check) {
    try {
      check();
    } catch (const Error& error) {
      add(where, error.what());
    }
  }

  void database_file() {
    guarded("database", [&] {
      Statement& s = database_.statement("PRAGMA integrity_check(100)");
      while (s.step()) {
        if (s.text(0) != "ok") add("database", s.text(0));
      }
    });
    guarded("database", [&] {
      Statement& s = database_.statement("PRAGMA foreign_key_check");
      while (s.step()) add("database", "orphan row in table " + s.text(0) + ", row " + s.text(1));
    });
  }

  std::vector<std::int64_t> ids(const std::string& sql, std::int64_t collection) {
    std::vector<std::int64_t> found;
    Statement& s = database_.statement(sql).bind(1, collection);
    while (s.step()) found.push_back(s.integer(0));
    return found;
  }

  void documents(const CollectionRow& row, CollectionInfo& counted) {
    for (const DocumentId id : ids("SELECT id FROM documents WHERE collection_id = ?1 ORDER BY id", row.info.id)) {
      ++counted.documents;
      const std::string where = document_name(id);
      guarded(where, [&] {
        const auto record = load_document(database_, id);
        const auto chunks = ids("SELECT count(*) FROM chunks WHERE document_id = ?1", id);
        if (record && static_cast<std::size_t>(chunks.at(0)) != record->chunks) {
          add(where, "has " + std::to_string(chunks.at(0)) + " chunks, expected " + std::to_string(record->chunks));
        }
      });
    }
  }

  void chunks(const CollectionRow& row, CollectionInfo& counted) {
    for (const ChunkId id : ids("SELECT id FROM chunks WHERE collection_id = ?1 ORDER BY id", row.info.id)) {
      ++counted.chunks;
      guarded(chunk_name(id), [&] {
        const auto chunk = load_chunk(database_, id);
        if (!chunk) return;
        counted.text_bytes += chunk->record.text.size();
        counted.tokens += chunk->record.tokens;
        if (chunk->content_hash != chunk_content_hash(chunk->record.heading_path, chunk->record.text))
          add(chunk_name(id), "content hash differs");
      });
    }
  }

  void embeddings(const CollectionRow& row, CollectionInfo& counted) {
    for (const ChunkId id : ids("SELECT chunk_id FROM embeddings WHERE collection_id = ?1 ORDER BY chunk_id", row.info.id)) {
      ++counted.embedded_chunks;
      guarded(chunk_name(id), [&] {
        Statement& s = database_.statement("SELECT row_hash, vector FROM embeddings WHERE chunk_id = ?1").bind(1, id);
        if (!s.step()) return;
        const auto vector = s.blob(1);
        const bool honest = equal_hash(s.blob(0), embedding_row_hash(id, vector));
        const std::size_t size = vector.size();
        s.reset();
        if (!honest) add(chunk_name(id), "the embedding does not match its hash");
        if (size != row.info.dim * 2)
          add(chunk_name(id), "the embedding has " + std::to_string(size) + " bytes, expected " + std::to_string(row.info.dim * 2));
      });
    }
  }

  void full_text(const CollectionRow& row) {
    const std::string table = fts_table(row.info.id);
    guarded("full-text index", [&] {
      // rank 1 makes FTS5 compare its index with the text itself, not only with its own checksums.
      try {
        database_.execute("INSERT INTO " + table + "(" + table + ", rank) VALUES('integrity-check', 1)");
      } catch (const Error& error) {
        add("full-text index", std::string("does not match the text: ") + error.what());
      }
    });
  }

  void vector_files(const CollectionRow& row) {
    if (row.info.embedded_chunks == 0) return;
    const std::string name = vector_file(store_, row).filename().string();
    guarded(name, [&] {
      std::string why;
      const auto file = vectors_from_file(store_, database_, row, why);
      if (file == nullptr) {
        // No file is no damage: it is derived, and readers make it.
        if (why != "absent") add(name, why);
        return;
      }
      const auto fresh = vectors_from_rows(database_, row);
      if (file->size() != fresh->size())
        return add(name, "holds " + std::to_string(file->size()) + " vectors, SQLite " + std::to_string(fresh->size()));
      for (const ChunkId id : ids("SELECT chunk_id FROM embeddings WHERE collection_id = ?1 ORDER BY chunk_id", row.info.id)) {
        if (file->row(id) != fresh->row(id)) return add(name, "the vector of chunk " + std::to_string(id) + " differs from SQLite's");
      }
    });
  }

  void collection(const CollectionRow& row) {
    collection_ = row.info.name;
    CollectionInfo counted;
    guarded("documents", [&] { documents(row, counted); });
    const std::size_t before = problems.size();
    guarded("chunks", [&] { chunks(row, counted); });
    guarded("embeddings", [&] { embeddings(row, counted); });
    counter("documents", counted.documents, row.info.documents);
    counter("chunks", counted.chunks, row.info.chunks);
    counter("embeddings", counted.embedded_chunks, row.info.embedded_chunks);
    if (problems.size() == before) {
      counter("bytes of text", counted.text_bytes, row.info.text_bytes);
      counter("tokens", counted.tokens, row.info.tokens);
    }
    full_text(row);
    vector_files(row);
    links(row);
    collection_.clear();
  }

  // Bytes of uploaded files against their rows, and of a collection's links whether their document is there.
  void uploads(const std::vector<std::string>& keys) {
    for (const std::string& key : keys) {
      const std::string where = "file " + key;
      guarded(where, [&] {
        const auto file = load_file(database_, key);
        const std::string wrong = file ? check_file_bytes(store_, *file) : "has no row";
        if (!wrong.empty()) add(where + (file ? " (" + file->filename + ")" : ""), wrong);
      });
    }
  }

  void links(const CollectionRow& row) {
    std::vector<std::string> keys;
    guarded("files", [&] {
      for (const FileLink& link : load_links(database_, " WHERE collection_id = ?1 ORDER BY serial", row.info.id, {})) {
        keys.push_back(link.key);
        if (link.searchable && !find_document_id(database_, row.info.id, link.path)) {
          add("file " + link.key, "its document " + link.path + " is missing");
        }
      }
    });
    uploads(keys);
  }

  // Files that no collection has, and bytes without a row.
  void loose_files() {
    std::vector<std::string> keys;
    Statement& s = database_.statement("SELECT key FROM files WHERE key NOT IN (SELECT file_key FROM file_links) ORDER BY id");
    while (s.step()) keys.push_back(s.text(0));
    uploads(keys);
    for (const std::filesystem::path& path : orphan_files(database_, store_)) {
      add("files/" + path.lexically_relative(store_ / "files").string(), "belongs to no uploaded file");
    }
  }

  std::vector<Problem> problems;

 private:
  void counter(const char* what, std::uint64_t counted, std::uint64_t recorded) {
    if (counted != recorded)
      add("collection", "has " + std::to_string(counted) + " " + what + ", recorded are " + std::to_string(recorded));
  }

  std::string document_name(DocumentId id) {
    Statement& s = database_.statement("SELECT path FROM documents WHERE id = ?1").bind(1, id);
    std::string name = s.step() ? "document " + s.text(0) : "document " + std::to_string(id);
    s.reset();
    return name;
  }

  std::string chunk_name(ChunkId id) {
    Statement& s =
        database_.statement("SELECT d.path, c.ordinal FROM chunks c JOIN documents d ON d.id = c.document_id WHERE c.id = ?1").bind(1, id);
    std::string name = s.step() ? "document " + s.text(0) + ", chunk " + std::to_string(s.integer(1)) : "chunk " + std::to_string(id);
    s.reset();
    return name;
  }

  Database& database_;
  const std::filesystem::path& store_;
  std::string collection_;
};

}  // namespace

std::vector<Problem> Store::verify(std::string_view collection) const {
  if (impl_->mode != Mode::kReadWrite) throw Error(ErrorCode::kInvalidArgument, "verify needs the store opened for writing");
  WriteJob::Impl job(impl_->path);
  Verifier verifier(job.database, impl_->path);
  verifier.database_file();
  std::vector<std::string> names;
  Statement& s = job.database.statement("SELECT name FROM collections ORDER BY name");
  while (s.step()) names.push_back(s.text(0));
  bool found = collection.empty();
  for (const std::string& name : names) {
    if (!collection.empty() && name != collection) continue;
    found = true;
    verifier.guarded("collection " + name, [&] {
      const auto row = find_collection_row(job.database, name);
      if (row) verifier.collection(*row);
    });
  }
  if (collection.empty()) verifier.guarded("files", [&] { verifier.loose_files(); });
  if (!found)
    throw Error(ErrorCode::kNotFound,
                "no collection \"" + std::string(collection) + "\" (there are: " + collection_names(job.database) + ")");
  return std::move(verifier.problems);
}

}  // namespace gritstone

#include "index/sqlite_schema.h"

#include <array>

namespace gritstone {
namespace {

// "GRIT": tells a Gritstone store from any other SQLite file.
constexpr std::int64_t kApplicationId = 0x47524954;

// One entry per schema version: what takes version i to i + 1. Entries are never edited once released.
// AUTOINCREMENT: ids are never used again, so an id that somebody still holds cannot come to mean another row.
constexpr const char* kVersion1[] = {R"(CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID)",
                                     R"(CREATE TABLE collections(
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         name TEXT NOT NULL UNIQUE,
         language TEXT NOT NULL,
         manifest TEXT NOT NULL,
         generation INTEGER NOT NULL,
         dim INTEGER NOT NULL,
         vectors_generation INTEGER NOT NULL,
         vectors_token INTEGER NOT NULL,
         documents INTEGER NOT NULL,
         chunks INTEGER NOT NULL,
         embedded INTEGER NOT NULL,
         text_bytes INTEGER NOT NULL,
         tokens INTEGER NOT NULL,
         row_hash BLOB NOT NULL))",
                                     R"(CREATE TABLE documents(
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         collection_id INTEGER NOT NULL REFERENCES collections(id),
         path TEXT NOT NULL,
         sha256 BLOB NOT NULL,
         size INTEGER NOT NULL,
         mtime_ns INTEGER NOT NULL,
         type TEXT NOT NULL,
         title TEXT NOT NULL,
         chunk_count INTEGER NOT NULL,
         row_hash BLOB NOT NULL,
         UNIQUE(collection_id, path)))",
                                     R"(CREATE TABLE attributes(
         document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
         key TEXT NOT NULL,
         value TEXT NOT NULL,
         PRIMARY KEY(document_id, key)) WITHOUT ROWID)",
                                     R"(CREATE TABLE chunks(
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
         collection_id INTEGER NOT NULL REFERENCES collections(id),
         ordinal INTEGER NOT NULL,
         start_byte INTEGER NOT NULL,
         end_byte INTEGER NOT NULL,
         context_bytes INTEGER NOT NULL,
         tokens INTEGER NOT NULL,
         content_hash BLOB NOT NULL,
         row_hash BLOB NOT NULL,
         heading TEXT NOT NULL,
         text TEXT NOT NULL,
         UNIQUE(document_id, ordinal)))",
                                     // Walks a collection's chunks by id without touching their text.
                                     R"(CREATE INDEX chunks_by_collection ON chunks(collection_id))",
                                     // Finds an equal passage that is already embedded.
                                     R"(CREATE INDEX chunks_by_content ON chunks(collection_id, content_hash))",
                                     R"(CREATE TABLE embeddings(
         chunk_id INTEGER PRIMARY KEY REFERENCES chunks(id) ON DELETE CASCADE,
         collection_id INTEGER NOT NULL REFERENCES collections(id),
         row_hash BLOB NOT NULL,
         vector BLOB NOT NULL))",
                                     R"(CREATE INDEX embeddings_by_collection ON embeddings(collection_id))", nullptr};
// The disk tier of the span cache. Not part of a collection's content: no generation, no row hash; a lost row is a file computed again.
// collection_id without REFERENCES: rows of a removed collection are dropped together with their files.
constexpr const char* kVersion2[] = {R"(CREATE TABLE kv_spans(
         key BLOB PRIMARY KEY,
         collection_id INTEGER NOT NULL,
         left_key BLOB,
         content_hash BLOB,
         tokens INTEGER NOT NULL,
         bytes INTEGER NOT NULL,
         cost REAL NOT NULL,
         frequency INTEGER NOT NULL,
         priority REAL NOT NULL) WITHOUT ROWID)",
                                     R"(CREATE INDEX kv_spans_by_priority ON kv_spans(priority))",
                                     R"(CREATE TABLE certificates(
         collection_id INTEGER NOT NULL REFERENCES collections(id),
         name TEXT NOT NULL,
         body TEXT NOT NULL,
         PRIMARY KEY(collection_id, name)) WITHOUT ROWID)",
                                     nullptr};
// Uploaded files. `serial` orders links as they were made, and the queue with them. Cards carry labels only and have no row hash; every
// collection has one.
constexpr const char* kVersion3[] = {
    R"(CREATE TABLE files(
         id INTEGER PRIMARY KEY AUTOINCREMENT,
         key TEXT NOT NULL UNIQUE,
         filename TEXT NOT NULL,
         purpose TEXT NOT NULL,
         bytes INTEGER NOT NULL,
         sha256 BLOB NOT NULL,
         created INTEGER NOT NULL,
         row_hash BLOB NOT NULL))",
    R"(CREATE TABLE file_links(
         serial INTEGER PRIMARY KEY AUTOINCREMENT,
         collection_id INTEGER NOT NULL REFERENCES collections(id),
         file_key TEXT NOT NULL REFERENCES files(key),
         path TEXT NOT NULL,
         attributes TEXT NOT NULL,
         chunk_tokens INTEGER NOT NULL,
         batch TEXT NOT NULL,
         status INTEGER NOT NULL,
         searchable INTEGER NOT NULL,
         error_code TEXT NOT NULL,
         error_message TEXT NOT NULL,
         attempts INTEGER NOT NULL,
         created INTEGER NOT NULL,
         row_hash BLOB NOT NULL,
         UNIQUE(collection_id, file_key),
         UNIQUE(collection_id, path)))",
    R"(CREATE INDEX file_links_by_file ON file_links(file_key))",
    R"(CREATE INDEX file_links_by_status ON file_links(status, serial))",
    R"(CREATE TABLE collection_cards(
         collection_id INTEGER PRIMARY KEY REFERENCES collections(id),
         title TEXT NOT NULL,
         metadata TEXT NOT NULL,
         created INTEGER NOT NULL))",
    R"(INSERT INTO collection_cards SELECT id, name, '{}', CAST(strftime('%s', 'now') AS INTEGER) FROM collections)",
    nullptr};
constexpr std::array<const char* const*, 3> kMigrations = {kVersion1, kVersion2, kVersion3};
static_assert(kMigrations.size() == kSchemaVersion);

std::int64_t pragma(Database& database, const char* name) {
  Statement& statement = database.statement(std::string("PRAGMA ") + name);
  const std::int64_t value = statement.step() ? statement.integer(0) : 0;
  statement.reset();
  return value;
}

[[noreturn]] void reject(const std::string& what) { throw Error(ErrorCode::kDamagedData, what); }

}  // namespace

void migrate_schema(Database& database) {
  const std::int64_t version = pragma(database, "user_version");
  if (version == kSchemaVersion && pragma(database, "application_id") == kApplicationId) return;
  if (version > kSchemaVersion) {
    reject("the store has schema version " + std::to_string(version) + ", this program knows up to " + std::to_string(kSchemaVersion));
  }
  if (version != 0 && pragma(database, "application_id") != kApplicationId) reject("the database is not a Gritstone store");
  database.execute("BEGIN IMMEDIATE");
  try {
    for (std::int64_t i = version; i < kSchemaVersion; ++i) {
      for (const char* const* sql = kMigrations[static_cast<std::size_t>(i)]; *sql != nullptr; ++sql) database.execute(*sql);
    }
    if (version == 0) {
      // A store's identity, so that files derived from another store (a restored copy) are not taken for this one's.
      database.execute("INSERT INTO meta VALUES('store_id', lower(hex(randomblob(16))))");
      database.execute("PRAGMA application_id=" + std::to_string(kApplicationId));
    }
    database.execute("PRAGMA user_version=" + std::to_string(kSchemaVersion));
    database.execute("COMMIT");
  } catch (...) {
    if (database.in_transaction()) database.execute("ROLLBACK");
    throw;
  }
}

void require_schema(Database& database) {
  const std::int64_t version = pragma(database, "user_version");
  if (pragma(database, "application_id") != kApplicationId) reject("the database is not a Gritstone store");
  if (version != kSchemaVersion) {
    reject("the store has schema version " + std::to_string(version) + ", expected " + std::to_string(kSchemaVersion));
  }
}

std::string fts_table(std::int64_t collection) { return "fts_" + std::to_string(collection); }

void create_fts(Database& database, std::int64_t collection, std::string_view language) {
  const std::string id = std::to_string(collection);
  database.execute(
      "CREATE VIEW fts_source_" + id +
      "(id, title, heading, body) AS SELECT c.id, d.title, c.heading, c.text FROM chunks c JOIN documents d ON d.id = c.document_id "
      "WHERE c.collection_id = " +
      id);
  // External content: the text is stored once, and FTS5's integrity check compares its index with that text.
  database.execute("CREATE VIRTUAL TABLE " + fts_table(collection) + " USING fts5(title, heading, body, content='fts_source_" + id +
                   "', content_rowid='id', tokenize='gritstone " + std::string(language) + "')");
}

void drop_fts(Database& database, std::int64_t collection) {
  database.forget_statements();
  database.execute("DROP TABLE IF EXISTS " + fts_table(collection));
  database.execute("DROP VIEW IF EXISTS fts_source_" + std::to_string(collection));
}

std::string bm25_call(std::int64_t collection) {
  std::string call = kBm25Call;
  call.replace(call.find("{table}"), 7, fts_table(collection));
  return call;
}

}  // namespace gritstone

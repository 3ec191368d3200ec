// Which uploaded file is in which collection, and the cards of collections.
#include <chrono>
#include <utility>

#include "base/json.h"
#include "base/utf8.h"
#include "index/row_hash.h"
#include "index/sqlite_files.h"
#include "index/sqlite_rows.h"
#include "index/sqlite_store.h"
#include "index/sqlite_write_job.h"

namespace gritstone {
namespace {

constexpr const char* kLinkColumns =
    "serial, collection_id, file_key, path, attributes, chunk_tokens, batch, status, searchable, error_code, error_message, attempts, "
    "created, row_hash";

Xxh128Digest link_hash(const FileLink& link) {
  RowHash hash;
  hash.add(link.serial).add(link.collection).add(link.key).add(link.path).add(link.attributes);
  hash.add(static_cast<std::int64_t>(link.chunk_tokens)).add(link.batch).add(static_cast<std::int64_t>(link.status));
  hash.add(static_cast<std::int64_t>(link.searchable)).add(link.error_code).add(link.error_message);
  return hash.add(static_cast<std::int64_t>(link.attempts)).add(link.created).digest();
}

FileLink read_link(Statement& s) {
  FileLink link;
  link.serial = s.integer(0);
  link.collection = s.integer(1);
  link.key = s.text(2);
  link.path = s.text(3);
  link.attributes = s.text(4);
  link.chunk_tokens = static_cast<std::size_t>(s.integer(5));
  link.batch = s.text(6);
  link.status = static_cast<LinkStatus>(s.integer(7));
  link.searchable = s.integer(8) != 0;
  link.error_code = s.text(9);
  link.error_message = s.text(10);
  link.attempts = static_cast<std::size_t>(s.integer(11));
  link.created = s.integer(12);
  const bool honest = equal_hash(s.blob(13), link_hash(link)) && s.integer(7) >= 0 && s.integer(7) <= 3;
  if (!honest) {
    s.reset();
    throw Error(ErrorCode::kDamagedData, "the link of file " + sanitize_utf8(link.key) + " to collection " +
                                             std::to_string(link.collection) + " does not match its hash");
  }
  return link;
}

void bind_link(Statement& s, const FileLink& link) {
  s.bind(1, link.serial).bind(2, link.collection).bind(3, link.key).bind(4, link.path).bind(5, link.attributes);
  s.bind(6, static_cast<std::int64_t>(link.chunk_tokens)).bind(7, link.batch).bind(8, static_cast<std::int64_t>(link.status));
  s.bind(9, link.searchable ? 1 : 0).bind(10, link.error_code).bind(11, link.error_message);
  s.bind(12, static_cast<std::int64_t>(link.attempts)).bind(13, link.created).bind_blob(14, link_hash(link));
}

void require_object(std::string_view json, const char* what) {
  if (!parse_json(json, what).IsObject()) throw Error(ErrorCode::kInvalidArgument, std::string(what) + " must be a JSON object");
}

bool path_taken(Database& database, std::int64_t collection, std::string_view path) {
  Statement& s = database.statement(
      "SELECT 1 FROM documents WHERE collection_id = ?1 AND path = ?2 UNION ALL SELECT 1 FROM file_links WHERE collection_id = ?1 AND path "
      "= "
      "?2");
  const bool taken = s.bind(1, collection).bind(2, path).step();
  s.reset();
  return taken;
}

std::string free_path(Database& database, std::int64_t collection, std::string_view label) {
  for (std::size_t n = 1;; ++n) {
    std::string path = numbered_label(label, n);
    if (!path_taken(database, collection, path)) return path;
  }
}

std::int64_t id_of(Database& database, std::string_view collection) {
  Statement& s = database.statement("SELECT id FROM collections WHERE name = ?1").bind(1, collection);
  if (!s.step()) {
    throw Error(ErrorCode::kNotFound,
                "no collection \"" + sanitize_utf8(collection) + "\" (there are: " + collection_names(database) + ")");
  }
  const std::int64_t id = s.integer(0);
  s.reset();
  return id;
}

}  // namespace

std::int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::vector<FileLink> load_links(Database& database, const std::string& where, std::int64_t first, std::string_view second) {
  std::vector<FileLink> links;
  Statement& s = database.statement(std::string("SELECT ") + kLinkColumns + " FROM file_links" + where).bind(1, first);
  if (where.find("?2") != std::string::npos) s.bind(2, second);
  while (s.step()) links.push_back(read_link(s));
  return links;
}

std::optional<FileLink> load_link(Database& database, std::int64_t collection, std::string_view key) {
  auto links = load_links(database, " WHERE collection_id = ?1 AND file_key = ?2", collection, key);
  if (links.empty()) return std::nullopt;
  return std::move(links.front());
}

void insert_link(Database& database, FileLink& link) {
  Statement& next = database.statement("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'file_links'), 0) + 1");
  next.step();
  link.serial = next.integer(0);
  next.reset();
  Statement& s = database.statement(std::string("INSERT INTO file_links(") + kLinkColumns +
                                    ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)");
  bind_link(s, link);
  s.run();
}

void store_link(Database& database, const FileLink& link) {
  Statement& s = database.statement(std::string("UPDATE file_links SET (") + kLinkColumns +
                                    ") = (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) WHERE serial = ?1");
  bind_link(s, link);
  s.run();
}

FileLink WriteJob::link_file(std::string_view collection, std::string_view key, const FileLink& wanted) {
  attribute_texts(wanted.attributes);
  return impl_->apply([&] {
    Database& database = impl_->database;
    const std::int64_t id = id_of(database, collection);
    if (auto known = load_link(database, id, key)) {
      if (wanted.batch.empty()) return *known;
      known->batch = wanted.batch;
      store_link(database, *known);
      return *known;
    }
    const auto file = load_file(database, key);
    if (!file) throw Error(ErrorCode::kNotFound, "no file " + sanitize_utf8(key));
    FileLink link;
    link.collection = id;
    link.key = key;
    link.path = free_path(database, id, file->filename);
    link.attributes = wanted.attributes;
    link.chunk_tokens = wanted.chunk_tokens;
    link.batch = wanted.batch;
    link.created = unix_seconds();
    insert_link(database, link);
    return link;
  });
}

std::optional<FileLink> WriteJob::find_link(std::string_view collection, std::string_view key) const {
  const auto row = find_collection_row(impl_->database, collection);
  return row ? load_link(impl_->database, row->info.id, key) : std::nullopt;
}

bool WriteJob::update_link(const FileLink& link) {
  return impl_->apply([&] {
    auto stored = load_link(impl_->database, link.collection, link.key);
    if (!stored || stored->serial != link.serial) return false;
    stored->status = link.status;
    stored->searchable = link.searchable;
    stored->error_code = link.error_code;
    stored->error_message = sanitize_utf8(link.error_message);
    stored->attempts = link.attempts;
    store_link(impl_->database, *stored);
    return true;
  });
}

bool WriteJob::set_link_attributes(std::string_view collection, std::string_view key, std::string_view attributes) {
  auto texts = attribute_texts(attributes);
  std::optional<DocumentRecord> document;
  const bool known = impl_->apply([&] {
    Database& database = impl_->database;
    const std::int64_t id = id_of(database, collection);
    auto stored = load_link(database, id, key);
    if (!stored) return false;
    stored->attributes = attributes;
    store_link(database, *stored);
    if (const auto found = find_document_id(database, id, stored->path)) document = load_document(database, *found);
    return true;
  });
  if (document) {
    document->attributes = std::move(texts);
    update_document_meta(collection, *document);
  }
  return known;
}

bool WriteJob::unlink_file(std::string_view collection, std::string_view key) {
  return impl_->apply([&] { return impl_->remove_link(collection, key); });
}

bool WriteJob::Impl::remove_link(std::string_view collection, std::string_view key) {
  const std::int64_t id = id_of(database, collection);
  Statement& s = database.statement("SELECT path FROM file_links WHERE collection_id = ?1 AND file_key = ?2").bind(1, id).bind(2, key);
  if (!s.step()) return false;
  const std::string path = s.text(0);
  s.reset();
  // Only a searchable link has put its document; the path is reserved for it in any case.
  if (const auto document = find_document_id(database, id, path)) delete_document(row(collection), *document);
  database.statement("DELETE FROM file_links WHERE collection_id = ?1 AND file_key = ?2").bind(1, id).bind(2, key).run();
  return true;
}

std::size_t WriteJob::complete_links(std::string_view collection) {
  return impl_->apply([&] {
    Database& database = impl_->database;
    std::size_t completed = 0;
    for (FileLink& link : load_links(database, " WHERE collection_id = ?1 AND status = 0 AND searchable = 1 ORDER BY serial",
                                     id_of(database, collection), {})) {
      Statement& s = database.statement(
          "SELECT 1 FROM documents d JOIN chunks c ON c.document_id = d.id WHERE d.collection_id = ?1 AND d.path = ?2 AND NOT EXISTS "
          "(SELECT "
          "1 FROM embeddings e WHERE e.chunk_id = c.id) LIMIT 1");
      const bool pending = s.bind(1, link.collection).bind(2, link.path).step();
      s.reset();
      if (pending) continue;
      link.status = LinkStatus::kCompleted;
      link.attempts = 0;
      store_link(database, link);
      ++completed;
    }
    return completed;
  });
}

void WriteJob::set_card(std::string_view collection, const CollectionCard& card) {
  if (!is_valid_utf8(card.title)) throw Error(ErrorCode::kInvalidArgument, "the title is not valid UTF-8");
  require_object(card.metadata, "metadata");
  impl_->apply([&] {
    Statement& s = impl_->database.statement("UPDATE collection_cards SET title = ?2, metadata = ?3 WHERE collection_id = ?1");
    s.bind(1, id_of(impl_->database, collection)).bind(2, card.title).bind(3, card.metadata).run();
    return 0;
  });
}

std::vector<FileLink> Store::pending_links() const {
  return impl_->with_reader([](Database& reader) {
    std::vector<std::int64_t> serials;
    Statement& s = reader.statement("SELECT serial FROM file_links WHERE status = 0 ORDER BY serial");
    while (s.step()) serials.push_back(s.integer(0));
    std::vector<FileLink> links;
    for (const std::int64_t serial : serials) {
      try {
        for (FileLink& link : load_links(reader, " WHERE serial = ?1", serial, {})) links.push_back(std::move(link));
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kDamagedData) throw;
      }
    }
    return links;
  });
}

std::map<std::int64_t, CollectionCard> Store::cards() const {
  return impl_->with_reader([](Database& reader) {
    std::map<std::int64_t, CollectionCard> cards;
    Statement& s = reader.statement("SELECT collection_id, title, metadata, created FROM collection_cards");
    while (s.step()) cards[s.integer(0)] = {s.text(1), s.text(2), s.integer(3)};
    return cards;
  });
}

std::vector<FileLink> Snapshot::links() const {
  const std::lock_guard guard(impl_->mutex);
  return load_links(*impl_->database, " WHERE collection_id = ?1 ORDER BY serial", impl_->row.info.id, {});
}

std::optional<FileLink> Snapshot::find_link(std::string_view key) const {
  const std::lock_guard guard(impl_->mutex);
  return load_link(*impl_->database, impl_->row.info.id, key);
}

std::string Snapshot::file_key(std::string_view path) const {
  const std::lock_guard guard(impl_->mutex);
  Statement& s = impl_->database->statement("SELECT file_key FROM file_links WHERE collection_id = ?1 AND path = ?2");
  if (!s.bind(1, impl_->row.info.id).bind(2, path).step()) return document_key(impl_->row.info.id, path);
  std::string key = s.text(0);
  s.reset();
  return key;
}

}  // namespace gritstone

// The disk tier of the span cache: which files there are, what they are worth, and when they go.
#include <sys/stat.h>

#include <set>
#include <system_error>
#include <utility>

#include "index/gdsf.h"
#include "index/span_file.h"
#include "index/sqlite_store.h"
#include "index/sqlite_write_job.h"

namespace gritstone {
namespace {

// Quality tables share a table with certificates, whose names begin with a policy.
constexpr std::string_view kQualityPrefix = "quality|";

SpanKey key_of(std::span<const std::uint8_t> blob) {
  SpanKey key{};
  if (blob.size() == key.size()) std::copy(blob.begin(), blob.end(), key.begin());
  return key;
}

std::uint64_t total_bytes(Database& database) {
  Statement& s = database.statement("SELECT coalesce(sum(bytes), 0) FROM kv_spans");
  s.step();
  const std::int64_t bytes = s.integer(0);
  s.reset();
  return static_cast<std::uint64_t>(bytes);
}

// The priority of what was evicted last.
double clock_of(Database& database) {
  Statement& s = database.statement("SELECT value FROM meta WHERE key = 'kv_clock'");
  const double clock = s.step() ? std::stod(s.text(0)) : 0.0;
  s.reset();
  return clock;
}

void set_clock(Database& database, double clock) {
  database.statement("INSERT OR REPLACE INTO meta(key, value) VALUES('kv_clock', ?1)").bind(1, std::to_string(clock)).run();
}

bool is_kept(Database& database, const SpanKey& key) {
  Statement& s = database.statement("SELECT 1 FROM kv_spans WHERE key = ?1").bind_blob(1, key);
  const bool kept = s.step();
  s.reset();
  return kept;
}

// Content hash of the chunk, or nullopt if it is gone.
std::optional<std::vector<std::uint8_t>> content_of(Database& database, std::int64_t collection, ChunkId chunk) {
  Statement& s = database.statement("SELECT content_hash FROM chunks WHERE id = ?1 AND collection_id = ?2");
  s.bind(1, chunk).bind(2, collection);
  if (!s.step()) return std::nullopt;
  const auto blob = s.blob(0);
  std::vector<std::uint8_t> hash(blob.begin(), blob.end());
  s.reset();
  return hash;
}

SpanTierStats stats_of(Database& database, std::optional<std::int64_t> collection) {
  Statement& s = database.statement(
      "SELECT count(*), coalesce(sum(bytes), 0), coalesce(sum(tokens), 0) FROM kv_spans WHERE ?1 < 0 OR collection_id = ?1");
  s.bind(1, collection.value_or(-1)).step();
  const SpanTierStats stats{static_cast<std::size_t>(s.integer(0)), static_cast<std::uint64_t>(s.integer(1)),
                            static_cast<std::uint64_t>(s.integer(2))};
  s.reset();
  return stats;
}

std::string off_key(std::int64_t collection) { return "kv_off." + std::to_string(collection); }

bool keeps_spans_of(Database& database, std::int64_t collection) {
  Statement& s = database.statement("SELECT 1 FROM meta WHERE key = ?1").bind(1, off_key(collection));
  const bool off = s.step();
  s.reset();
  return !off;
}

// Drops the least valuable rows until `room` more bytes fit; how many went.
std::size_t evict(Database& database, std::uint64_t budget, std::uint64_t room) {
  std::size_t gone = 0;
  std::uint64_t used = total_bytes(database);
  while (used + room > budget && used > 0) {
    Statement& s = database.statement("SELECT key, bytes, priority FROM kv_spans ORDER BY priority, key LIMIT 1");
    if (!s.step()) break;
    const SpanKey key = key_of(s.blob(0));
    used -= static_cast<std::uint64_t>(s.integer(1));
    const double priority = s.real(2);
    s.reset();
    database.statement("DELETE FROM kv_spans WHERE key = ?1").bind_blob(1, key).run();
    set_clock(database, priority);
    ++gone;
  }
  return gone;
}

}  // namespace

void WriteJob::Impl::drop_orphan_spans() {
  database.execute(
      "DELETE FROM kv_spans WHERE collection_id NOT IN (SELECT id FROM collections) OR (content_hash IS NOT NULL AND NOT EXISTS (SELECT 1 "
      "FROM chunks WHERE chunks.collection_id = kv_spans.collection_id AND chunks.content_hash = kv_spans.content_hash))");
  do {
    database.execute(
        "DELETE FROM kv_spans WHERE left_key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM kv_spans l WHERE l.key = kv_spans.left_key)");
  } while (database.changes() > 0);
}

void WriteJob::Impl::sweep_span_files() {
  std::set<std::string> kept;
  Statement& s = database.statement("SELECT key FROM kv_spans");
  while (s.step()) kept.insert(to_hex(s.blob(0)) + ".kv");
  std::error_code error;
  for (std::filesystem::recursive_directory_iterator it(store / "kv", error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;  // what cannot be removed now is tried again next time
    if (it->is_regular_file(ignored) && !kept.contains(it->path().filename().string())) std::filesystem::remove(it->path(), ignored);
  }
}

std::size_t WriteJob::put_spans(std::string_view collection, std::span<const SpanPut> spans, std::uint64_t budget) {
  Impl& job = *impl_;
  job.commit();
  const auto row = find_collection_row(job.database, collection);
  if (!row) throw Error(ErrorCode::kNotFound, "no collection \"" + std::string(collection) + "\"");
  if (!keeps_spans_of(job.database, row->info.id)) return 0;
  struct Wanted {
    const SpanPut* put;
    std::optional<std::vector<std::uint8_t>> content;
  };
  std::vector<Wanted> wanted;
  std::set<SpanKey> known;
  std::uint64_t bytes = 0;
  for (const SpanPut& put : spans) {
    if (known.contains(put.key) || is_kept(job.database, put.key)) continue;
    if (put.left && !known.contains(*put.left) && !is_kept(job.database, *put.left)) continue;
    Wanted w{&put, std::nullopt};
    if (put.chunk) {
      w.content = content_of(job.database, row->info.id, *put.chunk);
      if (!w.content) continue;
    }
    const std::uint64_t size = span_file_bytes(*put.span);
    if (bytes + size > budget) continue;
    bytes += size;
    known.insert(put.key);
    wanted.push_back(std::move(w));
  }
  if (wanted.empty()) return 0;
  // Room first and files before rows: whenever the process dies, rows and files together stay within the budget, and a row has its file.
  job.begin();
  evict(job.database, budget, bytes);
  job.drop_orphan_spans();
  job.commit();
  job.sweep_span_files();
  for (const Wanted& w : wanted) write_span_file(span_file_path(job.store, w.put->key), w.put->key, w.put->ids, *w.put->span);
  job.begin();
  const double clock = clock_of(job.database);
  for (const Wanted& w : wanted) {
    const std::uint64_t size = span_file_bytes(*w.put->span);
    Statement& s = job.database.statement(
        "INSERT INTO kv_spans(key, collection_id, left_key, content_hash, tokens, bytes, cost, frequency, priority) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, 1, ?8)");
    s.bind_blob(1, w.put->key).bind(2, row->info.id);
    w.put->left ? s.bind_blob(3, *w.put->left) : s.bind_null(3);
    w.content ? s.bind_blob(4, *w.content) : s.bind_null(4);
    s.bind(5, static_cast<std::int64_t>(w.put->ids.size())).bind(6, static_cast<std::int64_t>(size)).bind_real(7, w.put->cost_seconds);
    s.bind_real(8, gdsf_priority(clock, 1, w.put->cost_seconds, size)).run();
  }
  job.drop_orphan_spans();  // eviction may have taken a left neighbour
  job.commit();
  return wanted.size();
}

void WriteJob::set_keeps_spans(std::string_view collection, bool keep) {
  Impl& job = *impl_;
  job.commit();
  const auto row = find_collection_row(job.database, collection);
  if (!row) throw Error(ErrorCode::kNotFound, "no collection \"" + std::string(collection) + "\"");
  job.begin();
  if (keep) {
    job.database.statement("DELETE FROM meta WHERE key = ?1").bind(1, off_key(row->info.id)).run();
  } else {
    job.database.statement("INSERT OR REPLACE INTO meta(key, value) VALUES(?1, '1')").bind(1, off_key(row->info.id)).run();
    job.database.statement("DELETE FROM kv_spans WHERE collection_id = ?1").bind(1, row->info.id).run();
  }
  job.commit();
  job.sweep_span_files();
}

void WriteJob::touch_spans(std::span<const SpanKey> keys) {
  impl_->begin();
  const double clock = clock_of(impl_->database);
  for (const SpanKey& key : keys) {
    Statement& s = impl_->database.statement("SELECT frequency, cost, bytes FROM kv_spans WHERE key = ?1").bind_blob(1, key);
    if (!s.step()) continue;
    const std::int64_t frequency = s.integer(0) + 1;
    const double priority =
        gdsf_priority(clock, static_cast<std::uint64_t>(frequency), s.real(1), static_cast<std::uint64_t>(s.integer(2)));
    s.reset();
    impl_->database.statement("UPDATE kv_spans SET frequency = ?2, priority = ?3 WHERE key = ?1")
        .bind_blob(1, key)
        .bind(2, frequency)
        .bind_real(3, priority)
        .run();
  }
  impl_->commit();
}

void WriteJob::put_certificate(std::string_view collection, std::string_view name, std::string_view body) {
  impl_->commit();
  const auto row = find_collection_row(impl_->database, collection);
  if (!row) throw Error(ErrorCode::kNotFound, "no collection \"" + std::string(collection) + "\"");
  impl_->begin();
  impl_->database.statement("INSERT OR REPLACE INTO certificates(collection_id, name, body) VALUES(?1, ?2, ?3)")
      .bind(1, row->info.id)
      .bind(2, name)
      .bind(3, body)
      .run();
  impl_->commit();
}

void WriteJob::put_quality_table(std::string_view collection, std::string_view model, std::string_view body) {
  put_certificate(collection, std::string(kQualityPrefix) + std::string(model), body);
}

std::size_t WriteJob::prune_spans(std::uint64_t budget) {
  impl_->commit();
  impl_->begin();
  const std::size_t gone = evict(impl_->database, budget, 0);
  impl_->drop_orphan_spans();
  impl_->commit();
  impl_->sweep_span_files();
  return gone;
}

SpanTierStats WriteJob::span_stats() const { return stats_of(impl_->database, std::nullopt); }

SpanTierStats Store::span_stats(std::optional<std::int64_t> collection) const {
  auto reader = impl_->take_reader();
  const SpanTierStats stats = stats_of(*reader, collection);
  impl_->give_back(std::move(reader));
  return stats;
}

bool Store::keeps_spans(std::int64_t collection) const {
  auto reader = impl_->take_reader();
  const bool keeps = keeps_spans_of(*reader, collection);
  impl_->give_back(std::move(reader));
  return keeps;
}

std::vector<std::string> Store::certificates(std::int64_t collection) const {
  auto reader = impl_->take_reader();
  Statement& s = reader->statement("SELECT body FROM certificates WHERE collection_id = ?1 AND name NOT LIKE ?2 || '%' ORDER BY name");
  s.bind(1, collection).bind(2, kQualityPrefix);
  std::vector<std::string> bodies;
  while (s.step()) bodies.push_back(s.text(0));
  impl_->give_back(std::move(reader));
  return bodies;
}

std::optional<std::string> Store::quality_table(std::int64_t collection, std::string_view model) const {
  auto reader = impl_->take_reader();
  Statement& s = reader->statement("SELECT body FROM certificates WHERE collection_id = ?1 AND name = ?2");
  s.bind(1, collection).bind(2, std::string(kQualityPrefix) + std::string(model));
  std::optional<std::string> body;
  if (s.step()) body = s.text(0);
  s.reset();
  impl_->give_back(std::move(reader));
  return body;
}

std::size_t Store::verify_spans() const {
  if (impl_->mode != Mode::kReadWrite)
    throw Error(ErrorCode::kInvalidArgument, "store " + impl_->path.string() + " was opened for reading");
  WriteJob::Impl job(impl_->path);
  std::vector<SpanKey> damaged;
  Statement& s = job.database.statement("SELECT key FROM kv_spans");
  while (s.step()) {
    const SpanKey key = key_of(s.blob(0));
    if (!check_span_file(span_file_path(job.store, key), key)) damaged.push_back(key);
  }
  job.begin();
  for (const SpanKey& key : damaged) job.database.statement("DELETE FROM kv_spans WHERE key = ?1").bind_blob(1, key).run();
  job.drop_orphan_spans();
  job.commit();
  job.sweep_span_files();
  return damaged.size();
}

std::string Store::id() const {
  auto reader = impl_->take_reader();
  Statement& s = reader->statement("SELECT value FROM meta WHERE key = 'store_id'");
  const std::string id = s.step() ? s.text(0) : std::string();
  s.reset();
  impl_->give_back(std::move(reader));
  return id;
}

}  // namespace gritstone

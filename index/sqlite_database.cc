#include "index/sqlite_database.h"

#include <climits>

#include "index/sqlite_bm25.h"
#include "index/sqlite_fts_tokenizer.h"

namespace gritstone {
namespace {

// Bound on what one value may hold. The largest honest one is a chunk's text; 256 MB leaves room and stops a damaged length from asking for
// 1 GB.
constexpr int kMaxValueBytes = 256 << 20;

void configure(sqlite3* connection, Database::Mode mode) {
  sqlite3_extended_result_codes(connection, 1);
  // Another process may be recovering the log or, as the writer, taking it over for a moment.
  sqlite3_busy_timeout(connection, 5000);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(connection, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
  if (mode == Database::Mode::kReader) sqlite3_db_config(connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_limit(connection, SQLITE_LIMIT_LENGTH, kMaxValueBytes);
  // VACUUM attaches the file it writes; readers attach nothing.
  sqlite3_limit(connection, SQLITE_LIMIT_ATTACHED, mode == Database::Mode::kWriter ? 1 : 0);
}

}  // namespace

void throw_sqlite_error(sqlite3* connection, int code, const std::string& path) {
  const std::string reason = path + ": " + (connection != nullptr ? sqlite3_errmsg(connection) : sqlite3_errstr(code));
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      throw Error(ErrorCode::kLocked, "database is busy: " + reason);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_ERROR:  // our SQL is fixed, so an unknown table or column means a schema that is not ours
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
      throw Error(ErrorCode::kDamagedData, "database is damaged: " + reason);
    case SQLITE_INTERRUPT:
      throw Error(ErrorCode::kCancelled, "query was interrupted: " + reason);
    case SQLITE_TOOBIG:
      throw Error(ErrorCode::kInvalidArgument, "value too large for the database: " + reason);
    default:
      throw Error(ErrorCode::kStorage, "cannot access the database: " + reason);
  }
}

Statement::Statement(sqlite3* connection, std::string_view sql, const std::string* path) : connection_(connection), path_(path) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(connection, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  statement_.reset(statement);
  check(code);
}

void Statement::check(int code) const {
  if (code != SQLITE_OK) throw_sqlite_error(connection_, code, *path_);
}

Statement& Statement::bind(int index, std::int64_t value) {
  check(sqlite3_bind_int64(statement_.get(), index, value));
  return *this;
}

Statement& Statement::bind_real(int index, double value) {
  check(sqlite3_bind_double(statement_.get(), index, value));
  return *this;
}

Statement& Statement::bind(int index, std::string_view text) {
  // A null pointer would bind NULL, not the empty string.
  const char* data = text.data() == nullptr ? "" : text.data();
  check(sqlite3_bind_text64(statement_.get(), index, data, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind_blob(int index, std::span<const std::uint8_t> bytes) {
  const void* data = bytes.data() == nullptr ? static_cast<const void*>("") : bytes.data();
  check(sqlite3_bind_blob64(statement_.get(), index, data, bytes.size(), SQLITE_TRANSIENT));
  return *this;
}

Statement& Statement::bind_null(int index) {
  check(sqlite3_bind_null(statement_.get(), index));
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) {
    // The message must be read before reset() replaces it.
    try {
      throw_sqlite_error(connection_, code, *path_);
    } catch (...) {
      reset();
      throw;
    }
  }
  reset();
  return false;
}

void Statement::run() {
  while (step()) {
  }
}

void Statement::reset() noexcept {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

std::int64_t Statement::integer(int column) const noexcept { return sqlite3_column_int64(statement_.get(), column); }
double Statement::real(int column) const noexcept { return sqlite3_column_double(statement_.get(), column); }
bool Statement::is_null(int column) const noexcept { return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL; }

std::string Statement::text(int column) const {
  const unsigned char* data = sqlite3_column_text(statement_.get(), column);
  if (data == nullptr) return {};
  return {reinterpret_cast<const char*>(data), static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

std::span<const std::uint8_t> Statement::blob(int column) const noexcept {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  if (data == nullptr) return {};
  return {static_cast<const std::uint8_t*>(data), static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

Database::Database(const std::filesystem::path& file, Mode mode) : path_(file.string()) {
  if (!std::filesystem::exists(file)) throw Error(ErrorCode::kNotFound, "no store database at " + path_);
  sqlite3* connection = nullptr;
  const int flags = (mode == Mode::kWriter ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
  const int code = sqlite3_open_v2(path_.c_str(), &connection, flags, nullptr);
  connection_.reset(connection);
  if (code != SQLITE_OK) throw_sqlite_error(connection, code, path_);
  configure(connection, mode);
  register_fts_tokenizer(connection, analyzers_, path_);
  register_bm25(connection, path_);
  execute("PRAGMA cell_size_check=ON");
  execute("PRAGMA mmap_size=0");
  execute("PRAGMA temp_store=MEMORY");
  execute("PRAGMA foreign_keys=ON");
  // 32 MiB: the BM25 index and the row tables of some 10,000 chunks.
  execute("PRAGMA cache_size=-32768");
  if (mode == Mode::kReader) {
    execute("PRAGMA wal_autocheckpoint=0");
    execute("PRAGMA query_only=ON");
    return;
  }
  execute("PRAGMA journal_mode=WAL");
  execute("PRAGMA synchronous=FULL");
  execute("PRAGMA journal_size_limit=67108864");
}

Database::~Database() { statements_.clear(); }

void Database::execute(const std::string& sql) {
  Statement statement(connection_.get(), sql, &path_);
  statement.run();
}

Statement& Database::statement(const std::string& sql) {
  auto& slot = statements_[sql];
  if (slot == nullptr) {
    slot = std::make_unique<Statement>(connection_.get(), sql, &path_);
  } else {
    slot->reset();
  }
  return *slot;
}

std::int64_t Database::last_insert_id() const noexcept { return sqlite3_last_insert_rowid(connection_.get()); }
std::int64_t Database::changes() const noexcept { return sqlite3_changes64(connection_.get()); }
bool Database::in_transaction() const noexcept { return sqlite3_get_autocommit(connection_.get()) == 0; }

}  // namespace gritstone

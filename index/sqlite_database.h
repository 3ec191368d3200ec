// SQLite behind RAII: connections, statements, transactions, and the one place where its errors become ours.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "index/text_analysis.h"

namespace gritstone {

// A prepared statement of a Database. Borrowed cursor: reset() (or the next bind after a finished step) makes it reusable.
class Statement {
 public:
  Statement(sqlite3* connection, std::string_view sql, const std::string* path);

  // Parameters are numbered from 1. Text and blobs are copied. Throws Error(kStorage) out of memory.
  Statement& bind(int index, std::int64_t value);
  Statement& bind(int index, std::string_view text);
  Statement& bind_real(int index, double value);
  Statement& bind_blob(int index, std::span<const std::uint8_t> bytes);
  Statement& bind_null(int index);

  // True: a row is there. False: done (the statement is reset and its bindings cleared).
  bool step();
  // For statements without rows.
  void run();
  void reset() noexcept;

  std::int64_t integer(int column) const noexcept;
  double real(int column) const noexcept;
  std::string text(int column) const;                             // NULL = empty
  std::span<const std::uint8_t> blob(int column) const noexcept;  // valid until the next step
  bool is_null(int column) const noexcept;

 private:
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };
  void check(int code) const;
  sqlite3* connection_;
  const std::string* path_;
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
};

// One connection. Used from one thread at a time. Our full-text tokenizer and ranking function are registered on it.
class Database {
 public:
  enum class Mode {
    kReader,  // read-only, never checkpoints: see docs/STORE_FORMAT.md on the WAL race that this rules out
    kWriter,  // the only writing and checkpointing connection; the caller holds the write lock
  };

  // Throws Error: kNotFound (no file), kStorage, kDamagedData (not a database).
  Database(const std::filesystem::path& file, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void execute(const std::string& sql);
  // Prepared once per connection and text, reset when asked for again. The reference lives as long as the connection or
  // forget_statements().
  Statement& statement(const std::string& sql);
  // Before dropping tables: a cached statement would hold them.
  void forget_statements() noexcept { statements_.clear(); }
  std::int64_t last_insert_id() const noexcept;
  std::int64_t changes() const noexcept;
  bool in_transaction() const noexcept;
  const std::string& path() const noexcept { return path_; }
  sqlite3* handle() const noexcept { return connection_.get(); }
  // Kept with the connection so that stemmers and break iterators are opened once.
  AnalyzerCache& analyzers() noexcept { return analyzers_; }

 private:
  struct Closer {
    void operator()(sqlite3* connection) const noexcept { sqlite3_close_v2(connection); }
  };
  std::string path_;
  AnalyzerCache analyzers_;
  std::unique_ptr<sqlite3, Closer> connection_;
  std::map<std::string, std::unique_ptr<Statement>, std::less<>> statements_;
};

// Throws the Error that a SQLite result code stands for; `path` is the database file.
[[noreturn]] void throw_sqlite_error(sqlite3* connection, int code, const std::string& path);

}  // namespace gritstone

#include "index/sqlite_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include "index/sqlite_schema.h"
#include "index/sqlite_vectors.h"
#include "index/sqlite_write_job.h"

namespace gritstone {
namespace {

// More idle connections than parallel requests a small machine serves would only hold caches.
constexpr std::size_t kMaxIdleReaders = 8;

std::filesystem::path database_file(const std::filesystem::path& store) { return store / "gritstone.db"; }

void require_private(const std::filesystem::path& store) {
  struct stat status {};
  if (::stat(store.c_str(), &status) != 0) {
    throw Error(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kStorage,
                "cannot read store " + store.string() + ": " + std::strerror(errno));
  }
  if (!S_ISDIR(status.st_mode)) throw Error(ErrorCode::kInvalidArgument, "store " + store.string() + " is not a directory");
  if (status.st_uid != ::geteuid()) {
    throw Error(ErrorCode::kInvalidArgument, "store " + store.string() + " belongs to user " + std::to_string(status.st_uid));
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    throw Error(ErrorCode::kInvalidArgument,
                "store " + store.string() + " is writable by other users (run: chmod 700 " + store.string() + ")");
  }
}

void create_store_directory(const std::filesystem::path& store) {
  std::error_code error;
  if (store.has_parent_path()) std::filesystem::create_directories(store.parent_path(), error);
  if (::mkdir(store.c_str(), 0700) != 0 && errno != EEXIST) {
    throw Error(ErrorCode::kStorage, "cannot create store " + store.string() + ": " + std::strerror(errno));
  }
}

// SQLite would create it readable by others; its -wal and -shm files take over the mode.
void create_database_file(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) throw Error(ErrorCode::kStorage, "cannot create " + file.string() + ": " + std::strerror(errno));
  ::close(fd);
}

// 0: there is no database.
std::int64_t schema_version(const std::filesystem::path& store) {
  if (!std::filesystem::exists(database_file(store))) return 0;
  Database reader(database_file(store), Database::Mode::kReader);
  Statement& s = reader.statement("PRAGMA user_version");
  const std::int64_t version = s.step() ? s.integer(0) : 0;
  s.reset();
  return version;
}

}  // namespace

bool is_valid_collection_name(std::string_view name) noexcept {
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= 64 && alphanumeric(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return alphanumeric(c) || c == '_' || c == '-'; });
}

std::unique_ptr<Database> Store::Impl::take_reader() {
  {
    const std::lock_guard guard(mutex_);
    if (!idle_.empty()) {
      auto reader = std::move(idle_.back());
      idle_.pop_back();
      return reader;
    }
  }
  return std::make_unique<Database>(database_file(path), Database::Mode::kReader);
}

void Store::Impl::give_back(std::unique_ptr<Database> reader) noexcept {
  try {
    const std::lock_guard guard(mutex_);
    if (idle_.size() < kMaxIdleReaders) idle_.push_back(std::move(reader));
  } catch (const std::exception&) {
    // No memory to keep it: the connection closes.
  }
}

std::shared_ptr<const VectorIndex> Store::Impl::vectors(Database& reader, const CollectionRow& row) {
  if (row.info.embedded_chunks == 0) return nullptr;
  const std::lock_guard guard(vectors_mutex_);
  CachedVectors& cached = vectors_[row.info.id];
  if (cached.index != nullptr && cached.token == row.vectors_token) return cached.index;
  std::string why;
  auto index = vectors_from_file(path, reader, row, why);
  if (index == nullptr) {
    index = vectors_from_rows(reader, row);
    if (mode == Mode::kReadWrite && index->damaged_rows() == 0) {
      try {
        write_vector_file(path, reader, row, *index);
      } catch (const Error&) {
        // Derived data: the next reader builds it again.
      }
    }
  }
  cached = {row.vectors_token, index};
  return index;
}

Store::Store(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

std::unique_ptr<Store> Store::open(const std::filesystem::path& path, Mode mode) {
  if (mode == Mode::kReadWrite) create_store_directory(path);
  require_private(path);
  const std::int64_t version = schema_version(path);
  // A reader too brings an older store up to date: it could not read it otherwise.
  if (version < kSchemaVersion && (mode == Mode::kReadWrite || version > 0)) {
    const WriteLock lock(path);
    create_database_file(database_file(path));
    Database writer(database_file(path), Database::Mode::kWriter);
    migrate_schema(writer);
  }
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->mode = mode;
  auto reader = impl->take_reader();
  require_schema(*reader);
  impl->give_back(std::move(reader));
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

const std::filesystem::path& Store::path() const noexcept { return impl_->path; }

std::unique_ptr<WriteJob> Store::begin_write() {
  if (impl_->mode != Mode::kReadWrite)
    throw Error(ErrorCode::kInvalidArgument, "store " + impl_->path.string() + " was opened for reading");
  return std::unique_ptr<WriteJob>(new WriteJob(std::make_unique<WriteJob::Impl>(impl_->path)));
}

std::unique_ptr<WriteJob> Store::begin_write(std::chrono::milliseconds patience, const std::stop_token& stop) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (true) {
    try {
      return begin_write();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kLocked || std::chrono::steady_clock::now() >= end) throw;
    }
    if (stop.stop_requested()) throw Error(ErrorCode::kCancelled, "stopped while another writer held the store");
    // Write jobs of a server last milliseconds, those of the command line seconds.
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

std::vector<CollectionInfo> Store::collections() const {
  auto reader = impl_->take_reader();
  std::vector<CollectionInfo> infos;
  for (CollectionRow& row : all_collection_rows(*reader)) infos.push_back(std::move(row.info));
  impl_->give_back(std::move(reader));
  return infos;
}

std::optional<CollectionInfo> Store::find_collection(std::string_view name) const {
  auto reader = impl_->take_reader();
  auto row = find_collection_row(*reader, name);
  impl_->give_back(std::move(reader));
  if (!row) return std::nullopt;
  return std::move(row->info);
}

std::shared_ptr<const Snapshot> Store::snapshot(std::string_view collection) const {
  return std::shared_ptr<const Snapshot>(new Snapshot(std::make_unique<Snapshot::Impl>(impl_, collection)));
}

}  // namespace gritstone

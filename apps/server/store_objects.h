// Uploaded files and vector stores as OpenAI's objects.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "apps/json_output.h"
#include "index/store.h"

namespace gritstone {

// "file-" + key, and back; absent if it is no id of a file.
std::string file_id(std::string_view key);
std::optional<std::string> file_key_of(std::string_view id);
// "vs_" + name of the collection, and back.
std::string vector_store_id(std::string_view collection);
std::optional<std::string> collection_of(std::string_view id);

void write_file(JsonOutput& json, const UploadedFile& file);

struct FileCounts {
  std::size_t in_progress = 0, completed = 0, failed = 0, cancelled = 0;
  std::size_t total() const noexcept { return in_progress + completed + failed + cancelled; }
  void add(LinkStatus status);
};
void write_file_counts(JsonOutput& json, const FileCounts& counts);
// Files of the collection by status; documents that were not uploaded are completed.
FileCounts count_files(const Snapshot& snapshot);

void write_vector_store(JsonOutput& json, const Snapshot& snapshot, const CollectionCard& card);

// A file of a vector store: uploaded, or a document that the command line indexed.
struct StoreFile {
  std::string key;
  std::optional<FileLink> link;            // uploaded
  std::optional<DocumentRecord> document;  // absent until it is searchable
  std::int64_t created = 0;
};
// Absent: none with this key.
std::optional<StoreFile> find_store_file(const Snapshot& snapshot, const std::string& key);
// uncommitted: of the collection's missing vectors so many are computed already (IngestService::uncommitted()); the file gets its share.
void write_store_file(JsonOutput& json, const Snapshot& snapshot, const StoreFile& file, std::size_t uncommitted);
// Attributes as a JSON object: of an upload as they were given, of other documents as strings.
std::string attributes_json(const StoreFile& file);

}  // namespace gritstone

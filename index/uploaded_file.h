// Files that clients uploaded, and how each was put into collections. Rows of gritstone.db; the bytes lie under STORE/files/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/hash.h"

namespace gritstone {

struct UploadedFile {
  std::string key;       // 24 hex digits, random: names the bytes on disk and, over HTTP, the file ("file-" + key)
  std::string filename;  // as label_of() leaves the client's; never a path on disk
  std::string purpose;
  std::uint64_t bytes = 0;
  Sha256Digest sha256{};
  std::int64_t created = 0;  // seconds since 1970 UTC
};

enum class LinkStatus { kInProgress, kCompleted, kFailed, kCancelled };
std::string_view link_status_name(LinkStatus status) noexcept;  // "in_progress", "completed", "failed", "cancelled"

// A file in a collection. What is kInProgress is the queue of the background indexer (pipelines/background_ingest.h), so it survives a
// restart. The document itself has `path` and appears with the commit that makes the link searchable.
struct FileLink {
  std::int64_t collection = 0;
  std::string key;                 // of the file
  std::string path;                // of the document: the file's name, made unique in the collection ("notes (2).md")
  std::string attributes = "{}";   // JSON object of strings, numbers and booleans
  std::size_t chunk_tokens = 256;  // longest passage
  std::string batch;               // hex digits; empty: added alone
  LinkStatus status = LinkStatus::kInProgress;
  bool searchable = false;    // the text is committed; vectors follow
  std::string error_code;     // kFailed: "unsupported_file", "invalid_file", "server_error"
  std::string error_message;  // kFailed: for people
  std::size_t attempts = 0;   // begun so often without coming to an end
  std::int64_t created = 0;   // seconds since 1970 UTC
  std::int64_t serial = 0;    // order of creation in the store
};

// What a client may say about a collection; the collection itself does not depend on it.
struct CollectionCard {
  std::string title;            // as given; the collection's name is made from it
  std::string metadata = "{}";  // JSON object of strings
  std::int64_t created = 0;     // seconds since 1970 UTC; of a collection from before schema version 3: of its migration
};

// The last component of a client's file name ("a/b.md", "C:\\b.md" -> "b.md") without control characters, malformed UTF-8 replaced, at most
// 255 bytes; "file" where nothing is left. Only ever a label: no file on disk gets this name.
std::string label_of(std::string_view client_name);

// The path that a document called `label` gets where `n - 1` others have the name already: "notes.md", "notes (2).md", ...
std::string numbered_label(std::string_view label, std::size_t n);

// Key of a document that was not uploaded (the command line's), so that it can be named like a file: 24 hex digits that depend on the
// collection and the path alone.
std::string document_key(std::int64_t collection, std::string_view path);

// Attributes as documents carry them: FileLink::attributes as texts ("2024", "true", "Ada"). Throws Error(kInvalidArgument) if it is not
// a JSON object of strings, numbers and booleans.
std::map<std::string, std::string> attribute_texts(std::string_view json);

}  // namespace gritstone

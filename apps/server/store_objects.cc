#include "apps/server/store_objects.h"

#include <algorithm>

namespace gritstone {
namespace {

// Of passages: their text, and 2 bytes a number of their vectors.
std::uint64_t usage_bytes(const CollectionInfo& info) { return info.text_bytes + info.embedded_chunks * info.dim * 2; }

void write_null(JsonOutput& json, const char* key) {
  json.key(key);
  json.null();
}

// Beyond OpenAI's: how far indexing is. "queued", "vectors" (searchable by words; of `total` passages `done` have a vector), "done".
void write_progress(JsonOutput& json, const Snapshot& snapshot, const StoreFile& file, std::size_t uncommitted) {
  const std::size_t total = file.document ? file.document->chunks : 0;
  std::size_t done = file.document ? snapshot.embedded_chunks(file.document->id) : 0;
  const bool ended = file.link && file.link->status != LinkStatus::kInProgress;
  const char* stage = ended || (file.document && done == total) ? "done" : file.document ? "vectors" : "queued";
  // An estimate between commits, and never the whole: that a commit must say.
  const std::size_t missing = snapshot.info().chunks - std::min(snapshot.info().embedded_chunks, snapshot.info().chunks);
  if (done < total && missing > 0) done += std::min((total - done) * std::min(uncommitted, missing) / missing, total - done - 1);
  json.begin_object("progress").field("stage", stage).field("done", done).field("total", total).end_object();
}

}  // namespace

std::string file_id(std::string_view key) { return "file-" + std::string(key); }

std::optional<std::string> file_key_of(std::string_view id) {
  if (!id.starts_with("file-")) return std::nullopt;
  id.remove_prefix(5);
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (id.size() != 24 || !std::all_of(id.begin(), id.end(), hex)) return std::nullopt;
  return std::string(id);
}

std::string vector_store_id(std::string_view collection) { return "vs_" + std::string(collection); }

std::optional<std::string> collection_of(std::string_view id) {
  if (!id.starts_with("vs_") || !is_valid_collection_name(id.substr(3))) return std::nullopt;
  return std::string(id.substr(3));
}

void write_file(JsonOutput& json, const UploadedFile& file) {
  json.begin_object().field("id", file_id(file.key)).field("object", "file").field("bytes", file.bytes).field("created_at", file.created);
  write_null(json, "expires_at");
  json.field("filename", file.filename).field("purpose", file.purpose).field("status", "processed");
  write_null(json, "status_details");
  json.end_object();
}

void FileCounts::add(LinkStatus status) {
  switch (status) {
    case LinkStatus::kInProgress:
      ++in_progress;
      break;
    case LinkStatus::kCompleted:
      ++completed;
      break;
    case LinkStatus::kFailed:
      ++failed;
      break;
    case LinkStatus::kCancelled:
      ++cancelled;
      break;
  }
}

void write_file_counts(JsonOutput& json, const FileCounts& counts) {
  json.begin_object("file_counts").field("in_progress", counts.in_progress).field("completed", counts.completed);
  json.field("failed", counts.failed).field("cancelled", counts.cancelled).field("total", counts.total()).end_object();
}

FileCounts count_files(const Snapshot& snapshot) {
  FileCounts counts;
  std::size_t uploaded = 0;  // of the documents
  for (const FileLink& link : snapshot.links()) {
    counts.add(link.status);
    uploaded += link.searchable ? 1 : 0;
  }
  counts.completed += snapshot.info().documents - std::min(uploaded, snapshot.info().documents);
  return counts;
}

void write_vector_store(JsonOutput& json, const Snapshot& snapshot, const CollectionCard& card) {
  const CollectionInfo& info = snapshot.info();
  const FileCounts counts = count_files(snapshot);
  json.begin_object().field("id", vector_store_id(info.name)).field("object", "vector_store").field("created_at", card.created);
  json.field("name", card.title).field("usage_bytes", usage_bytes(info));
  write_file_counts(json, counts);
  json.field("status", counts.in_progress > 0 ? "in_progress" : "completed");
  for (const char* key : {"expires_after", "expires_at", "last_active_at"}) write_null(json, key);
  json.key("metadata").raw(card.metadata);
  // Ours: the name in model "gritstone/NAME" and on the command line, and how much there is.
  json.field("collection", info.name).field("generation", info.generation).field("documents", info.documents);
  json.field("passages", info.chunks).field("passages_with_vectors", info.embedded_chunks).end_object();
}

std::optional<StoreFile> find_store_file(const Snapshot& snapshot, const std::string& key) {
  StoreFile file;
  file.key = key;
  if ((file.link = snapshot.find_link(key))) {
    file.created = file.link->created;
    if (file.link->searchable) file.document = snapshot.find_document(file.link->path);
    return file;
  }
  for (const Snapshot::DocumentName& name : snapshot.document_names()) {
    if (document_key(snapshot.info().id, name.path) != key) continue;
    // Uploaded documents answer to their file's key alone.
    if (snapshot.file_key(name.path) != key) return std::nullopt;
    file.document = snapshot.document(name.id);
    file.created = name.mtime_ns / 1'000'000'000;
    return file;
  }
  return std::nullopt;
}

std::string attributes_json(const StoreFile& file) {
  if (file.link) return file.link->attributes;
  JsonOutput json;
  json.begin_object();
  if (file.document) {
    for (const auto& [key, value] : file.document->attributes) json.field(key, value);
  }
  json.end_object();
  return json.text();
}

void write_store_file(JsonOutput& json, const Snapshot& snapshot, const StoreFile& file, std::size_t uncommitted) {
  const CollectionInfo& info = snapshot.info();
  const LinkStatus status = file.link ? file.link->status : LinkStatus::kCompleted;
  std::uint64_t bytes = 0;
  if (file.document) bytes = file.document->size + snapshot.embedded_chunks(file.document->id) * info.dim * 2;
  json.begin_object().field("id", file_id(file.key)).field("object", "vector_store.file").field("created_at", file.created);
  json.field("usage_bytes", bytes).field("vector_store_id", vector_store_id(info.name)).field("status", link_status_name(status));
  if (status == LinkStatus::kFailed) {
    json.begin_object("last_error").field("code", file.link->error_code).field("message", file.link->error_message).end_object();
  } else {
    write_null(json, "last_error");
  }
  const std::size_t tokens = file.link ? file.link->chunk_tokens : ChunkerOptions{}.max_tokens;
  json.begin_object("chunking_strategy").field("type", "static").begin_object("static").field("max_chunk_size_tokens", tokens);
  json.field("chunk_overlap_tokens", 0).end_object().end_object();
  json.key("attributes").raw(attributes_json(file));
  json.field("filename", file.link ? file.link->path : file.document ? file.document->path : std::string());
  write_progress(json, snapshot, file, uncommitted);
  json.end_object();
}

}  // namespace gritstone

#include "pipelines/index_upload.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "index/document_reader.h"
#include "pipelines/embedder_setup.h"

namespace gritstone {
namespace {

struct Failure {
  std::string code;
  std::string message;
};

// Formats that pass for text because they are written in ASCII.
std::optional<std::string> foreign_format(std::string_view bytes) {
  const std::pair<std::string_view, const char*> kMagic[] = {{"%PDF-", "PDF"}, {"%!PS", "PostScript"}, {"{\\rtf", "RTF"}};
  for (const auto& [magic, name] : kMagic) {
    if (bytes.starts_with(magic)) return std::string(name) + " files are not supported; upload text, Markdown or HTML";
  }
  return std::nullopt;
}

// Cutting a large file takes seconds; this is where it can be stopped.
class StoppableCounter final : public TokenCounter {
 public:
  StoppableCounter(const TokenCounter& counter, const std::stop_token& stop) : counter_(counter), stop_(stop) {}
  std::size_t count(std::string_view text) const override {
    if (stop_.stop_requested()) throw Error(ErrorCode::kCancelled, "indexing was stopped");
    return counter_.count(text);
  }

 private:
  const TokenCounter& counter_;
  const std::stop_token& stop_;
};

class Upload {
 public:
  Upload(Store& store, FileLink link, const ModelParts& model, std::chrono::milliseconds patience, const std::stop_token& stop)
      : store_(store), link_(std::move(link)), model_(model), patience_(patience), stop_(stop) {}

  UploadOutcome run() {
    if (!claim()) return UploadOutcome::kCancelled;
    try {
      return index();
    } catch (const Error& error) {
      // Being stopped, or having to wait for another writer, is no attempt that failed.
      if (error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kLocked) unclaim();
      throw;
    }
  }

 private:
  UploadOutcome index() {
    if (link_.attempts > kMaxAttempts) {
      return fail({"server_error", "indexing this file was interrupted " + std::to_string(kMaxAttempts) + " times"});
    }
    const auto file = store_.find_file(link_.key);
    if (!file) return UploadOutcome::kCancelled;
    std::string bytes;
    try {
      bytes = store_.file_bytes(link_.key);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kNotFound) return UploadOutcome::kCancelled;
      if (error.code() != ErrorCode::kDamagedData) throw;
      return fail({"server_error", "the stored bytes of this file are damaged; upload it again"});
    }
    DocumentMeta meta;
    meta.path = link_.path;
    meta.sha256 = file->sha256;
    meta.size = file->bytes;
    meta.mtime_ns = file->created * 1'000'000'000;
    meta.attributes = attribute_texts(link_.attributes);
    std::vector<Chunk> chunks;
    if (auto failure = read(bytes, file->filename, meta, chunks)) return fail(*failure);
    bytes.clear();
    return put(meta, chunks);
  }

  // Counts the attempt before anything can go wrong, and looks at the link as it is now.
  bool claim() {
    const auto job = store_.begin_write(patience_, stop_);
    const auto now = current(*job);
    if (!now) return false;
    link_ = *now;
    ++link_.attempts;
    job->update_link(link_);
    job->commit();
    return true;
  }

  void unclaim() {
    try {
      const auto job = store_.begin_write(std::chrono::milliseconds(500));
      auto now = current(*job);
      if (!now || now->attempts == 0) return;
      --now->attempts;
      job->update_link(*now);
      job->commit();
    } catch (const Error&) {
      // Then it counts; kMaxAttempts leaves room for that.
    }
  }

  // The link, if it is the one that we were given and still wanted.
  std::optional<FileLink> current(const WriteJob& job) {
    const auto collections = store_.collections();
    const auto info = std::find_if(collections.begin(), collections.end(), [&](const auto& c) { return c.id == link_.collection; });
    if (info == collections.end()) return std::nullopt;
    collection_ = *info;
    auto now = job.find_link(info->name, link_.key);
    if (!now || now->serial != link_.serial || now->status != LinkStatus::kInProgress) return std::nullopt;
    return now;
  }

  std::optional<Failure> read(std::string_view bytes, std::string_view filename, DocumentMeta& meta, std::vector<Chunk>& chunks) const {
    const DocumentType type = document_type_of(filename).value_or(DocumentType::kText);
    meta.type = document_type_name(type);
    if (auto format = foreign_format(bytes)) return Failure{"unsupported_file", *format};
    const ReadResult content = read_document(bytes, type);
    if (!content.document) {
      const bool binary = content.skip_reason.starts_with("binary");
      return Failure{binary ? "unsupported_file" : "invalid_file", "the file cannot be read: " + content.skip_reason};
    }
    meta.title = content.document->title;
    ChunkerOptions options;
    options.max_tokens = std::max<std::size_t>(16, link_.chunk_tokens);
    chunks = chunk_document(*content.document, StoppableCounter(*model_.tokenizer, stop_), options);
    if (chunks.empty()) return Failure{"invalid_file", "the file has no text"};
    return std::nullopt;
  }

  UploadOutcome put(const DocumentMeta& meta, const std::vector<Chunk>& chunks) {
    auto job = store_.begin_write(patience_, stop_);
    const auto now = current(*job);
    if (!now) return UploadOutcome::kCancelled;
    link_ = *now;
    try {
      const EmbedderManifest manifest = resolve_manifest(model_, collection_, {});
      if (!manifest_from_json(collection_.manifest)) job->set_manifest(collection_.name, manifest_to_json(manifest));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInvalidArgument) throw;
      job.reset();
      return fail({"server_error", error.what()});
    }
    DocumentMeta put = meta;
    put.attributes = attribute_texts(link_.attributes);  // they may have been changed since
    job->put_document(collection_.name, put, chunks);
    link_.searchable = true;
    link_.attempts = 0;
    job->update_link(link_);
    job->complete_links(collection_.name);  // equal passages may have their vectors already
    job->commit();
    return UploadOutcome::kIndexed;
  }

  UploadOutcome fail(const Failure& failure) {
    return fail_link(store_, link_, failure.code, failure.message, patience_, stop_) ? UploadOutcome::kFailed : UploadOutcome::kCancelled;
  }

  Store& store_;
  FileLink link_;
  const ModelParts& model_;
  const std::chrono::milliseconds patience_;
  const std::stop_token& stop_;
  CollectionInfo collection_;
};

}  // namespace

UploadOutcome index_upload(Store& store, const FileLink& link, const ModelParts& model, std::chrono::milliseconds patience,
                           const std::stop_token& stop) {
  return Upload(store, link, model, patience, stop).run();
}

bool fail_link(Store& store, const FileLink& link, const std::string& code, const std::string& message, std::chrono::milliseconds patience,
               const std::stop_token& stop) {
  const auto job = store.begin_write(patience, stop);
  FileLink failed = link;
  failed.status = LinkStatus::kFailed;
  failed.error_code = code;
  failed.error_message = message;
  failed.attempts = 0;
  const bool there = job->update_link(failed);
  job->commit();
  return there;
}

}  // namespace gritstone

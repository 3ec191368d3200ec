// One uploaded file into one collection: read, cut, commit text and BM25. Vectors follow (pipelines/background_ingest.h).
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>

#include "base/token_counter.h"
#include "index/store.h"
#include "pipelines/model_parts.h"

namespace gritstone {

// Times that indexing a file may begin without coming to an end (the process died) before the file is given up.
inline constexpr std::size_t kMaxAttempts = 3;

enum class UploadOutcome {
  kIndexed,    // the text is committed
  kFailed,     // the link says why
  kCancelled,  // the link, the file or the collection went meanwhile; nothing of it remains
};

// What happens when the process dies in between: the link stays in progress, and the next call indexes the same document again.
// Holds the write lock for single commits and waits `patience` for it. Throws Error: kLocked, kCancelled (stop), kStorage: the link is then
// as it was, try again later.
UploadOutcome index_upload(Store& store, const FileLink& link, const ModelParts& model, std::chrono::milliseconds patience,
                           const std::stop_token& stop);

// Marks the link as failed; false if it is gone. Throws as index_upload().
bool fail_link(Store& store, const FileLink& link, const std::string& code, const std::string& message, std::chrono::milliseconds patience,
               const std::stop_token& stop);

}  // namespace gritstone

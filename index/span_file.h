// One KV span in one file: written whole or not at all, verified before it is used. Format: docs/STORE_FORMAT.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "base/kv_span.h"
#include "index/span_key.h"

namespace gritstone {

// STORE/kv/<first two hex digits>/<key>.kv
std::filesystem::path span_file_path(const std::filesystem::path& store, const SpanKey& key);

// Bytes the file of such a span has.
std::uint64_t span_file_bytes(const KvSpan& span);

// Creates the directories (0700) as needed. Throws Error(kStorage).
void write_span_file(const std::filesystem::path& path, const SpanKey& key, std::span<const std::int32_t> ids, const KvSpan& span);

// The span, its bytes mapped from the file; nullptr if there is no such file or anything in it does not match: key, token ids, sizes, the
// checksum of the header and of every layer. A damaged file is removed if possible, so that it is computed again.
std::shared_ptr<const KvSpan> open_span_file(const std::filesystem::path& path, const SpanKey& key, std::span<const std::int32_t> ids);

// Whether the file is whole and holds the span of this key.
bool check_span_file(const std::filesystem::path& path, const SpanKey& key);

}  // namespace gritstone

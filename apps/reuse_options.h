// The options of the span cache, for the commands that answer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "apps/cli_session.h"
#include "index/span_cache.h"
#include "pipelines/reuse_policy.h"

namespace gritstone {

struct ReuseFlags {
  std::string policy = "auto";
  std::string span_type = "int8";
  std::uint64_t ram_mb = 1024;
  std::uint64_t disk_mb = 8192;

  // mode: what the store was opened in. Loads the model's weights and hash.
  SpanCacheOptions cache_options(Store::Mode mode, const ModelParts& parts) const;
  KvType span_kv_type() const noexcept;
  // kReadWrite if spans can be kept on disk: a store on a read-only medium still answers.
  Store::Mode store_mode(CliSession& session) const;
};

// Where this machine's measurements of the model are remembered: one file per model, kernels and threads, because that is what they depend
// on. Empty if there is no place for it.
std::filesystem::path measurements_file(const ModelParts& parts, std::string_view what);

// `flags` must outlive the parse. add_span_flags: only how spans are kept (--span-type, --cache-disk).
void add_span_flags(CLI::App& command, ReuseFlags& flags);
void add_reuse_flags(CLI::App& command, ReuseFlags& flags);

// Writes new spans to disk. A full disk or another writer costs the cache, not the answer: both are only told.
void keep_spans(CliSession& session, SpanCache& cache);

}  // namespace gritstone

#include "apps/reuse_options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>

#include "base/cache_directory.h"
#include "base/error.h"

namespace gritstone {
namespace {

constexpr const char* kGroup = "Reuse of computed passages";

}  // namespace

KvType ReuseFlags::span_kv_type() const noexcept { return kv_type_from_name(span_type).value_or(KvType::kInt8); }

SpanCacheOptions ReuseFlags::cache_options(Store::Mode mode, const ModelParts& parts) const {
  SpanCacheOptions options{ram_mb << 20, mode == Store::Mode::kReadWrite ? disk_mb << 20 : 0, {}, true};
  options.costs_file = measurements_file(parts, "spans");
  return options;
}

std::filesystem::path measurements_file(const ModelParts& parts, std::string_view what) {
  const std::filesystem::path directory = cache_directory("costs");
  if (directory.empty()) return {};
  return directory / (parts.hash().substr(0, 16) + "-" + parts.engine().numerics_id() + "-" + std::to_string(parts.engine().threads()) +
                      "-" + std::string(what) + ".json");
}

Store::Mode ReuseFlags::store_mode(CliSession& session) const {
  const std::filesystem::path database = session.store_path() / "gritstone.db";
  return policy != "none" && disk_mb > 0 && ::access(database.c_str(), W_OK) == 0 ? Store::Mode::kReadWrite : Store::Mode::kRead;
}

void add_span_flags(CLI::App& command, ReuseFlags& flags) {
  command.add_option("--span-type", flags.span_type, "Type passages' states are kept in: bf16, int8 or int4")
      ->check(CLI::IsMember({"bf16", "int8", "int4"}))
      ->group(kGroup)
      ->capture_default_str();
  command.add_option("--cache-disk", flags.disk_mb, "MiB of disk for kept states, over all collections; 0: none")
      ->group(kGroup)
      ->capture_default_str();
}

void add_reuse_flags(CLI::App& command, ReuseFlags& flags) {
  command
      .add_option("--reuse", flags.policy,
                  "auto, none, exact (same answers as none), chunks (fastest), first=K or blend=R (in between); for GRIT-tuned models "
                  "grit-doc, grit-query, grit-doc-query, grit-query-doc (the paper's, one passage)")
      ->check([](const std::string& text) {
        try {
          parse_reuse(text);
          return std::string();
        } catch (const Error& error) {
          return std::string(error.what());
        }
      })
      ->group(kGroup)
      ->capture_default_str();
  command.add_option("--cache-ram", flags.ram_mb, "MiB of memory for kept states")->group(kGroup)->capture_default_str();
  add_span_flags(command, flags);
}

void keep_spans(CliSession& session, SpanCache& cache) {
  try {
    if (!cache.flush()) session.detail("Another process is writing to the store, so new states were not kept");
  } catch (const Error& error) {
    session.warn(std::string("states were not kept: ") + error.what());
  }
}

}  // namespace gritstone

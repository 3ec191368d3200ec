// gritstone cache: what is kept of computed passages, and for how long.
#include <CLI/CLI.hpp>
#include <memory>

#include "apps/commands.h"
#include "apps/json_output.h"
#include "apps/reuse_options.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "pipelines/warm_spans.h"

namespace gritstone {
namespace {

int show(CliSession& session) {
  Store& store = session.store(Store::Mode::kRead);
  const SpanTierStats all = store.span_stats();
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("spans", all.spans).field("bytes", all.bytes).field("tokens", all.tokens).begin_array("collections");
    for (const CollectionInfo& info : store.collections()) {
      const SpanTierStats stats = store.span_stats(info.id);
      json.begin_object().field("name", info.name).field("spans", stats.spans).field("bytes", stats.bytes).field("tokens", stats.tokens);
      json.end_object();
    }
    json.end_array().end_object().print();
    return 0;
  }
  for (const CollectionInfo& info : store.collections()) {
    const SpanTierStats stats = store.span_stats(info.id);
    print_out(
        format("%-24s %s spans, %s tokens, ", info.name.c_str(), human_count(stats.spans).c_str(), human_count(stats.tokens).c_str()) +
        human_bytes(stats.bytes) + "\n");
  }
  print_out("All: " + human_count(all.spans) + " spans, " + human_bytes(all.bytes) + " in " + (store.path() / "kv").string() + "\n");
  return 0;
}

int warm(CliSession& session, const ReuseFlags& flags) {
  WarmOptions options;
  options.type = flags.span_kv_type();
  options.disk_bytes = flags.disk_mb << 20;
  options.stop = session.stop();
  options.on_progress = [&session](std::size_t done, std::size_t total) { session.progress().update("compute", done, total, "passages"); };
  const WarmResult result = warm_spans(session.store(Store::Mode::kReadWrite), session.options.collection, session.model_parts(), options);
  session.progress().clear();
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("chunks", result.chunks).field("computed", result.computed).field("known", result.known);
    json.field("left_out", result.left_out).end_object().print();
  } else {
    print_out(format("%zu computed, %zu known, %zu left out\n", result.computed, result.known, result.left_out));
    if (result.left_out > 0) session.note("The disk budget is full; --cache-disk allows more");
  }
  return 0;
}

int prune(CliSession& session, std::uint64_t to_mb) {
  Store& store = session.store(Store::Mode::kReadWrite);
  const std::size_t gone = store.begin_write()->prune_spans(to_mb << 20);
  const SpanTierStats left = store.span_stats();
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("removed", gone).field("spans", left.spans).field("bytes", left.bytes).end_object().print();
  } else {
    print_out(format("%zu removed, %zu left, ", gone, left.spans) + human_bytes(left.bytes) + "\n");
  }
  return 0;
}

int verify(CliSession& session) {
  const std::size_t damaged = session.store(Store::Mode::kReadWrite).verify_spans();
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("ok", damaged == 0).field("damaged", damaged).end_object().print();
  } else {
    print_out(damaged == 0 ? "All spans are whole\n" : format("%zu damaged spans were removed; they will be computed again\n", damaged));
  }
  return damaged == 0 ? 0 : exit_code(ErrorCode::kDamagedData);
}

}  // namespace

void add_cache_commands(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* cache = app.add_subcommand("cache", "Shows, fills, checks and empties what is kept of computed passages");
  cache->require_subcommand(1);

  CLI::App* command = cache->add_subcommand("show", "How many spans are kept, and their size");
  session.add_options(*command, CliSession::kStore);
  command->footer("Examples:\n  gritstone cache show");
  table.add(command, [&session] { return show(session); });

  command = cache->add_subcommand("warm", "Computes passages' spans ahead of the first question, until the disk budget is full");
  auto flags = std::make_shared<ReuseFlags>();
  add_span_flags(*command, *flags);
  session.add_options(*command, CliSession::kEngine | CliSession::kCollection);
  command->footer("Examples:\n  gritstone cache warm -c notes -m model.gguf --cache-disk 20000");
  table.add(command, [&session, flags] { return warm(session, *flags); });

  command = cache->add_subcommand("prune", "Drops the spans least worth keeping");
  auto to_mb = std::make_shared<std::uint64_t>(0);
  command->add_option("--to", *to_mb, "MiB to keep at most; 0: drop all")->required();
  session.add_options(*command, CliSession::kStore);
  command->footer("Examples:\n  gritstone cache prune --to 2000");
  table.add(command, [&session, to_mb] { return prune(session, *to_mb); });

  command = cache->add_subcommand("verify", "Reads every span back and removes what does not match its checksums");
  session.add_options(*command, CliSession::kStore);
  command->footer("Exit status: 0 if all are whole, 4 if some were not.\nExamples:\n  gritstone cache verify");
  table.add(command, [&session] { return verify(session); });
}

}  // namespace gritstone

// gritstone cache: what is kept of computed passages, and for how long.
#include <CLI/CLI.hpp>
#include <memory>
#include <sstream>

#include "apps/commands.h"
#include "apps/json_output.h"
#include "apps/reuse_options.h"
#include "apps/search_options.h"
#include "apps/terminal.h"
#include "base/checked_file.h"
#include "base/error.h"
#include "pipelines/certify.h"
#include "pipelines/embedder_setup.h"
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

struct CertifyFlags {
  ReuseFlags reuse;
  SearchFlags search;
  std::string policy = "chunks", layout = "docs-first", questions;
  std::size_t count = 100, tokens = 64;
  double accept = 0.05;
};

std::vector<std::string> lines_of(const std::string& path) {
  std::istringstream text(read_file(path, std::uint64_t{16} << 20));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.find_first_not_of(" \t") != std::string::npos) lines.push_back(line);
  }
  if (lines.empty()) throw Error(ErrorCode::kInvalidArgument, path + " holds no question");
  return lines;
}

int certify_policy(CliSession& session, const CertifyFlags& flags) {
  Store& store = session.store(Store::Mode::kReadWrite);
  const auto snapshot = store.snapshot(session.options.collection);
  CertifyOptions options;
  options.policy = parse_reuse(flags.policy);
  if (!flags.questions.empty()) options.questions = lines_of(flags.questions);
  options.count = flags.count;
  options.accept = flags.accept;
  options.answer.search = flags.search.search_options(session, snapshot->info());
  options.answer.layout = flags.layout == "query-first" ? PromptLayout::kQueryFirst : PromptLayout::kDocsFirst;
  options.answer.max_new_tokens = flags.tokens;
  options.answer.span_type = flags.reuse.span_kv_type();
  options.answer.cancel = session.stop();
  options.on_progress = [&session](std::string_view stage, std::size_t done, std::size_t total) {
    session.progress().update(std::string(stage), done, total, "questions");
  };
  const ModelParts parts = session.model_parts();
  const auto embedder = options.answer.search.mode == SearchMode::kBm25 ? nullptr : open_collection_embedder(parts, snapshot->info());
  SpanCache cache(store, flags.reuse.cache_options(Store::Mode::kReadWrite, parts));
  options.answer.cache = &cache;
  const Certificate certificate = certify(*snapshot, embedder.get(), parts, options);
  session.progress().clear();
  keep_spans(session, cache);
  const std::string body = certificate_to_json(certificate);
  store.begin_write()->put_certificate(session.options.collection, certificate.subject.name(), body);
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("holds", certificate.holds()).key("certificate").raw(body).end_object().print();
    return 0;
  }
  print_out(certificate.summary() +
            format(" with 95 %% confidence\n%zu answer tokens: KL mean %.4f, p99 %.3f nats; same first choice %.1f %%\n",
                   certificate.tokens, certificate.kl_mean, certificate.kl_p99, 100 * certificate.top1_agreement));
  print_out(certificate.holds() ? "Certified: auto uses it for this collection\n"
                                : format("Not certified: at most %.1f %% may change (--accept)\n", 100 * certificate.accept));
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

  command =
      cache->add_subcommand("certify", "Measures what a reuse policy changes in this collection's answers; auto uses it if that is little");
  auto certify_flags = std::make_shared<CertifyFlags>();
  certify_flags->search.k = 5;
  command->add_option("--policy", certify_flags->policy, "chunks, first=K, blend=R or a grit-... variant")->capture_default_str();
  command->add_option("--questions", certify_flags->questions, "File with one question a line [the model writes some]");
  command->add_option("--count", certify_flags->count, "Questions the model writes")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("--accept", certify_flags->accept, "Share of answers that may change, with 95 % confidence")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--layout", certify_flags->layout, "Prompt order: docs-first or query-first")
      ->check(CLI::IsMember({"docs-first", "query-first"}))
      ->capture_default_str();
  command->add_option("-n,--tokens", certify_flags->tokens, "Longest answer")->capture_default_str()->check(CLI::PositiveNumber);
  add_search_flags(*command, certify_flags->search, "Passages that are put before the model");
  command->add_option("--cache-ram", certify_flags->reuse.ram_mb, "MiB of memory for kept states")->capture_default_str();
  add_span_flags(*command, certify_flags->reuse);
  session.add_options(*command, CliSession::kEngine | CliSession::kCollection);
  command->footer(
      "Examples:\n  gritstone cache certify -c notes -m model.gguf --policy chunks\n"
      "  gritstone cache certify -c notes -m model.gguf --policy blend=0.15 --questions asked.txt");
  table.add(command, [&session, certify_flags] { return certify_policy(session, *certify_flags); });

  command = cache->add_subcommand("verify", "Reads every span back and removes what does not match its checksums");
  session.add_options(*command, CliSession::kStore);
  command->footer("Exit status: 0 if all are whole, 4 if some were not.\nExamples:\n  gritstone cache verify");
  table.add(command, [&session] { return verify(session); });
}

}  // namespace gritstone

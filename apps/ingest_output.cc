#include "apps/ingest_output.h"

#include "apps/json_output.h"
#include "apps/paths.h"
#include "apps/terminal.h"

namespace gritstone {
namespace {

const char* stage_title(IngestStage stage) {
  switch (stage) {
    case IngestStage::kWalk:
      return "Looking for files";
    case IngestStage::kRead:
      return "Reading";
    case IngestStage::kEmbed:
      return "Embedding";
    case IngestStage::kPublish:
      return "Publishing vectors";
  }
  return "";
}

void print_json(const IngestResult& result) {
  JsonOutput json;
  json.begin_object().field("new", result.added).field("updated", result.updated).field("unchanged", result.unchanged);
  json.field("removed", result.removed).begin_array("skipped");
  for (const SkippedFile& file : result.skipped) json.begin_object().field("path", file.path).field("reason", file.reason).end_object();
  const IngestSeconds& s = result.seconds;
  json.end_array().begin_object("seconds").field("walk", s.walk).field("read", s.read).field("chunk", s.chunk).field("store", s.store);
  json.field("embed", s.embed).field("publish", s.publish).field("total", s.total).end_object();
  json.field("collection", result.collection.name)
      .field("documents", result.collection.documents)
      .field("chunks", result.collection.chunks);
  json.field("embedded", result.embedded)
      .field("embedded_tokens", result.embedded_tokens)
      .field("reused_embeddings", result.reused_embeddings);
  json.field("truncated", result.truncated).field("pending", result.pending).field("generation", result.collection.generation);
  json.end_object().print();
}

void print_text(CliSession& session, const IngestResult& result) {
  for (const SkippedFile& file : result.skipped) print_out("skipped " + display_path(file.path) + ": " + printable(file.reason) + "\n");
  const IngestSeconds& s = result.seconds;
  if (!session.options.quiet) {
    print_out("Collection " + result.collection.name + ": " + human_count(result.collection.documents) + " documents, " +
              human_count(result.collection.chunks) + " passages, " + human_count(result.collection.embedded_chunks) + " with vectors\n");
    print_out("Time: " + human_seconds(s.total) + " (reading " + human_seconds(s.read) + ", cutting " + human_seconds(s.chunk) +
              ", storing " + human_seconds(s.store) + ", embedding " + human_seconds(s.embed) + ", publishing " + human_seconds(s.publish) +
              ")\n");
  }
  print_out(format("%zu new, %zu updated, %zu unchanged, %zu removed, %zu skipped\n", result.added, result.updated, result.unchanged,
                   result.removed, result.skipped.size()));
}

}  // namespace

void report_ingest(CliSession& session, IngestOptions& options) {
  options.stop = session.stop();
  options.on_progress = [&session](const IngestProgress& progress) {
    const char* unit = progress.stage == IngestStage::kEmbed ? "passages" : "files";
    session.progress().update(stage_title(progress.stage), progress.done, progress.total, unit);
  };
  options.on_estimate = [&session](const IngestEstimate& estimate) {
    if (estimate.changed_files == 0) return;
    std::string line = human_count(estimate.files) + " files, " + human_count(estimate.changed_files) + " new or changed (" +
                       human_bytes(estimate.changed_bytes) + "); about " + human_seconds(estimate.seconds) + " and " +
                       human_bytes(estimate.disk_bytes) + " of disk";
    if (estimate.tokens > 0)
      line +=
          ", " + human_count(estimate.tokens) + " tokens to embed" + (estimate.by_url ? " by the service, which takes its own time" : "");
    session.note(line);
  };
}

void print_ingest(CliSession& session, const IngestResult& result) {
  session.progress().clear();
  if (!result.tuned_embedder) {
    session.note("This model was not tuned for embedding: its vectors only help a little, so search leans on words (BM25)");
  }
  if (result.truncated > 0) session.note(std::to_string(result.truncated) + " passages were longer than the embedder reads and were cut");
  if (session.options.json) {
    print_json(result);
  } else {
    print_text(session, result);
  }
}

}  // namespace gritstone

// gritstone collection: lists, shows, removes and verifies collections.
#include <CLI/CLI.hpp>
#include <memory>
#include <set>

#include "apps/commands.h"
#include "apps/embed_overrides.h"
#include "apps/ingest_output.h"
#include "apps/json_output.h"
#include "apps/paths.h"
#include "apps/terminal.h"
#include "base/error.h"
#include "retriever/manifest.h"

namespace gritstone {
namespace {

void info_fields(JsonOutput& json, const CollectionInfo& info) {
  json.field("name", info.name)
      .field("documents", info.documents)
      .field("chunks", info.chunks)
      .field("embedded_chunks", info.embedded_chunks)
      .field("text_bytes", info.text_bytes)
      .field("tokens", info.tokens)
      .field("dim", info.dim)
      .field("language", info.language)
      .field("generation", info.generation);
}

int list(CliSession& session) {
  std::vector<CollectionInfo> collections;
  try {
    collections = session.store(Store::Mode::kRead).collections();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;  // no store yet is no collections
  }
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().begin_array("collections");
    for (const CollectionInfo& info : collections) {
      json.begin_object();
      info_fields(json, info);
      json.end_object();
    }
    json.end_array().end_object().print();
    return 0;
  }
  for (const CollectionInfo& info : collections) {
    print_out(format("%-24s %s documents, %s chunks (%s embedded), ", info.name.c_str(), human_count(info.documents).c_str(),
                     human_count(info.chunks).c_str(), human_count(info.embedded_chunks).c_str()) +
              human_bytes(info.text_bytes) + " of text\n");
  }
  if (collections.empty()) session.note("No collections in " + session.store_path().string());
  return 0;
}

// The collection's embedder in one line.
std::string embedder_line(const EmbedderManifest& manifest) {
  if (manifest.remote) {
    return manifest.remote->model + " at " + manifest.remote->url +
           (manifest.dim > 0 ? ", dimension " + std::to_string(manifest.dim) : std::string(", not asked yet"));
  }
  std::string line = manifest.model_name + ", " + std::string(pooling_name(manifest.options.pooling)) + " pooling, " +
                     std::string(attention_name(manifest.options.attention)) + ", dimension " + std::to_string(manifest.dim);
  if (manifest.options.layer) line += ", layer " + std::to_string(*manifest.options.layer);
  if (manifest.dense_weight) line += format(", dense weight %.3f (measured)", *manifest.dense_weight);
  return line + (manifest.grit_tuned ? ", GRIT-tuned" : ", not tuned for embedding");
}

int show(CliSession& session, bool with_documents) {
  Store& store = session.store(Store::Mode::kRead);
  const std::shared_ptr<const Snapshot> snapshot = store.snapshot(session.options.collection);
  const CollectionInfo& info = snapshot->info();
  const std::vector<DocumentRecord> documents = with_documents ? snapshot->documents() : std::vector<DocumentRecord>{};
  if (session.options.json) {
    JsonOutput json;
    json.begin_object();
    info_fields(json, info);
    json.key("manifest").raw(info.manifest.empty() ? "{}" : info.manifest);
    if (with_documents) {
      json.begin_array("document_list");
      for (const DocumentRecord& document : documents) {
        json.begin_object().field("path", document.path).field("title", document.title).field("type", document.type);
        json.field("size", document.size).field("sha256", to_hex(document.sha256)).field("chunks", document.chunks).end_object();
      }
      json.end_array();
    }
    json.end_object().print();
    return 0;
  }
  print_out(info.name + "\n");
  print_out("  documents   " + human_count(info.documents) + "\n");
  print_out("  chunks      " + human_count(info.chunks) + ", " + human_count(info.embedded_chunks) + " embedded\n");
  print_out("  text        " + human_bytes(info.text_bytes) + ", " + human_count(info.tokens) + " tokens, stemmed as " + info.language +
            "\n");
  print_out("  generation  " + std::to_string(info.generation) + "\n");
  const std::optional<EmbedderManifest> manifest = manifest_from_json(info.manifest);
  print_out("  embedder    " + (manifest ? printable(embedder_line(*manifest)) : std::string("none yet")) + "\n");
  for (const DocumentRecord& document : documents) {
    print_out("  " + printable(document.path) + format(" (%zu chunks)", document.chunks) + "\n");
  }
  return 0;
}

int reembed_collection(CliSession& session, const EmbedFlags& embed) {
  IngestOptions options;
  options.collection = session.options.collection;
  options.embed = embed.overrides(session.options.embedder.url);
  report_ingest(session, options);
  const ModelParts parts = options.embed.remote ? session.optional_model_parts() : session.model_parts();
  print_ingest(session, reembed(session.store(Store::Mode::kReadWrite), parts, options));
  return 0;
}

int remove(CliSession& session) {
  Store& store = session.store(Store::Mode::kReadWrite);
  const std::string& name = session.options.collection;
  if (!store.find_collection(name)) throw Error(ErrorCode::kNotFound, "there is no collection \"" + name + "\"");
  const std::unique_ptr<WriteJob> job = store.begin_write();
  const bool removed = job->remove_collection(name);
  job->commit();
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("removed", removed).end_object().print();
  } else {
    session.note("Removed collection " + name);
  }
  return 0;
}

// Takes damaged documents and vectors out of every collection named in `problems`; returns the documents' paths.
std::vector<std::string> repair(Store& store, const std::vector<Problem>& problems) {
  std::set<std::string> names;
  for (const Problem& problem : problems) names.insert(problem.collection);
  std::vector<std::string> removed;
  const std::unique_ptr<WriteJob> job = store.begin_write();
  for (const std::string& name : names) {
    if (name.empty()) continue;  // the database file itself: verify says so again
    for (std::string& path : job->repair(name)) removed.push_back(std::move(path));
    job->commit();
    job->publish_vectors(name);
  }
  return removed;
}

int verify(CliSession& session, bool all, bool repairs) {
  // Opening for writing must not create what is to be verified.
  if (!std::filesystem::exists(session.store_path() / "gritstone.db")) {
    throw Error(ErrorCode::kNotFound, "there is no store in " + session.store_path().string());
  }
  Store& store = session.store(Store::Mode::kReadWrite);
  const std::string name = all ? std::string() : session.options.collection;
  std::vector<Problem> problems = store.verify(name);
  std::vector<std::string> removed;
  if (repairs && !problems.empty()) {
    removed = repair(store, problems);
    problems = store.verify(name);
  }
  if (session.options.json) {
    JsonOutput json;
    json.begin_object().field("ok", problems.empty()).begin_array("problems");
    for (const Problem& problem : problems) {
      json.begin_object().field("collection", problem.collection).field("where", problem.where).field("what", problem.what).end_object();
    }
    json.end_array();
    if (repairs) json.array("removed_documents", removed);
    json.end_object().print();
  } else {
    for (const std::string& path : removed) print_out("removed, index it again: " + display_path(path) + "\n");
    for (const Problem& problem : problems) {
      print_out(printable(problem.collection.empty() ? problem.where : problem.collection + ": " + problem.where) + ": " +
                printable(problem.what) + "\n");
    }
    print_out(problems.empty() ? std::string("ok\n") : std::to_string(problems.size()) + " problems\n");
    if (!problems.empty() && !repairs) session.note("gritstone collection verify --repair takes out what is damaged");
  }
  return problems.empty() ? 0 : exit_code(ErrorCode::kDamagedData);
}

// NAME is kept apart from --collection, because the environment may fill that one when it is not given.
CLI::App* add(CLI::App& parent, CliSession& session, const char* name, const char* description, std::string& collection,
              unsigned uses = CliSession::kCollection) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->add_option("NAME", collection, "Collection; the same as -c");
  session.add_options(*command, uses);
  return command;
}

}  // namespace

void add_collection_commands(CLI::App& app, CliSession& session, CommandTable& table) {
  CLI::App* collection = app.add_subcommand("collection", "Lists, shows, removes, verifies and re-embeds collections");
  collection->require_subcommand(1);

  CLI::App* command = collection->add_subcommand("list", "All collections of the store");
  session.add_options(*command, CliSession::kStore);
  command->footer("Examples:\n  gritstone collection list");
  table.add(command, [&session] { return list(session); });

  auto name = std::make_shared<std::string>();
  const auto use_name = [&session, name] {
    if (!name->empty()) session.options.collection = *name;
  };
  command = add(*collection, session, "show", "Size and embedder of a collection", *name);
  auto documents = std::make_shared<bool>(false);
  command->add_flag("--documents", *documents, "Lists the documents");
  command->footer("Examples:\n  gritstone collection show notes --documents");
  table.add(command, [&session, use_name, documents] {
    use_name();
    return show(session, *documents);
  });

  command = add(*collection, session, "remove", "Removes a collection with its documents and vectors", *name);
  command->footer("Examples:\n  gritstone collection remove notes");
  table.add(command, [&session, use_name, command] {
    if (command->count("NAME") == 0 && command->count("--collection") == 0) {
      throw Error(ErrorCode::kInvalidArgument, "name the collection that is to be removed");
    }
    use_name();
    return remove(session);
  });

  command = add(*collection, session, "reembed", "Computes all vectors anew, with another model, pooling or embedder", *name,
                CliSession::kEngine | CliSession::kCollection);
  auto embed = std::make_shared<EmbedFlags>();
  add_embed_flags(*command, *embed);
  add_embedder_flags(*command, *embed);
  command->footer("Examples:\n  gritstone collection reembed notes -m other-model.gguf");
  table.add(command, [&session, use_name, embed] {
    use_name();
    return reembed_collection(session, *embed);
  });

  command = add(*collection, session, "verify", "Reads everything back and compares it with its checksums", *name);
  auto all = std::make_shared<bool>(false);
  command->add_flag("--all", *all, "All collections of the store");
  auto repairs = std::make_shared<bool>(false);
  command->add_flag("--repair", *repairs, "Takes out damaged documents and vectors, and rebuilds the rest");
  command->footer(
      "Exit status: 0 if all is well, 4 if something is damaged.\nExamples:\n  gritstone collection verify notes\n  gritstone collection "
      "verify notes --repair");
  table.add(command, [&session, use_name, all, repairs] {
    use_name();
    return verify(session, *all, *repairs);
  });
}

}  // namespace gritstone

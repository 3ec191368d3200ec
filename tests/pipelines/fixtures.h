// A store, a folder of documents and a scripted model for pipeline tests.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "index/store.h"
#include "pipelines/ingest.h"
#include "pipelines/model_parts.h"
#include "tests/base/temp_directory.h"
#include "tests/generator/fake_model.h"

namespace gritstone {

class PipelineFixture {
 public:
  PipelineFixture() {
    std::filesystem::create_directory(directory / "docs");
    store = Store::open(directory / "store", Store::Mode::kReadWrite);
    engine.mutable_config().chat_template = "<|im_start|>";
    parts.config = &engine.config();
    parts.tokenizer = &tokenizer;
    parts.engine = [this]() -> Engine& { return engine; };
    parts.hash = [this] { return model_hash; };
  }

  void write(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = directory / "docs" / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  void remove(const std::string& name) const { std::filesystem::remove(directory / "docs" / name); }
  std::string path_of(const std::string& name) const { return (directory / "docs" / name).lexically_normal().string(); }

  IngestOptions options() const {
    IngestOptions o;
    o.paths = {(directory / "docs").string()};
    o.collection = "notes";
    return o;
  }
  IngestResult index(const IngestOptions& o) { return ingest(*store, tokenizer, &parts, o); }
  IngestResult index() { return index(options()); }

  std::string exported(const std::string& collection = "notes") const {
    std::string text;
    store->snapshot(collection)->export_logical([&](std::string_view piece) { text += piece; });
    return text;
  }

  TempDirectory directory;
  ByteTokenizer tokenizer;
  ScriptedEngine engine;
  std::string model_hash = "hash-1";
  ModelParts parts;
  std::unique_ptr<Store> store;
};

}  // namespace gritstone

// A tiny mixture-of-experts model with random weights over a store of eight passages: real states, real spans, a real collection.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "index/span_cache.h"
#include "index/store.h"
#include "pipelines/model_parts.h"
#include "tests/base/temp_directory.h"
#include "tests/generator/fake_model.h"
#include "tests/model/tiny_model.h"

namespace gritstone {

class TinyCollection : public ::testing::Test {
 protected:
  static ModelConfig config() {
    ModelConfig c = tiny_config();
    c.vocab = ByteTokenizer::kVocab;
    c.context = 2048;
    c.chat_template = "<|im_start|>";
    return c;
  }

  TinyCollection() {
    parts_.config = &model_.config();
    parts_.tokenizer = &tokenizer_;
    parts_.engine = [this]() -> Engine& { return *engine_; };
    parts_.hash = [] { return std::string("hash"); };
    auto job = store_->begin_write();
    collection_ = job->create_collection({.name = "notes"});
    std::mt19937 random(3);
    for (int d = 0; d < 8; ++d) {
      std::string text = "Passage " + std::to_string(d) + ": ";
      for (std::size_t n = 60 + random() % 90; n > 0; --n) text += static_cast<char>('a' + random() % 26);
      texts_.push_back(text);
      Chunk chunk;
      chunk.text = text;
      chunk.span = {0, text.size()};
      DocumentMeta meta;
      meta.path = std::to_string(d) + ".txt";
      const std::vector<Chunk> chunks{chunk};
      job->put_document("notes", meta, chunks);
    }
    job->commit();
    const auto snapshot = store_->snapshot("notes");
    for (int d = 0; d < 8; ++d) {
      chunks_.push_back(snapshot->chunk_at(snapshot->find_document(std::to_string(d) + ".txt")->id, 0)->id);
    }
    cache_ = std::make_unique<SpanCache>(*store_, SpanCacheOptions{});
  }

  // As a new process: what is on disk, and nothing in RAM.
  void restart() {
    EXPECT_TRUE(cache_->flush());
    cache_ = std::make_unique<SpanCache>(*store_, SpanCacheOptions{});
  }

  TempDirectory directory_;
  ByteTokenizer tokenizer_;
  TinyModel model_{config(), DType::kQ8_0};
  std::unique_ptr<Engine> engine_ = Engine::create(model_, [] {
    EngineOptions options;
    options.kv_slots = 4096;
    options.threads = 2;
    return options;
  }());
  ModelParts parts_;
  std::unique_ptr<Store> store_ = Store::open(directory_ / "store", Store::Mode::kReadWrite);
  CollectionInfo collection_;
  std::vector<std::string> texts_;
  std::vector<ChunkId> chunks_;
  std::unique_ptr<SpanCache> cache_;
};

}  // namespace gritstone

// What the tests of index/ share: a directory that goes away, a tokenizer that is easy to predict, documents and a filled store.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cctype>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/token_counter.h"
#include "index/chunker.h"
#include "index/document_reader.h"
#include "index/store.h"

namespace gritstone::testing {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "gritstone-index-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// One token a word of up to 8 bytes, one more for every 8 bytes beyond; separators are free. Cuts in the middle of words add tokens, as
// with BPE.
class WordCounter final : public TokenCounter {
 public:
  std::size_t count(std::string_view text) const override {
    std::size_t tokens = 0;
    std::size_t length = 0;
    for (const char c : text) {
      if (std::isspace(static_cast<unsigned char>(c)) != 0) {
        length = 0;
      } else if (length++ % 8 == 0) {
        ++tokens;
      }
    }
    bytes_ += text.size();
    return tokens;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  mutable std::size_t bytes_ = 0;
};

inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline Document must_read(std::string_view bytes, DocumentType type) {
  ReadResult result = read_document(bytes, type);
  EXPECT_TRUE(result.document.has_value()) << result.skip_reason;
  return result.document ? std::move(*result.document) : Document{};
}

inline Chunk make_chunk(std::string text, std::string heading = {}) {
  Chunk chunk;
  chunk.tokens = WordCounter().count(text);
  chunk.span = {0, text.size()};
  chunk.text = std::move(text);
  chunk.heading_path = std::move(heading);
  return chunk;
}

inline DocumentMeta make_meta(std::string path, std::string title = {}) {
  DocumentMeta meta;
  meta.sha256 = sha256(as_bytes(path));
  meta.path = std::move(path);
  meta.type = "text";
  meta.title = std::move(title);
  return meta;
}

// A unit vector of `dim` that depends on `seed` only.
inline std::vector<float> make_vector(std::uint64_t seed, std::size_t dim) {
  std::vector<float> v(dim);
  std::uint64_t state = seed * 0x9E3779B97F4A7C15ull + 1;
  double norm = 0.0;
  for (float& x : v) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    x = static_cast<float>(static_cast<double>(state >> 11) * 0x1p-53 - 0.5);
    norm += static_cast<double>(x) * x;
  }
  for (float& x : v) x = static_cast<float>(x / std::sqrt(norm));
  return v;
}

// Embeds everything that is pending: the vector depends on the chunk's text.
inline std::size_t embed_pending(WriteJob& job, const std::string& collection, std::size_t dim = 8) {
  std::size_t embedded = 0;
  ChunkId after = 0;
  for (;;) {
    const auto pending = job.pending_embeddings(collection, 16, after);
    if (pending.empty()) return embedded;
    std::vector<float> rows;
    std::vector<ChunkId> ids;
    for (const PendingChunk& chunk : pending) {
      const auto v = make_vector(std::hash<std::string>{}(chunk.text), dim);
      rows.insert(rows.end(), v.begin(), v.end());
      ids.push_back(chunk.id);
    }
    job.put_embeddings(collection, ids, MatrixView<const float>(rows.data(), ids.size(), dim));
    embedded += ids.size();
    after = ids.back();
  }
}

template <typename Function>
void expect_error(ErrorCode code, Function&& function) {
  try {
    function();
    ADD_FAILURE() << "no error, expected " << error_name(code);
  } catch (const Error& error) {
    EXPECT_EQ(error_name(error.code()), error_name(code)) << error.what();
  }
}

inline std::string logical_export(const Store& store, const std::string& collection) {
  std::string text;
  store.snapshot(collection)->export_logical([&](std::string_view piece) { text += piece; });
  return text;
}

inline std::string describe(const std::vector<Problem>& problems) {
  std::string text;
  for (const Problem& p : problems) text += p.collection + " | " + p.where + " | " + p.what + "\n";
  return text;
}

}  // namespace gritstone::testing

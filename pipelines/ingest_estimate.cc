#include "pipelines/ingest_estimate.h"

#include <chrono>
#include <string>

namespace gritstone {
namespace {

// Markup and blanks included, English text has about 4.3 bytes a token in vocabularies of 50,000.
constexpr double kBytesPerToken = 4.3;
// Reading, chunking, hashing and BM25 together, measured on one Zen 4 core.
constexpr double kTextBytesPerSecond = 2e6;
// Text, full-text index (about 0.6 of the text), rows and hashes.
constexpr double kStoreBytesPerTextByte = 2.2;
constexpr double kTokensPerChunk = 180;
constexpr std::size_t kMeasureAbove = 20'000;

// Weights that one token passes through.
double active_parameters(const ModelConfig& c) {
  const double attention = static_cast<double>(c.hidden) * static_cast<double>(2 * c.q_width() + 2 * c.kv_width());
  const double experts = c.experts > 0 ? static_cast<double>(c.experts_used) : 1.0;
  const double ffn = 3.0 * static_cast<double>(c.hidden) * static_cast<double>(c.ffn) * experts;
  return static_cast<double>(c.layers) * (attention + ffn);
}

double guessed_tokens_per_second(const ModelParts& model) {
  // About 40 G multiply-adds a second and core in quantised kernels with AVX-512; half of that without.
  constexpr double kMultiplyAddsPerSecond = 25e9;
  return kMultiplyAddsPerSecond * static_cast<double>(model.engine().threads()) / active_parameters(*model.config);
}

double measured_tokens_per_second(const ModelParts& model, const EmbedderManifest& manifest) {
  const auto embedder = make_embedder(model, manifest);
  std::vector<std::string> texts(4);
  for (std::string& text : texts) {
    for (int i = 0; i < 40; ++i) text += "the quick brown fox jumps over a lazy dog ";
    text.resize(text.size() / 3);
  }
  std::vector<float> rows(texts.size() * embedder->dim());
  EmbedRequest request;
  request.texts = texts;
  const auto start = std::chrono::steady_clock::now();
  const EmbedResult result = embedder->embed(request, MatrixView<float>(rows.data(), texts.size(), embedder->dim()));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  double tokens = 0;
  for (const std::size_t t : result.tokens) tokens += static_cast<double>(t);
  return tokens / std::max(seconds, 1e-6);
}

}  // namespace

IngestEstimate estimate_ingest(std::span<const FoundFile> files, const std::map<std::string, DocumentRecord>& documents,
                               const CollectionInfo& collection, const ModelParts* model, const EmbedderManifest* manifest) {
  IngestEstimate estimate;
  estimate.files = files.size();
  for (const FoundFile& file : files) {
    const auto known = documents.find(file.path);
    if (known != documents.end() && known->second.size == file.size && known->second.mtime_ns == file.mtime_ns) continue;
    ++estimate.changed_files;
    estimate.changed_bytes += file.size;
  }
  const auto bytes = static_cast<double>(estimate.changed_bytes);
  estimate.seconds = bytes / kTextBytesPerSecond;
  double disk = bytes * kStoreBytesPerTextByte;
  if (model != nullptr && manifest != nullptr) {
    double tokens = bytes / kBytesPerToken;
    if (collection.chunks > collection.embedded_chunks) {
      tokens += static_cast<double>(collection.chunks - collection.embedded_chunks) * kTokensPerChunk;
    }
    estimate.tokens = static_cast<std::size_t>(tokens);
    estimate.by_url = manifest->remote.has_value();
    if (estimate.tokens > 0 && !estimate.by_url) {
      const double rate =
          estimate.tokens > kMeasureAbove ? measured_tokens_per_second(*model, *manifest) : guessed_tokens_per_second(*model);
      estimate.seconds += tokens / rate;
    }
    // f16 in SQLite and f32 in the FAISS file.
    disk += tokens / kTokensPerChunk * static_cast<double>(manifest->dim) * 6;
  }
  estimate.disk_bytes = static_cast<std::uint64_t>(disk);
  return estimate;
}

}  // namespace gritstone

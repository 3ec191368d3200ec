#include "index/span_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "base/checked_file.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/mapped_file.h"

namespace gritstone {
namespace {

constexpr char kMagic[8] = {'G', 'S', 'K', 'V', 'S', 'P', '\r', '\n'};
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kPage = 4096;
// Larger than any model's, small enough that their products cannot overflow 64 bits.
constexpr std::uint64_t kMaxLayers = 4096, kMaxHeads = 4096, kMaxHeadDim = 4096, kMaxTokens = 1 << 20;

struct Header {
  char magic[8];
  std::uint32_t version;
  std::uint32_t type;
  std::uint64_t layers, kv_heads, head_dim, tokens;
  std::uint8_t key[32];
  std::uint64_t payload_offset, payload_bytes;
};
static_assert(sizeof(Header) == 96 && std::is_trivially_copyable_v<Header>);

// Header, token ids, one checksum a layer, zeros, and the checksum of all that before the payload on a page boundary.
std::size_t front_bytes(std::size_t tokens, std::size_t layers) { return sizeof(Header) + tokens * 4 + layers * 16; }
std::size_t payload_offset(std::size_t tokens, std::size_t layers) {
  return (front_bytes(tokens, layers) + 16 + kPage - 1) / kPage * kPage;
}

void make_directory(const std::filesystem::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    throw Error(ErrorCode::kStorage, "cannot create " + path.string() + ": " + std::strerror(errno));
}

// nullptr: not what was asked for. Without `ids` those in the file are taken.
std::shared_ptr<const KvSpan> read_span(const std::shared_ptr<const MappedFile>& file, const SpanKey& key,
                                        std::optional<std::span<const std::int32_t>> ids) {
  const std::span<const std::uint8_t> bytes = file->bytes();
  if (bytes.size() < sizeof(Header)) return nullptr;
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 || header.version != kVersion) return nullptr;
  if (header.type > static_cast<std::uint32_t>(KvType::kInt4) || header.layers - 1 >= kMaxLayers || header.kv_heads - 1 >= kMaxHeads ||
      header.head_dim - 1 >= kMaxHeadDim || header.tokens - 1 >= kMaxTokens) {
    return nullptr;
  }
  if ((ids && header.tokens != ids->size()) || header.payload_offset != payload_offset(header.tokens, header.layers) ||
      bytes.size() < header.payload_offset || header.payload_bytes != bytes.size() - header.payload_offset) {
    return nullptr;
  }
  const std::size_t covered = header.payload_offset - 16;
  const Xxh128Digest front_hash = xxh128(bytes.first(covered));
  if (std::memcmp(bytes.data() + covered, front_hash.data(), 16) != 0 || std::memcmp(header.key, key.data(), 32) != 0 ||
      (ids && std::memcmp(bytes.data() + sizeof(Header), ids->data(), ids->size_bytes()) != 0)) {
    return nullptr;
  }
  auto span = std::make_shared<KvSpan>();
  span->type = static_cast<KvType>(header.type);
  span->shape = {header.layers, header.kv_heads, header.head_dim};
  span->tokens = header.tokens;
  span->owner = file;
  span->bytes = bytes.subspan(header.payload_offset);
  if (span->total_bytes() != span->bytes.size()) return nullptr;
  const std::size_t layer_bytes = span->layer_bytes();
  for (std::size_t layer = 0; layer < header.layers; ++layer) {
    const Xxh128Digest hash = xxh128(span->bytes.subspan(layer * layer_bytes, layer_bytes));
    if (std::memcmp(bytes.data() + sizeof(Header) + header.tokens * 4 + layer * 16, hash.data(), 16) != 0) return nullptr;
  }
  return span;
}

}  // namespace

std::filesystem::path span_file_path(const std::filesystem::path& store, const SpanKey& key) {
  const std::string name = to_hex(key);
  return store / "kv" / name.substr(0, 2) / (name + ".kv");
}

std::uint64_t span_file_bytes(const KvSpan& span) { return payload_offset(span.tokens, span.shape.layers) + span.total_bytes(); }

void write_span_file(const std::filesystem::path& path, const SpanKey& key, std::span<const std::int32_t> ids, const KvSpan& span) {
  GS_CHECK(ids.size() == span.tokens && span.bytes.size() == span.total_bytes());
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.type = static_cast<std::uint32_t>(span.type);
  header.layers = span.shape.layers;
  header.kv_heads = span.shape.kv_heads;
  header.head_dim = span.shape.head_dim;
  header.tokens = span.tokens;
  std::memcpy(header.key, key.data(), 32);
  header.payload_offset = payload_offset(span.tokens, span.shape.layers);
  header.payload_bytes = span.bytes.size();
  std::vector<std::uint8_t> front(header.payload_offset);
  std::memcpy(front.data(), &header, sizeof header);
  std::memcpy(front.data() + sizeof header, ids.data(), ids.size_bytes());
  const std::size_t layer_bytes = span.layer_bytes();
  for (std::size_t layer = 0; layer < span.shape.layers; ++layer) {
    const Xxh128Digest hash = xxh128(span.bytes.subspan(layer * layer_bytes, layer_bytes));
    std::memcpy(front.data() + sizeof header + ids.size_bytes() + layer * 16, hash.data(), 16);
  }
  const std::size_t covered = front.size() - 16;
  const Xxh128Digest hash = xxh128(std::span(front).first(covered));
  std::memcpy(front.data() + covered, hash.data(), 16);

  make_directory(path.parent_path().parent_path());
  make_directory(path.parent_path());
  CheckedFileWriter file(path);
  file.write(front);
  file.write(span.bytes);
  file.commit();
}

std::shared_ptr<const KvSpan> open_span_file(const std::filesystem::path& path, const SpanKey& key, std::span<const std::int32_t> ids) {
  std::shared_ptr<const MappedFile> file;
  try {
    file = std::make_shared<const MappedFile>(path);
  } catch (const Error&) {
    return nullptr;
  }
  auto span = read_span(file, key, ids);
  if (span == nullptr) ::unlink(path.c_str());
  return span;
}

bool check_span_file(const std::filesystem::path& path, const SpanKey& key) {
  try {
    return read_span(std::make_shared<const MappedFile>(path), key, std::nullopt) != nullptr;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace gritstone

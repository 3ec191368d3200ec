#include "index/faiss_vectors.h"

#include <faiss/IndexFlat.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/io.h>
#include <faiss/index_io.h>
#include <faiss/utils/distances.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <new>

#include "base/error.h"
#include "base/hash.h"

namespace gritstone {
namespace {

constexpr char kMagic[8] = {'G', 'S', 'V', 'E', 'C', 'S', '\r', '\n'};
constexpr std::uint32_t kVersion = 1;

// Little-endian on disk; every machine we run on is.
struct FileHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t header_bytes;
  char store_id[32];
  std::int64_t collection;
  std::uint64_t generation;
  std::int64_t token;
  std::uint64_t dim;
  std::uint64_t count;
  std::uint64_t payload_bytes;
  std::uint8_t payload_hash[16];
  std::uint8_t header_hash[16];  // of the bytes before it
};
static_assert(sizeof(FileHeader) == 128 && std::is_trivially_copyable_v<FileHeader>);

[[noreturn]] void translate(const char* what) {
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kMemoryBudget, std::string("out of memory while ") + what);
  } catch (const std::exception& error) {
    throw Error(ErrorCode::kDevice, std::string("FAISS failed while ") + what + ": " + error.what());
  }
}

class FlatVectors final : public VectorIndex {
 public:
  FlatVectors(std::unique_ptr<faiss::IndexFlatIP> index, std::vector<ChunkId> ids, std::size_t damaged)
      : index_(std::move(index)), ids_(std::move(ids)), damaged_(damaged) {}

  std::size_t dim() const noexcept override { return static_cast<std::size_t>(index_->d); }
  std::size_t size() const noexcept override { return ids_.size(); }
  std::size_t damaged_rows() const noexcept override { return damaged_; }
  const faiss::IndexFlatIP& faiss_index() const noexcept { return *index_; }

  std::vector<ScoredChunk> search(std::span<const float> query, std::size_t k, const std::vector<ChunkId>* allowed) const override {
    if (query.size() != dim()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "query vector has " + std::to_string(query.size()) + " dimensions, the index " + std::to_string(dim()));
    }
    if (!std::all_of(query.begin(), query.end(), [](float x) { return std::isfinite(x); })) {
      throw Error(ErrorCode::kInvalidArgument, "query vector has a value that is not finite");
    }
    if (k == 0 || ids_.empty()) return {};
    try {
      return allowed != nullptr ? search_allowed(query, k, *allowed) : search_all(query, k);
    } catch (...) {
      translate("searching");
    }
  }

  std::vector<float> row(ChunkId id) const override {
    const auto found = std::lower_bound(ids_.begin(), ids_.end(), id);
    if (found == ids_.end() || *found != id) return {};
    const float* data = index_->get_xb() + static_cast<std::size_t>(found - ids_.begin()) * dim();
    return {data, data + dim()};
  }

  std::span<const float> rows() const noexcept override { return {index_->get_xb(), ids_.size() * dim()}; }
  std::span<const ChunkId> ids() const noexcept override { return ids_; }

 private:
  // One query at a time: FAISS then computes each product in one fixed order on one thread, while a batch of 20 or more goes through BLAS
  // with other bits.
  std::vector<ScoredChunk> search_all(std::span<const float> query, std::size_t k) const {
    const std::size_t n = ids_.size();
    k = std::min(k, n);
    // FAISS breaks ties by heap order, so fetch until the last score is below the k-th: then every tie is in hand and ids decide.
    for (std::size_t fetch = std::min(n, k + 8);; fetch = std::min(n, fetch * 4)) {
      std::vector<float> scores(fetch);
      std::vector<std::int64_t> positions(fetch);
      index_->search(1, query.data(), static_cast<std::int64_t>(fetch), scores.data(), positions.data());
      if (fetch < n && !(scores.back() < scores[k - 1])) continue;
      std::vector<ScoredChunk> hits;
      hits.reserve(fetch);
      for (std::size_t i = 0; i < fetch; ++i) {
        if (positions[i] >= 0) hits.push_back({ids_[static_cast<std::size_t>(positions[i])], scores[i]});
      }
      return best(std::move(hits), k);
    }
  }

  std::vector<ScoredChunk> search_allowed(std::span<const float> query, std::size_t k, const std::vector<ChunkId>& allowed) const {
    std::vector<std::int64_t> positions;
    std::vector<ScoredChunk> hits;
    auto from = ids_.begin();
    for (const ChunkId id : allowed) {
      from = std::lower_bound(from, ids_.end(), id);
      if (from == ids_.end()) break;
      if (*from != id) continue;
      positions.push_back(from - ids_.begin());
      hits.push_back({id, 0.0f});
    }
    std::vector<float> scores(positions.size());
    faiss::fvec_inner_products_by_idx(scores.data(), query.data(), index_->get_xb(), positions.data(), dim(), 1, positions.size());
    for (std::size_t i = 0; i < hits.size(); ++i) hits[i].score = scores[i];
    return best(std::move(hits), k);
  }

  static std::vector<ScoredChunk> best(std::vector<ScoredChunk> hits, std::size_t k) {
    // Finite inputs can still overflow to infinity minus infinity, which has no place in an order.
    std::erase_if(hits, [](const ScoredChunk& hit) { return std::isnan(hit.score); });
    std::sort(hits.begin(), hits.end(),
              [](const ScoredChunk& a, const ScoredChunk& b) { return a.score != b.score ? a.score > b.score : a.id < b.id; });
    if (hits.size() > k) hits.resize(k);
    return hits;
  }

  std::unique_ptr<faiss::IndexFlatIP> index_;
  std::vector<ChunkId> ids_;  // ascending; position in the index -> chunk
  std::size_t damaged_;
};

// FAISS's VectorIOReader would need a second copy of the file.
class SpanReader final : public faiss::IOReader {
 public:
  explicit SpanReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  std::size_t operator()(void* out, std::size_t size, std::size_t count) override {
    if (size == 0 || count == 0) return 0;
    count = std::min(count, (bytes_.size() - at_) / size);
    if (count > 0) std::memcpy(out, bytes_.data() + at_, size * count);
    at_ += size * count;
    return count;
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

Xxh128Digest header_hash(const FileHeader& header) {
  return xxh128({reinterpret_cast<const std::uint8_t*>(&header), offsetof(FileHeader, header_hash)});
}

// Empty = the header is this program's, unharmed and of the wanted vectors.
std::string header_problem(const FileHeader& header, std::size_t file_bytes, const VectorFileIdentity& identity) {
  const Xxh128Digest hash = header_hash(header);
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) return "not a vector file";
  if (std::memcmp(header.header_hash, hash.data(), hash.size()) != 0) return "header does not match its hash";
  if (header.version != kVersion || header.header_bytes != sizeof(FileHeader)) return "version " + std::to_string(header.version);
  if (header.payload_bytes != file_bytes - sizeof(FileHeader)) return "truncated or extended";
  if (identity.store_id != std::string_view(header.store_id, sizeof(header.store_id))) return "from another store";
  if (header.collection != identity.collection) return "from another collection";
  if (header.generation != identity.generation || header.token != identity.token) return "from another generation";
  if (header.dim != identity.dim || header.count != identity.count) return "shape differs";
  if (header.count > header.payload_bytes / sizeof(ChunkId)) return "shape does not fit the file";
  return {};
}

}  // namespace

std::shared_ptr<const VectorIndex> build_vector_index(std::size_t dim, std::vector<ChunkId> ids, std::span<const float> rows,
                                                      std::size_t damaged) {
  GS_CHECK(rows.size() == dim * ids.size());
  try {
    auto index = std::make_unique<faiss::IndexFlatIP>(static_cast<std::int64_t>(dim));
    index->add(static_cast<std::int64_t>(ids.size()), rows.data());
    return std::make_shared<FlatVectors>(std::move(index), std::move(ids), damaged);
  } catch (...) {
    translate("building an index");
  }
}

std::vector<std::uint8_t> serialize_vector_index(const VectorIndex& index, const VectorFileIdentity& identity) {
  const auto& flat = dynamic_cast<const FlatVectors&>(index);
  GS_CHECK(identity.store_id.size() == sizeof(FileHeader::store_id) && identity.dim == flat.dim() && identity.count == flat.size());
  try {
    faiss::VectorIOWriter writer;
    faiss::write_index(&flat.faiss_index(), &writer);
    const std::size_t id_bytes = flat.size() * sizeof(ChunkId);
    std::vector<std::uint8_t> file(sizeof(FileHeader) + id_bytes + writer.data.size());
    std::uint8_t* payload = file.data() + sizeof(FileHeader);
    if (id_bytes > 0) std::memcpy(payload, flat.ids().data(), id_bytes);
    std::copy(writer.data.begin(), writer.data.end(), payload + id_bytes);
    FileHeader header{};
    std::memcpy(header.magic, kMagic, sizeof(kMagic));
    header.version = kVersion;
    header.header_bytes = sizeof(FileHeader);
    std::memcpy(header.store_id, identity.store_id.data(), sizeof(header.store_id));
    header.collection = identity.collection;
    header.generation = identity.generation;
    header.token = identity.token;
    header.dim = identity.dim;
    header.count = identity.count;
    header.payload_bytes = file.size() - sizeof(FileHeader);
    const Xxh128Digest payload_hash = xxh128({payload, header.payload_bytes});
    std::memcpy(header.payload_hash, payload_hash.data(), payload_hash.size());
    const Xxh128Digest hash = header_hash(header);
    std::memcpy(header.header_hash, hash.data(), hash.size());
    std::memcpy(file.data(), &header, sizeof(header));
    return file;
  } catch (...) {
    translate("writing an index");
  }
}

std::shared_ptr<const VectorIndex> parse_vector_index(std::span<const std::uint8_t> bytes, const VectorFileIdentity& identity,
                                                      std::string& why) {
  FileHeader header;
  if (bytes.size() < sizeof(header)) {
    why = "shorter than its header";
    return nullptr;
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  why = header_problem(header, bytes.size(), identity);
  if (!why.empty()) return nullptr;
  const auto payload = bytes.subspan(sizeof(FileHeader));
  const Xxh128Digest payload_hash = xxh128(payload);
  if (std::memcmp(header.payload_hash, payload_hash.data(), payload_hash.size()) != 0) {
    why = "content does not match its hash";
    return nullptr;
  }
  std::vector<ChunkId> ids(header.count);
  const std::size_t id_bytes = ids.size() * sizeof(ChunkId);
  if (id_bytes > 0) std::memcpy(ids.data(), payload.data(), id_bytes);
  try {
    SpanReader reader(payload.subspan(id_bytes));
    std::unique_ptr<faiss::Index> any(faiss::read_index(&reader));
    auto* flat = dynamic_cast<faiss::IndexFlatIP*>(any.get());
    if (flat == nullptr || static_cast<std::uint64_t>(flat->d) != header.dim || static_cast<std::uint64_t>(flat->ntotal) != header.count) {
      why = "FAISS content of another shape";
      return nullptr;
    }
    any.release();
    return std::make_shared<FlatVectors>(std::unique_ptr<faiss::IndexFlatIP>(flat), std::move(ids), 0);
  } catch (const std::exception& error) {
    why = std::string("FAISS cannot read it: ") + error.what();
    return nullptr;
  }
}

}  // namespace gritstone

#include "model/cuda_spans.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "model/kernels/kernel_table.h"
#include "model/kv_codec.h"

namespace gritstone {
namespace {

constexpr std::size_t kStagingBytes = std::size_t{8} << 20;
constexpr std::size_t kAlign = 256;
// One thread copies about 10 GB/s, a PCIe 5 bus takes 50.
constexpr std::size_t kCopyPiece = std::size_t{256} << 10;

void parallel_copy(ThreadPool& threads, std::uint8_t* to, const std::uint8_t* from, std::size_t bytes) {
  threads.parallel_for(cuda::ceil_div(bytes, kCopyPiece), [&](std::size_t piece, std::size_t) {
    const std::size_t begin = piece * kCopyPiece;
    std::memcpy(to + begin, from + begin, std::min(kCopyPiece, bytes - begin));
  });
}

}  // namespace

// Adds the time it lives.
class CudaSpans::Timer {
 public:
  explicit Timer(double& seconds) : seconds_(seconds) {}
  ~Timer() { seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  double& seconds_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

CudaSpans::CudaSpans(const KvShape& shape, const cuda::KvView& kv, ThreadPool& threads, std::size_t budget)
    : shape_(shape), kv_(kv), threads_(threads), arena_(budget) {
  cuda::check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creation of a stream");
  layer_ready_.resize(shape.layers);
  for (cudaEvent_t& event : layer_ready_) cuda::check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creation of an event");
  for (Staging& staging : staging_) {
    staging.memory = cuda::PinnedBuffer(kStagingBytes);
    cuda::check(cudaEventCreateWithFlags(&staging.copied, cudaEventDisableTiming), "creation of an event");
  }
}

CudaSpans::~CudaSpans() {
  cudaStreamSynchronize(stream_);
  for (const cudaEvent_t event : layer_ready_) cudaEventDestroy(event);
  for (const Staging& staging : staging_) cudaEventDestroy(staging.copied);
  cudaStreamDestroy(stream_);
}

void CudaSpans::add(const KvSequence& sequence, std::span<const Segment> segments) {
  const std::size_t pages_at = pages_.size();
  pages_.insert(pages_.end(), sequence.pages.begin(), sequence.pages.end());
  for (const Segment& segment : segments) {
    Pending& pending = pending_.emplace_back();
    pending.sequence = &sequence;
    pending.segment = segment;
    pending.pages_at = pages_at;
    pending.resident = find_or_place(segment.span);
    if (pending.resident == nullptr) pending.own = cuda::DeviceBuffer(segment.span->total_bytes());
  }
}

void CudaSpans::cancel(const KvSequence& sequence) noexcept {
  std::erase_if(pending_, [&](const Pending& pending) { return pending.sequence == &sequence; });
  for (Resident& resident : residents_) {
    resident.in_use = std::any_of(pending_.begin(), pending_.end(), [&](const Pending& pending) { return pending.resident == &resident; });
  }
}

CudaSpans::Resident* CudaSpans::find_or_place(const std::shared_ptr<const KvSpan>& span) {
  const auto found = std::find_if(residents_.begin(), residents_.end(), [&](const Resident& r) { return r.span.lock() == span; });
  if (found != residents_.end()) {
    residents_.splice(residents_.begin(), residents_, found);
    residents_.front().in_use = true;
    return &residents_.front();
  }
  Resident resident;
  resident.span = span;
  resident.bytes = cuda::ceil_div(span->total_bytes(), kAlign) * kAlign;
  if (!place(resident)) return nullptr;
  resident.in_use = true;
  residents_.push_front(std::move(resident));
  return &residents_.front();
}

// First fit; while there is no gap, the least recently used span that nobody needs now goes. Those whose owner dropped them go first.
bool CudaSpans::place(Resident& resident) {
  if (resident.bytes > arena_.bytes()) return false;
  residents_.remove_if([](const Resident& r) { return r.span.expired() && !r.in_use; });
  for (;;) {
    std::vector<const Resident*> by_place;
    for (const Resident& r : residents_) by_place.push_back(&r);
    std::sort(by_place.begin(), by_place.end(), [](const Resident* a, const Resident* b) { return a->at < b->at; });
    std::size_t at = 0;
    for (const Resident* r : by_place) {
      if (r->at - at >= resident.bytes) break;
      at = r->at + r->bytes;
    }
    if (arena_.bytes() - at >= resident.bytes) {
      resident.at = at;
      return true;
    }
    const auto victim = std::find_if(residents_.rbegin(), residents_.rend(), [](const Resident& r) { return !r.in_use; });
    if (victim == residents_.rend()) return false;
    residents_.erase(std::next(victim).base());
  }
}

void CudaSpans::begin() {
  const Timer timer(seconds_);
  if (pages_device_.bytes() < pages_.size() * sizeof(std::uint32_t))
    pages_device_ = cuda::DeviceBuffer(2 * pages_.size() * sizeof(std::uint32_t));
  // From pageable memory: the call returns when the pages were read.
  cuda::check(cudaMemcpyAsync(pages_device_.data(), pages_.data(), pages_.size() * sizeof(std::uint32_t), cudaMemcpyHostToDevice, stream_),
              "upload of page tables");
  for (const Pending& pending : pending_) {
    const Segment& s = pending.segment;
    cuda::place_slots(stream_, pages_device_.as<std::uint32_t>() + pending.pages_at, static_cast<std::uint32_t>(s.slot),
                      static_cast<std::uint32_t>(s.length), static_cast<std::int32_t>(s.position), s.group, kv_);
  }
}

// Through the two page-locked buffers in turn, so that the CPU fills one while the bus empties the other.
void CudaSpans::copy_layer(const KvSpan& span, std::size_t layer, std::uint8_t* to) {
  const std::size_t bytes = span.layer_bytes();
  const std::uint8_t* from = span.bytes.data() + layer * bytes;
  for (std::size_t done = 0; done < bytes; done += kStagingBytes) {
    const std::size_t count = std::min(kStagingBytes, bytes - done);
    Staging& staging = staging_[turn_++ % 2];
    cuda::check(cudaEventSynchronize(staging.copied), "upload of a span");
    parallel_copy(threads_, staging.memory.as<std::uint8_t>(), from + done, count);
    cuda::check(cudaMemcpyAsync(to + done, staging.memory.as<std::uint8_t>(), count, cudaMemcpyHostToDevice, stream_), "upload of a span");
    cuda::check(cudaEventRecord(staging.copied, stream_), "upload of a span");
  }
}

void CudaSpans::advance(std::size_t layer, cuda::Stream compute) {
  const Timer timer(seconds_);
  for (Pending& pending : pending_) {
    const KvSpan& span = *pending.segment.span;
    std::uint8_t* const base =
        pending.resident != nullptr ? arena_.as<std::uint8_t>() + pending.resident->at : pending.own.as<std::uint8_t>();
    std::uint8_t* const bytes = base + layer * span.layer_bytes();
    if (pending.resident == nullptr || pending.resident->layers <= layer) {
      copy_layer(span, layer, bytes);
      if (pending.resident != nullptr) pending.resident->layers = layer + 1;
    }
    cuda::SpanRows rows;
    rows.layer = bytes;
    rows.type = static_cast<std::uint8_t>(span.type);
    rows.span_tokens = static_cast<std::uint32_t>(span.tokens);
    rows.offset = static_cast<std::uint32_t>(pending.segment.offset);
    rows.length = static_cast<std::uint32_t>(pending.segment.length);
    rows.slot = static_cast<std::uint32_t>(pending.segment.slot);
    rows.pages = pages_device_.as<std::uint32_t>() + pending.pages_at;
    cuda::store_span_rows(stream_, rows, kv_, static_cast<std::uint32_t>(layer));
  }
  cuda::check(cudaEventRecord(layer_ready_[layer], stream_), "upload of a span");
  cuda::check(cudaStreamWaitEvent(compute, layer_ready_[layer], 0), "upload of a span");
}

void CudaSpans::end() {
  const Timer timer(seconds_);
  cuda::check(cudaStreamSynchronize(stream_), "upload of spans");
  for (const Pending& pending : pending_) {
    if (pending.resident != nullptr) pending.resident->in_use = false;
  }
  pending_.clear();
  pages_.clear();
}

KvSpan CudaSpans::save(const KvSequence& sequence, std::size_t slot, std::size_t count, KvType type, cuda::Stream compute) {
  auto [span, bytes] = make_kv_span(KvType::kBF16, shape_, count);
  const cuda::DeviceBuffer pages(sequence.pages.size() * sizeof(std::uint32_t)), gathered(bytes.size());
  cuda::check(cudaMemcpyAsync(pages.data(), sequence.pages.data(), pages.bytes(), cudaMemcpyHostToDevice, compute), "download of a span");
  cuda::gather_span(compute, pages.as<std::uint32_t>(), static_cast<std::uint32_t>(slot), static_cast<std::uint32_t>(count), kv_,
                    gathered.as<cuda::bf16>());
  cuda::check(cudaMemcpyAsync(bytes.data(), gathered.data(), bytes.size(), cudaMemcpyDeviceToHost, compute), "download of a span");
  cuda::check(cudaStreamSynchronize(compute), "download of a span");
  if (type == KvType::kBF16) return std::move(span);

  auto [converted, out] = make_kv_span(type, shape_, count);
  const VectorKernels& kernels = *select_kernels({}).vector;
  const std::uint8_t* const base = converted.bytes.data();
  std::uint8_t* const writable = out.data();
  const KvSpan& from = span;
  const KvSpan& to = converted;
  threads_.parallel_for(shape_.layers * 2 * shape_.kv_heads, [&](std::size_t index, std::size_t) {
    const std::size_t head = index % shape_.kv_heads, layer = index / shape_.kv_heads / 2;
    const bool value = index / shape_.kv_heads % 2 != 0;
    thread_local std::vector<float> rows;
    rows.resize(count * shape_.head_dim);
    decode_plane(kernels, from, layer, value, head, 0, count, rows.data());
    encode_plane(kernels, type, value, rows.data(), count, shape_.head_dim, writable + (to.plane(layer, value, head) - base));
  });
  return std::move(converted);
}

}  // namespace gritstone

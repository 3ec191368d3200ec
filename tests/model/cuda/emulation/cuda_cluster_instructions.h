// The instructions that model/kernels/cuda/cluster.cuh writes in PTX, as documented there. Included inside of its namespace. The copy
// engine is done at once: data that is read before its barrier says so shows only where the reader comes first.
#pragma once

template <int kCount>
void registers_up() {}
template <int kCount>
void registers_down() {}

inline std::uint32_t cluster_rank() { return ::emulation::cluster_rank(); }
inline void cluster_sync(GS_EMULATED_PLACE) { ::emulation::meet_cluster(file, line); }

// What a Barrier's 64 bits hold.
struct EmulatedBarrier {
  std::int32_t bytes;
  std::uint16_t pending;
  std::uint16_t arrivals : 15;
  std::uint16_t parity : 1;

  void settle() {
    if (pending != 0 || bytes != 0) return;
    pending = arrivals;
    parity ^= 1;
  }
};
static_assert(sizeof(EmulatedBarrier) == sizeof(Barrier));
inline EmulatedBarrier& emulated(Barrier* barrier) { return *reinterpret_cast<EmulatedBarrier*>(barrier); }

inline void barrier_init(Barrier* barrier, std::uint32_t arrivals) {
  emulated(barrier) = {0, static_cast<std::uint16_t>(arrivals), static_cast<std::uint16_t>(arrivals), 0};
}
inline void barriers_are_ready() {}

inline void barrier_arrive_with(Barrier* barrier, std::int32_t bytes, const char* file, int line) {
  EmulatedBarrier& b = emulated(barrier);
  if (b.pending == 0) ::emulation::fail("more arrivals at a barrier than it was made for", file, line);
  --b.pending;
  b.bytes += bytes;
  b.settle();
  ::emulation::made_progress();
}
inline void barrier_arrive_after_copies(Barrier* barrier, GS_EMULATED_PLACE) {
  ::emulation::commit_copies();
  ::emulation::wait_for_copies(0);
  barrier_arrive_with(barrier, 0, file, line);
}
inline void barrier_arrive_expecting(Barrier* barrier, std::uint32_t bytes, GS_EMULATED_PLACE) {
  barrier_arrive_with(barrier, static_cast<std::int32_t>(bytes), file, line);
}
inline void barrier_arrive_at(std::uint32_t rank, Barrier* barrier, GS_EMULATED_PLACE) {
  barrier_arrive_with(static_cast<Barrier*>(::emulation::shared_of(rank, barrier)), 0, file, line);
}

inline void barrier_wait(Barrier* barrier, std::uint32_t parity, GS_EMULATED_PLACE) {
  struct Awaited {
    Barrier* barrier;
    std::uint32_t parity;
  };
  const Awaited awaited{barrier, parity};
  const auto ready = [](const void* what) {
    const Awaited& a = *static_cast<const Awaited*>(what);
    return emulated(a.barrier).parity != a.parity;
  };
  ::emulation::wait_until(ready, &awaited, file, line);
}
inline void bytes_came(Barrier* barrier, std::uint32_t bytes) {
  EmulatedBarrier& b = emulated(barrier);
  b.bytes -= static_cast<std::int32_t>(bytes);
  b.settle();
  ::emulation::made_progress();
}

inline void store_at(std::uint32_t rank, uint4* to, uint4 value, Barrier* barrier) {
  *static_cast<uint4*>(::emulation::shared_of(rank, to)) = value;
  bytes_came(static_cast<Barrier*>(::emulation::shared_of(rank, barrier)), sizeof(value));
}

inline void copy_box(void* to, const CUtensorMap* matrix, std::uint32_t row, std::uint32_t column, Barrier* barrier, std::uint32_t ranks,
                     GS_EMULATED_PLACE) {
  if (reinterpret_cast<std::uintptr_t>(to) % 1024 != 0) ::emulation::fail("a box at no multiple of 1024 bytes", file, line);
  for (std::uint32_t rank = 0; ranks >> rank != 0; ++rank) {
    if ((ranks >> rank & 1) == 0) continue;
    auto* bytes = static_cast<unsigned char*>(::emulation::shared_of(rank, to));
    for (std::uint32_t r = 0; r < matrix->box_rows; ++r) {
      for (std::uint32_t c = 0; c < 64; ++c) {
        const bool inside = row + r < matrix->rows && column + c < matrix->cols;
        const std::uint16_t value = inside ? matrix->values[std::size_t{row + r} * matrix->cols + column + c] : std::uint16_t{0};
        std::memcpy(bytes + r * 128 + ((c / 8 ^ r % 8) * 16 + c % 8 * 2), &value, sizeof(value));
      }
    }
    bytes_came(static_cast<Barrier*>(::emulation::shared_of(rank, barrier)), matrix->box_rows * 128);
  }
}

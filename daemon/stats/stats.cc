#include "daemon/stats/stats.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <numeric>

#include "daemon/stats/probes.h"

namespace handlefs {
namespace {

using Counter = std::atomic<uint64_t>;

constexpr std::array<char, 8> kMagic = {'h', 'f', 's', 't', 'a', 't', 's', 0};
constexpr size_t kShards = 256;
constexpr size_t kSeats = 512;
constexpr size_t kFallbacks = 32;

int64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000 + now.tv_nsec;
}

struct FallbackRecord {
  Counter count;  // 0: not valid
  std::array<char, 24> feature;
  std::array<char, 224> reason;
};

void Copy(std::string_view text, std::span<char> out) {
  size_t n = std::min(text.size(), out.size() - 1);
  text.copy(out.data(), n);
  out[n] = '\0';
}

// The thread's shard, and whose it is: servers follow each other in tests.
thread_local uint64_t joined_number = 0;
thread_local void* joined_shard = nullptr;

std::atomic<uint64_t> next_number{1};

}  // namespace

// A request that is under way; `unique` is 0 where there is none.
struct Stats::Place {
  std::atomic<uint64_t> unique;
  std::atomic<uint64_t> node;
  std::atomic<int64_t> began_ns;
  std::atomic<uint32_t> opcode;
  std::atomic<Whereabouts> where;
  std::atomic<uint32_t> taken;  // of seats
};

struct alignas(64) Stats::Shard {
  alignas(64) Place place;
  alignas(64) Counter bytes_read;
  Counter bytes_written;
  Counter offloaded;
  Counter malformed;
  struct alignas(64) Op {
    std::array<Counter, kBuckets> buckets;
    Counter nanoseconds;
  };
  std::array<Op, kStatRows> ops;
  std::array<std::array<Counter, kStatErrors>, kStatRows> errors;
};

struct Stats::Layout {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t size;
  std::atomic<TraceLevel> trace;
  std::atomic<uint32_t> shards;  // that were ever used
  struct {
    Counter nodes, node_bytes, node_descriptors, pins, open_files, lock_waiters,
        dropped_tokens;
  } gauges;
  std::array<FallbackRecord, kFallbacks> fallbacks;
  struct alignas(64) Seat {
    Place place;
  };
  std::array<Seat, kSeats> seats;
  std::array<Shard, kShards> shard;
};

namespace {
// `shared`: other threads may write to it too.
void Add(Counter& counter, uint64_t n, bool shared) {
  if (shared) {
    counter.fetch_add(n, std::memory_order_relaxed);
  } else {
    counter.store(counter.load(std::memory_order_relaxed) + n,
                  std::memory_order_relaxed);
  }
}

uint64_t Get(const Counter& counter) {
  return counter.load(std::memory_order_relaxed);
}
}  // namespace

std::string_view NameOf(Whereabouts where) {
  switch (where) {
    case Whereabouts::kThread:
      return "thread";
    case Whereabouts::kQueued:
      return "queue";
    case Whereabouts::kPool:
      return "pool";
    case Whereabouts::kLock:
      return "lock";
  }
  return "nowhere";
}

uint64_t StatsSum::Op::count() const {
  return std::accumulate(buckets.begin(), buckets.end(), uint64_t{0});
}

uint64_t StatsSum::Op::failed() const {
  return std::accumulate(errors.begin(), errors.end(), uint64_t{0});
}

size_t Stats::Size() { return sizeof(Layout); }

Stats::Stats(Layout* layout)
    : layout_(layout), number_(next_number.fetch_add(1)) {}

Stats::~Stats() {
  if (!own_.empty()) munmap(own_.data(), own_.size());
}

std::unique_ptr<Stats> Stats::In(std::span<std::byte> area, TraceLevel trace) {
  static_assert(std::is_trivially_destructible_v<Layout>);
  if (area.size() < sizeof(Layout)) std::abort();  // of a fixed size: a bug
  auto* layout = reinterpret_cast<Layout*>(area.data());
  if (layout->magic != kMagic || layout->version != kVersion ||
      layout->size != sizeof(Layout)) {
    if (layout->magic != std::array<char, 8>{}) {
      // Pages of a shared memory file, which become zero; or of this process.
      if (madvise(area.data(), area.size(), MADV_REMOVE) != 0) {
        std::memset(area.data(), 0, sizeof(Layout));
      }
    }
    layout->version = kVersion;
    layout->size = sizeof(Layout);
    layout->trace = trace;
    layout->shards = 1;
    layout->magic = kMagic;
  }
  return std::unique_ptr<Stats>(new Stats(layout));
}

std::unique_ptr<Stats> Stats::Alone(TraceLevel trace) {
  void* at = mmap(nullptr, sizeof(Layout), PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) std::abort();  // as any allocation
  std::span<std::byte> area(static_cast<std::byte*>(at), sizeof(Layout));
  auto stats = In(area, trace);
  stats->own_ = area;
  return stats;
}

void Stats::BeginServer() {
  auto clear = [](Place& place) {
    place.unique.store(0, std::memory_order_relaxed);
    place.taken.store(0, std::memory_order_relaxed);
  };
  const size_t shards = std::min<size_t>(layout_->shards.load(), kShards);
  for (size_t i = 0; i < shards; ++i) clear(layout_->shard[i].place);
  for (auto& seat : layout_->seats) clear(seat.place);
}

void Stats::JoinThread() {
  uint32_t index = next_shard_.fetch_add(1);
  if (index >= kShards) index = 0;
  joined_number = number_;
  joined_shard = &layout_->shard[index];
  uint32_t known = layout_->shards.load();
  while (known <= index &&
         !layout_->shards.compare_exchange_weak(known, index + 1)) {
  }
}

Stats::Shard& Stats::Mine() const {
  return joined_number == number_ ? *static_cast<Shard*>(joined_shard)
                                  : layout_->shard[0];
}

void Stats::Put(Place& place, const Ticket& ticket, Whereabouts where) {
  place.node.store(ticket.node, std::memory_order_relaxed);
  place.began_ns.store(ticket.began_ns, std::memory_order_relaxed);
  place.opcode.store(ticket.opcode, std::memory_order_relaxed);
  place.where.store(where, std::memory_order_relaxed);
  place.unique.store(ticket.unique, std::memory_order_release);
}

namespace {
Stats::Ticket TicketOf(const io::Packet& packet) {
  const abi::InHeader& header = packet.raw.header;
  return {.opcode = header.opcode,
          .unique = header.unique,
          .node = header.nodeid,
          .began_ns = packet.began_ns,
          .seat = packet.seat};
}
}  // namespace

void Stats::Begin(io::Packet& packet) {
  packet.began_ns = Now();
  [[maybe_unused]] const abi::InHeader& header = packet.raw.header;
  HANDLEFS_PROBE_START(header.unique, header.opcode, header.nodeid);
  Shard& shard = Mine();
  // Who shares one has no place of his own, and is not seen there.
  if (&shard == layout_->shard.data()) return;
  Put(shard.place, TicketOf(packet), Whereabouts::kThread);
}

uint32_t Stats::TakeSeat(const Ticket& ticket, Whereabouts where) {
  Mine().place.unique.store(0, std::memory_order_relaxed);
  const uint32_t first = next_seat_.fetch_add(1, std::memory_order_relaxed);
  for (uint32_t i = 0; i < kSeats; ++i) {
    const uint32_t index = (first + i) % kSeats;
    Place& place = layout_->seats[index].place;
    uint32_t free = 0;
    if (place.taken.load(std::memory_order_relaxed) != 0 ||
        !place.taken.compare_exchange_strong(free, 1)) {
      continue;
    }
    Put(place, ticket, where);
    return index + 1;
  }
  return 0;
}

void Stats::Queue(io::Packet& packet) {
  Shard& shard = Mine();
  Add(shard.offloaded, 1, &shard == layout_->shard.data());
  packet.seat = TakeSeat(TicketOf(packet), Whereabouts::kQueued);
}

void Stats::Run(const io::Packet& packet) {
  if (packet.seat == 0) return;
  layout_->seats[packet.seat - 1].place.where.store(Whereabouts::kPool,
                                                    std::memory_order_relaxed);
}

Stats::Ticket Stats::Wait(io::Packet& packet) {
  if (packet.seat != 0) {
    layout_->seats[packet.seat - 1].place.where.store(
        Whereabouts::kLock, std::memory_order_relaxed);
  } else {
    packet.seat = TakeSeat(TicketOf(packet), Whereabouts::kLock);
  }
  return TicketOf(packet);
}

void Stats::End(const io::Packet& packet, int error,
                std::span<const std::byte> payload) {
  End(TicketOf(packet), error, payload);
}

void Stats::End(const Ticket& ticket, int error,
                std::span<const std::byte> payload) {
  const int64_t took = std::max<int64_t>(Now() - ticket.began_ns, 0);
  Shard& shard = Mine();
  const bool shared = &shard == layout_->shard.data();
  const size_t row = proto::RowIndex(ticket.opcode);
  Shard::Op& op = shard.ops[row];
  Add(op.buckets[BucketOf(static_cast<uint64_t>(took))], 1, shared);
  Add(op.nanoseconds, static_cast<uint64_t>(took), shared);
  if (error != 0) {
    auto number = static_cast<size_t>(error);
    Add(shard.errors[row][number < kStatErrors ? number : 0], 1, shared);
  } else if (ticket.opcode == static_cast<uint32_t>(proto::Opcode::kRead)) {
    Add(shard.bytes_read, payload.size(), shared);
  } else if (ticket.opcode == static_cast<uint32_t>(proto::Opcode::kWrite) &&
             payload.size() >= sizeof(abi::WriteOut)) {
    abi::WriteOut out;
    std::memcpy(&out, payload.data(), sizeof(out));
    Add(shard.bytes_written, out.size, shared);
  }
  if (ticket.seat != 0) {
    Place& place = layout_->seats[ticket.seat - 1].place;
    place.unique.store(0, std::memory_order_relaxed);
    place.taken.store(0, std::memory_order_release);
  } else if (!shared) {
    shard.place.unique.store(0, std::memory_order_relaxed);
  }
  HANDLEFS_PROBE_END(ticket.unique, ticket.opcode, ticket.node, error, took);
}

void Stats::CountMalformed() {
  Shard& shard = Mine();
  Add(shard.malformed, 1, &shard == layout_->shard.data());
}

TraceLevel Stats::trace() const {
  return layout_->trace.load(std::memory_order_relaxed);
}
void Stats::SetTrace(TraceLevel trace) { layout_->trace.store(trace); }

void Stats::SetGauges(const Gauges& gauges) {
  auto& out = layout_->gauges;
  out.nodes = gauges.nodes;
  out.node_bytes = gauges.node_bytes;
  out.node_descriptors = gauges.node_descriptors;
  out.pins = gauges.pins;
  out.open_files = gauges.open_files;
  out.lock_waiters = gauges.lock_waiters;
  out.dropped_tokens = gauges.dropped_tokens;
}

void Stats::NoteFallback(std::string_view feature, std::string_view reason) {
  FallbackRecord wanted{};
  Copy(feature, wanted.feature);
  Copy(reason, wanted.reason);
  absl::MutexLock lock(&fallbacks_mutex_);
  for (FallbackRecord& record : layout_->fallbacks) {
    if (record.count == 0) {
      record.feature = wanted.feature;
      record.reason = wanted.reason;
      record.count.store(1, std::memory_order_release);
      return;
    }
    if (record.feature == wanted.feature && record.reason == wanted.reason) {
      record.count.fetch_add(1);
      return;
    }
  }
}

StatsSum Stats::Read() const {
  StatsSum sum;
  const int64_t now = Now();
  auto look = [&](const Place& place) {
    uint64_t unique = place.unique.load(std::memory_order_acquire);
    if (unique == 0) return;
    InFlight one{.opcode = place.opcode.load(std::memory_order_acquire),
                 .unique = unique,
                 .node = place.node.load(std::memory_order_acquire),
                 .age_ns = now - place.began_ns.load(std::memory_order_acquire),
                 .where = place.where.load(std::memory_order_acquire)};
    // Another one has come meanwhile: then that thread gets on.
    if (place.unique.load(std::memory_order_relaxed) != unique) return;
    sum.in_flight.push_back(one);
  };
  const size_t shards = std::min<size_t>(layout_->shards.load(), kShards);
  for (size_t i = 0; i < shards; ++i) {
    const Shard& shard = layout_->shard[i];
    look(shard.place);
    sum.bytes_read += Get(shard.bytes_read);
    sum.bytes_written += Get(shard.bytes_written);
    sum.offloaded += Get(shard.offloaded);
    sum.malformed += Get(shard.malformed);
    for (size_t row = 0; row < kStatRows; ++row) {
      StatsSum::Op& op = sum.ops[row];
      uint64_t here = 0;
      for (size_t b = 0; b < kBuckets; ++b) {
        uint64_t n = Get(shard.ops[row].buckets[b]);
        op.buckets[b] += n;
        here += n;
      }
      if (here == 0) continue;
      op.nanoseconds += Get(shard.ops[row].nanoseconds);
      for (size_t e = 0; e < kStatErrors; ++e) {
        op.errors[e] += Get(shard.errors[row][e]);
      }
    }
  }
  for (const auto& seat : layout_->seats) look(seat.place);
  std::sort(
      sum.in_flight.begin(), sum.in_flight.end(),
      [](const InFlight& a, const InFlight& b) { return a.age_ns > b.age_ns; });
  const auto& gauges = layout_->gauges;
  sum.gauges = {.nodes = gauges.nodes,
                .node_bytes = gauges.node_bytes,
                .node_descriptors = gauges.node_descriptors,
                .pins = gauges.pins,
                .open_files = gauges.open_files,
                .lock_waiters = gauges.lock_waiters,
                .dropped_tokens = gauges.dropped_tokens};
  for (const FallbackRecord& record : layout_->fallbacks) {
    uint64_t count = record.count.load(std::memory_order_acquire);
    if (count == 0) break;
    sum.fallbacks.push_back({.feature = record.feature.data(),
                             .reason = record.reason.data(),
                             .count = count});
  }
  return sum;
}

}  // namespace handlefs

// What is counted of requests, in memory that outlives the server: a part of
// the restart state, or of this process alone without one. The server writes,
// whoever has the memory mapped can read it at any time, also while the server
// hangs: what each of its threads is at stands there too.
//
//   header   layout, trace switch, gauges, fallbacks
//   shards   one for each thread that serves: what it is at, and its counters
//   seats    requests that no thread is at: queued for the pool, in the pool,
//            waiting for a lock
//
// A thread writes to its own shard alone, without locks or atomic read and
// write in one, so that counting costs two readings of the clock and a few
// stores. Shard 0 is shared by threads that have none of their own.
//
// The layout has a version of its own. Another one is not gone on with: the
// counters begin at zero.
#ifndef HANDLEFS_DAEMON_STATS_STATS_H_
#define HANDLEFS_DAEMON_STATS_STATS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "daemon/stats/histogram.h"
#include "io/transport.h"
#include "proto/opcode.h"

namespace handlefs {

// One row for each opcode of the table, and one for all others.
inline constexpr size_t kStatRows = proto::kOpRows + 1;
// Errors by number; larger ones are counted as number 0.
inline constexpr size_t kStatErrors = 134;

// Where a request is.
enum class Whereabouts : uint32_t {
  kThread,  // on the thread that took it
  kQueued,  // waits for a thread of the pool
  kPool,    // on a thread of the pool
  kLock,    // waits for a lock
};
std::string_view NameOf(Whereabouts where);

// What is traced into the log. Written by whoever is asked, read by the server.
enum class TraceLevel : uint32_t { kOff, kLines };

struct Gauges {
  uint64_t nodes = 0;  // that are not their own handle
  uint64_t node_bytes = 0;
  uint64_t node_descriptors = 0;
  uint64_t pins = 0;
  uint64_t open_files = 0;
  uint64_t lock_waiters = 0;
  uint64_t dropped_tokens = 0;
};

struct InFlight {
  uint32_t opcode = 0;
  uint64_t unique = 0;
  uint64_t node = 0;
  int64_t age_ns = 0;
  Whereabouts where = Whereabouts::kThread;
};

// Something that was asked for, or taken by default, and is not to be had.
struct Fallback {
  std::string feature;
  std::string reason;
  uint64_t count = 0;
};

// All that was counted, added up.
struct StatsSum {
  struct Op {
    std::array<uint64_t, kBuckets> buckets{};
    uint64_t nanoseconds = 0;
    std::array<uint64_t, kStatErrors> errors{};
    uint64_t count() const;
    uint64_t failed() const;
  };
  std::vector<Op> ops = std::vector<Op>(kStatRows);
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t offloaded = 0;
  uint64_t malformed = 0;
  Gauges gauges;
  std::vector<Fallback> fallbacks;
  std::vector<InFlight> in_flight;  // the oldest first
};

class Stats {
 public:
  static constexpr uint32_t kVersion = 1;
  // Of memory that is there already; what is in it goes on if it is of this
  // layout, else it begins at zero with that trace.
  static std::unique_ptr<Stats> In(std::span<std::byte> area, TraceLevel trace);
  // Of this process alone.
  static std::unique_ptr<Stats> Alone(TraceLevel trace);
  // How large an area must be.
  static size_t Size();
  ~Stats();
  Stats(const Stats&) = delete;
  Stats& operator=(const Stats&) = delete;

  // A new server: nothing is under way.
  void BeginServer();
  // The calling thread counts for itself from now on.
  void JoinThread();

  // A request's way, each with the packet in the caller's hands.
  void Begin(io::Packet& packet);
  void Queue(io::Packet& packet);      // it is given to the pool
  void Run(const io::Packet& packet);  // the pool has taken it
  // What is left of a packet whose buffers are given back.
  struct Ticket {
    uint32_t opcode = 0;
    uint64_t unique = 0;
    uint64_t node = 0;
    int64_t began_ns = 0;
    uint32_t seat = 0;
  };
  Ticket Wait(io::Packet& packet);  // it waits for a lock
  // Before the answer is sent, once for each Begin. `payload` is that of a
  // success.
  void End(const io::Packet& packet, int error,
           std::span<const std::byte> payload = {});
  void End(const Ticket& ticket, int error,
           std::span<const std::byte> payload = {});
  void CountMalformed();

  TraceLevel trace() const;
  void SetTrace(TraceLevel trace);
  void SetGauges(const Gauges& gauges);
  // The same words again are counted. What does not fit is cut off.
  void NoteFallback(std::string_view feature, std::string_view reason);

  // Any process that has the memory, at any time.
  StatsSum Read() const;

 private:
  struct Layout;
  struct Shard;
  struct Place;

  explicit Stats(Layout* layout);
  Shard& Mine() const;
  // A place for a request that leaves its thread; 0: all are taken.
  uint32_t TakeSeat(const Ticket& ticket, Whereabouts where);
  static void Put(Place& place, const Ticket& ticket, Whereabouts where);

  Layout* const layout_;
  std::span<std::byte> own_;  // what is to be unmapped
  const uint64_t number_;     // of objects of this process
  std::atomic<uint32_t> next_shard_{1};
  std::atomic<uint32_t> next_seat_{0};
  absl::Mutex fallbacks_mutex_;
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_STATS_STATS_H_

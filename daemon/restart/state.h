// The memory that outlives the server: one memfd, mapped by the keeper and by
// each server in turn. Sparse: it costs what is used.
//
//   header    layout version, what INIT settled (under a checksum), counters
//   journal   requests that must not be executed twice (journal.h)
//   records   open files, pins, locks, nodes (io/base/vault.h), in cells of 64
//             bytes, each record under a keyed checksum
//   stats     what is counted (stats/stats.h), with a layout of its own
//
// A server can be killed between any two instructions, and what it had stored
// is there. So everything is written before the one store that makes it valid.
// A layout of another version is refused before anything is taken over.
#ifndef HANDLEFS_DAEMON_RESTART_STATE_H_
#define HANDLEFS_DAEMON_RESTART_STATE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "handles/siphash.h"
#include "io/base/fd.h"
#include "io/base/vault.h"
#include "proto/abi.h"

namespace handlefs {

// What INIT settled; a successor goes on with exactly this.
struct SessionRecord {
  abi::InitOut init;
  std::array<char, 32> dialect;  // name, padded with NUL
  std::array<char, 32> framing;  // of compounds; empty: not known yet
};

struct JournalEntry;

class State {
 public:
  // The layout's number: one more with every change of anything in here, in
  // JournalEntry, or in a record of any kind.
  static constexpr uint32_t kVersion = 2;
  static constexpr size_t kJournalEntries = 4096;

  // A new one, with a random key.
  static absl::StatusOr<std::unique_ptr<State>> Create();
  // FAILED_PRECONDITION: not such a memory, of another version, or damaged; the
  // message says which. Nothing is changed in it.
  static absl::StatusOr<std::unique_ptr<State>> Open(UniqueFd memory);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  BorrowedFd memory() const { return memory_; }
  // Of node ids, MACs and checksums. Changed before the first server alone.
  const HashKey& key() const;
  void SetKey(const HashKey& key);
  // Nothing before INIT was answered.
  std::optional<SessionRecord> session() const;
  void SetSession(const SessionRecord& session);

  // Numbers for whoever watches; each is written by one side only.
  struct Counters {
    std::atomic<uint64_t> generation;  // servers started, by the keeper
    std::atomic<uint64_t> crashes;     // servers that died, by the keeper
    std::atomic<int64_t> began_ns;     // CLOCK_REALTIME of the first server
    std::atomic<int64_t> serving_ns;   // CLOCK_REALTIME of the last take-over
    std::atomic<uint64_t> pause_ns;    // of the last take-over
    std::atomic<uint64_t> resent;      // requests that came again
    std::atomic<uint64_t> recalled;    // of these: answered from the journal
    std::atomic<uint64_t> settled;     // of these: found half done, and settled
    std::atomic<uint64_t> highest_backing;  // id of a passthrough file
    std::atomic<uint64_t> record_bytes;     // of records, by the server
  };
  Counters& counters() const;
  std::span<JournalEntry> journal() const;
  // For Stats: nothing of it is looked at here.
  std::span<std::byte> stats_area() const;

  // Records. The scan of what is there belongs to the process that serves:
  // before it, nothing can be added.
  struct Scanned {
    Vault::Ref ref;
    Vault::Kind kind;
    std::vector<std::byte> data;
    uint64_t word;
  };
  std::vector<Scanned> Scan();
  // Room for a record that nobody sees before Commit. kNoRef: full.
  Vault::Ref Reserve(size_t size);
  void Commit(Vault::Ref ref, Vault::Kind kind,
              std::span<const std::byte> data);
  void Erase(Vault::Ref ref);
  std::atomic<uint64_t>* Word(Vault::Ref ref);

 private:
  struct Header;
  struct Head;
  static constexpr size_t kCell = 64;
  static constexpr size_t kLongest = 8;  // cells of a record

  explicit State(UniqueFd memory) : memory_(std::move(memory)) {}
  absl::Status Map();
  Header& header() const;
  std::byte* CellAt(uint32_t index) const;
  Head& HeadAt(uint32_t index) const;
  uint32_t Sum(uint32_t index, uint32_t kind, std::span<const std::byte>) const;

  const UniqueFd memory_;
  std::byte* base_ = nullptr;
  mutable absl::Mutex mutex_;
  // Runs of free cells, by their length.
  std::array<std::vector<uint32_t>, kLongest + 1> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_STATE_H_

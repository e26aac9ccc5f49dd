// Requests that must not be executed twice. A server that is killed leaves
// requests unanswered; NOTIFY_RESEND brings them to its successor again, which
// must know for each whether the host was changed already, and what the answer
// was. So an op marks its intent directly before the system call, with what
// tells afterwards whether the call took place, and the answer is noted before
// it is sent.
//
//   nothing in the journal   the host was not touched: the op just runs
//   intent                   it may have been: the op looks (Intent::earlier)
//   done                     the noted answer is sent
//
// An entry is reused when the thread that wrote it has begun its next one: its
// answer was sent by then. What earlier servers left is kept until it is old:
// nobody knows which of their last answers went out. Thread-safe.
#ifndef HANDLEFS_DAEMON_RESTART_JOURNAL_H_
#define HANDLEFS_DAEMON_RESTART_JOURNAL_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/base/errno.h"
#include "proto/base/ids.h"

namespace handlefs {

// What an op knows before it changes the host.
struct Before {
  uint64_t first = 0;   // fingerprint of what the name means
  uint64_t second = 0;  // of what the other name means
  uint64_t size = 0;    // of the file; or whether something was there
};

// In shared memory; the layout is part of State::kVersion.
struct JournalEntry {
  enum class Phase : uint32_t {
    kFree = 0,
    kClaimed,  // being filled: as good as free to a successor
    kIntent,
    kDone,
    kAnswered
  };
  // The longest is of a compound that makes and opens a file.
  static constexpr size_t kPayload = 576;

  std::atomic<uint64_t> unique;  // without the mark of a resent one
  std::atomic<Phase> phase;
  int32_t error;  // of the answer; 0 for success
  int64_t began_ns;
  uint64_t generation;  // of the last server that had the request in hand
  Before before;
  uint32_t payload_size;
  uint32_t spare;
  std::array<std::byte, kPayload> payload;
};
static_assert(sizeof(JournalEntry) == 640);

class Journal {
 public:
  // What is known of a request that was begun by an earlier server.
  struct Earlier {
    bool done = false;
    int64_t began_ns = 0;  // CLOCK_REALTIME, not later than the system call
    Before before;
    int32_t error = 0;  // if done
    std::array<std::byte, JournalEntry::kPayload> payload;
    uint32_t payload_size = 0;
    JournalEntry* entry = nullptr;
  };

  // What earlier servers left unanswered is read; `generation` is this server's
  // number.
  Journal(std::span<JournalEntry> entries, uint64_t generation);

  // How many requests a thread may have begun before the answer of the first is
  // sent: 1 unless told otherwise, at most kMostBehind.
  static constexpr size_t kMostBehind = 32;
  void SetBehind(size_t requests) { behind_.store(requests); }

  std::optional<Earlier> Find(Unique unique);
  // An entry for this thread. Null: none is free, which takes thousands of
  // requests that were never answered.
  JournalEntry* Begin(Unique unique, const Before& before);
  void Done(JournalEntry& entry, std::span<const std::byte> payload,
            int32_t error) const;
  // Called now and then: entries of earlier servers that nobody has asked for
  // are not waited for any longer.
  void Tick(absl::Time now);

 private:
  void Collect(JournalEntry& entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropOldest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::span<JournalEntry> entries_;
  const uint64_t generation_;
  const uint64_t number_;  // of journals of this process
  std::atomic<size_t> behind_{1};
  std::atomic<uint64_t> next_{0};
  std::atomic<bool> any_earlier_{false};
  absl::Mutex mutex_;
  absl::flat_hash_map<uint64_t, JournalEntry*> earlier_ ABSL_GUARDED_BY(mutex_);
  absl::Time asked_ ABSL_GUARDED_BY(mutex_);
};

// One request's line to the journal; what an op is given. An empty one notes
// nothing.
class Intent {
 public:
  Intent() = default;
  // kAgain: an earlier server may have begun it.
  enum class Turn { kFirst, kAgain };
  // Of a request whose number tells: NOTIFY_RESEND marks it.
  Intent(Journal* journal, Unique unique)
      : Intent(
            journal, unique,
            (Raw(unique) & kUniqueResend) != 0 ? Turn::kAgain : Turn::kFirst) {}
  Intent(Journal* journal, Unique unique, Turn turn)
      : journal_(journal), unique_(unique), turn_(turn) {
    if (journal != nullptr && turn == Turn::kAgain) {
      earlier_ = journal->Find(unique);
    }
  }
  Intent(const Intent&) = delete;
  Intent& operator=(const Intent&) = delete;

  // Whether what Mark is told can matter: it may cost system calls.
  bool is_kept() const { return journal_ != nullptr; }
  // The host is about to be changed.
  void Mark(const Before& before) {
    if (journal_ == nullptr || entry_ != nullptr) return;
    // What the first server saw is what counts, however many come.
    entry_ = earlier_ ? earlier_->entry : journal_->Begin(unique_, before);
  }
  // Set if an earlier server was killed between Mark and the answer.
  const Journal::Earlier* earlier() const {
    return earlier_ && !earlier_->done ? &*earlier_ : nullptr;
  }
  // Set if it had noted the answer.
  const Journal::Earlier* answer() const {
    return earlier_ && earlier_->done ? &*earlier_ : nullptr;
  }
  // Before the answer is sent.
  void Done(std::span<const std::byte> payload, int32_t error) {
    if (entry_ != nullptr) journal_->Done(*entry_, payload, error);
  }
  Unique unique() const { return unique_; }
  bool is_again() const { return turn_ == Turn::kAgain; }

 private:
  Journal* journal_ = nullptr;
  Unique unique_{0};
  Turn turn_ = Turn::kFirst;
  JournalEntry* entry_ = nullptr;
  std::optional<Journal::Earlier> earlier_;
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_JOURNAL_H_

// Descriptors that several threads may use at once, and the two places that
// keep O_PATH descriptors of nodes: a small cache of hot ones, and pins.
// Thread-safe.
#ifndef HANDLEFS_HANDLES_FD_CACHE_H_
#define HANDLEFS_HANDLES_FD_CACHE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "io/base/fd.h"
#include "io/base/vault.h"
#include "proto/base/ids.h"

namespace handlefs {

// Closed when the last holder lets go.
using SharedFd = std::shared_ptr<const UniqueFd>;

// At most kCapacity descriptors, whatever is open through the mount. A hot file
// is kept until others push it out; DropFiles() lets go of everything that is
// no directory, so that space of files deleted on the host is not held for
// longer than it is of use.
class HotFds {
 public:
  static constexpr size_t kCapacity = 32;
  enum class Kind : uint8_t { kFile, kDirectory };

  // `kind`: what it was put in as.
  SharedFd Find(NodeId id, Kind* kind = nullptr);
  void Insert(NodeId id, SharedFd fd, Kind kind);
  void Drop(NodeId id);
  void DropFiles();

 private:
  static constexpr size_t kWays = 4;
  struct Way {
    NodeId id = kNoNode;
    Kind kind = Kind::kFile;
    uint32_t used = 0;
    SharedFd fd;
  };
  struct Set {
    absl::Mutex mutex;
    uint32_t clock ABSL_GUARDED_BY(mutex) = 0;
    std::array<Way, kWays> ways ABSL_GUARDED_BY(mutex);
  };
  Set& SetOf(NodeId id) { return sets_[(Raw(id) * 0x9e3779b97f4a7c15u) >> 61]; }
  std::array<Set, kCapacity / kWays> sets_;
};

// Inodes without a name, kept alive until the kernel forgets them. The lookups
// that count are those since the pin: a FORGET carries all lookups of the
// inode's life in the kernel, so one of at least that many is the last.
//
// With a vault a pin outlives the server: at once where somebody has the file
// open or may stand in the directory, else if it is still there after a while,
// since most inodes are forgotten soon after they lost their name.
class Pins {
 public:
  // Before any request: pins of earlier servers come back.
  void Restore(Vault& vault);
  // A record of a pin that is about to be needed; whoever asks erases it if it
  // is not. kNoRef without a vault.
  Vault::Ref KeepAhead(NodeId id, BorrowedFd fd);
  void Erase(Vault::Ref ref);
  SharedFd Find(NodeId id) {
    if (size_.load(std::memory_order_relaxed) == 0) return nullptr;
    return FindSlow(id);
  }
  // Keeps an existing pin.
  void Add(NodeId id, SharedFd fd, Vault::Ref ref = Vault::kNoRef);
  // Called now and then: gives pins that last to the vault.
  void Tick(absl::Time now);
  void AddLookup(NodeId id);
  void Forget(NodeId id, uint64_t lookups);
  // The inode got a name again (linkat of an O_TMPFILE).
  void Remove(NodeId id);
  size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  struct Pin {
    SharedFd fd;
    uint64_t lookups = 0;
    Vault::Ref ref = Vault::kNoRef;
  };
  struct Fresh {
    uint64_t id;
    absl::Time since;
  };
  SharedFd FindSlow(NodeId id);
  void Note(const Pin& pin) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Take(absl::flat_hash_map<uint64_t, Pin>::iterator it)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Vault* vault_ = nullptr;  // set before any request
  std::atomic<size_t> size_{0};
  absl::Mutex mutex_;
  absl::flat_hash_map<uint64_t, Pin> pins_ ABSL_GUARDED_BY(mutex_);
  std::deque<Fresh> fresh_ ABSL_GUARDED_BY(mutex_);  // not in the vault yet
};

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_FD_CACHE_H_

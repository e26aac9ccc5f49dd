// POSIX record locks of the mount's clients, held on the host.
//
// A POSIX lock belongs to a process, and all of the server's descriptors belong
// to one process. So each owner gets an open file description of its own per
// node and takes open-file-description locks there: they conflict with those of
// other owners and with locks of host processes, as they should. What an owner
// holds is also kept as a list of ranges, for one purpose: F_GETLK must name
// the pid of the holder, and the host reports none for such locks. Thread-safe.
// Nothing here waits.
//
// With a vault the keeper has each descriptor too, so that the locks outlive
// the server; letting go is therefore always said to the host, and not left to
// close.
#ifndef HANDLEFS_HANDLES_OWNER_LOCKS_H_
#define HANDLEFS_HANDLES_OWNER_LOCKS_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "io/base/fd.h"
#include "io/base/vault.h"
#include "proto/base/errno.h"
#include "proto/base/ids.h"

namespace handlefs {

// As on the wire: `end` is the last byte, INT64_MAX for "to the end".
struct LockRange {
  uint64_t start = 0;
  uint64_t end = 0;
  int type = 0;  // F_RDLCK, F_WRLCK, F_UNLCK
  uint32_t pid = 0;
};

class OwnerLocks {
 public:
  // Opens the node's file anew: O_RDONLY or O_RDWR.
  using Opener = std::function<Result<UniqueFd>(int access)>;

  // `vault`: null if locks end with the server; else it outlives this.
  explicit OwnerLocks(Vault* vault = nullptr) : vault_(vault) {}
  // What owners of earlier servers hold, before the first request.
  void Restore();

  // EAGAIN: somebody else holds a conflicting lock. `fh` is what the lock was
  // asked for through.
  Status Set(NodeId node, LockOwner owner, Fh fh, const LockRange& range,
             int access, const Opener& open);
  // The first conflicting lock, or `range` with F_UNLCK. `any` is an open file
  // of the node.
  Result<LockRange> Test(NodeId node, LockOwner owner, const LockRange& range,
                         BorrowedFd any);
  // The owner closed a file of the node. True if it held anything.
  bool DropOwner(NodeId node, LockOwner owner);
  // The last reference to the open file is gone; what was locked through it
  // and is still held belongs to it alone (open-file-description locks).
  bool DropFh(NodeId node, Fh fh);

 private:
  struct Holder {
    LockOwner owner{0};
    Fh fh{0};
    int access = 0;
    UniqueFd fd;
    std::vector<LockRange> held;  // sorted, disjoint
    Vault::Ref record = Vault::kNoRef;
    uint32_t pid = 0;  // that locked last
  };
  using Holders = std::vector<Holder>;
  static void Note(std::vector<LockRange>& held, const LockRange& range);
  Status Upgrade(NodeId node, Holder& holder, const Opener& open);
  // After what was asked for last has changed.
  void Record(NodeId node, Holder& holder);
  void LetGo(Holder& holder);
  template <typename Predicate>
  size_t Drop(NodeId node, Predicate predicate);

  Vault* const vault_;
  absl::Mutex mutex_;
  absl::flat_hash_map<uint64_t, Holders> nodes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_OWNER_LOCKS_H_

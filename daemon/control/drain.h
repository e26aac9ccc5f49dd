// handlefsctl drain: what was written is on the disk, and no request is under
// way. A process of its own writes back the pages of the mount, for which the
// server is needed, and then the host's file system; when it has ended, the
// kernel is looked at until it waits for nothing. New requests are served all
// the time: who wants none stops his programs, or freezes the host's file
// system (fsfreeze). One thread.
#ifndef HANDLEFS_DAEMON_CONTROL_DRAIN_H_
#define HANDLEFS_DAEMON_CONTROL_DRAIN_H_

#include <optional>

#include "absl/time/time.h"
#include "daemon/mount.h"
#include "daemon/restart/child.h"
#include "daemon/stats/stats.h"
#include "io/base/fd.h"

namespace handlefs {

class Drain {
 public:
  // Never waits. `source` is a descriptor of the host's file system.
  void Begin(const Mounted& mounted, BorrowedFd source, absl::Duration limit,
             UniqueFd asker);
  // Answers when there is nothing to wait for any more, or time is over.
  void Look(const Mounted& mounted, const Stats& stats);
  // When to look again at the latest.
  absl::Time next() const { return next_; }
  // Readable when there is something to look at; none if nothing is drained.
  BorrowedFd fd() const {
    return syncer_.exists() ? syncer_.fd() : BorrowedFd();
  }
  // In a forked process: it has nothing to do with it.
  void Close() { asker_.reset(); }

 private:
  Child syncer_;
  std::optional<int> synced_;  // errno of it
  UniqueFd asker_;
  absl::Time began_;
  absl::Time until_;
  absl::Time next_ = absl::InfiniteFuture();
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_CONTROL_DRAIN_H_

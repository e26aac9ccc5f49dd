// Open files, as the kernel names them by fh:
//   fh = incarnation of the server << 40 | generation << 24 | index
// An fh of another incarnation (the server was restarted) is one of an earlier
// server's files. With a vault it is known from there, asleep until it is used:
// it is opened again from its nodeid. Without one it means nothing, and is
// opened again and adopted under its old name. Thread-safe; a file stays open
// while anybody holds the pointer that Find gave.
#ifndef HANDLEFS_HANDLES_OPEN_FILES_H_
#define HANDLEFS_HANDLES_OPEN_FILES_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "handles/dir_stream.h"
#include "io/base/fd.h"
#include "io/base/vault.h"
#include "proto/base/errno.h"
#include "proto/base/ids.h"

namespace handlefs {

struct OpenFile {
  UniqueFd fd;    // none while it is asleep
  int flags = 0;  // O_*, as the host file was opened
  NodeId node = kNoNode;
  BackingId backing = kNoBacking;  // if reads and writes pass the server by
  // Of a file that was opened again, and again with more rights: what it was
  // at first.
  std::shared_ptr<OpenFile> first;
  // With the flags that open it again.
  Vault::Ref record = Vault::kNoRef;
  // The keeper has its descriptor: what hangs on the description goes on.
  std::atomic<bool> is_kept{false};
  absl::Mutex dir_mutex;
  DirStream dir ABSL_GUARDED_BY(dir_mutex);

  // flocks belong to a description, so all of a file go to the same one.
  BorrowedFd flock_fd() const { return first ? first->fd : fd; }
};

class OpenFiles {
 public:
  // `incarnation` tells servers of one mount apart; 24 bits of it count.
  // `vault`: null if files end with the server; else it outlives this.
  explicit OpenFiles(uint32_t incarnation, Vault* vault = nullptr)
      : vault_(vault), incarnation_(incarnation & 0xffffff) {}

  // What earlier servers left, before the first request; `visit` is called for
  // each. A file whose end had begun already has kClosing.
  enum class Left { kOpen, kClosing };
  void Restore(const std::function<void(const OpenFile&, Left)>& visit);

  // ENFILE: 2^24 files are open. `host_flags` open it again; `unique` is the
  // request that opened it.
  Result<Fh> Insert(std::shared_ptr<OpenFile> file, int host_flags = 0,
                    Unique unique = Unique{0});
  // A sleeping file was opened: `file`, or what another thread was first with.
  std::shared_ptr<OpenFile> Wake(Fh fh, std::shared_ptr<OpenFile> file);
  // The file that an earlier server opened for the same request, whose answer
  // never went out.
  std::optional<Fh> OfRequest(Unique unique);
  // The end of a removed file: Closing before what it held is let go, Closed
  // after.
  void Closing(const OpenFile& file);
  void Closed(const OpenFile& file);
  // From now on the description lives on with the keeper.
  void Keep(OpenFile& file);
  // A file of an earlier server, opened again. Takes the place of an earlier
  // such file, whose `first` it keeps.
  void Adopt(Fh fh, std::shared_ptr<OpenFile> file);
  // EBADF: no such open file.
  Result<std::shared_ptr<OpenFile>> Find(Fh fh) const;
  Result<std::shared_ptr<OpenFile>> Remove(Fh fh);
  // An open file of the node, if one is at hand: for what any descriptor of a
  // file can do better than an O_PATH one.
  std::shared_ptr<OpenFile> OfNode(NodeId node) const;
  // Of all open files; each once or more.
  std::vector<NodeId> OpenNodes() const;
  bool IsForeign(Fh fh) const { return Raw(fh) >> 40 != incarnation_; }
  size_t size() const;

 private:
  struct Slot {
    std::shared_ptr<OpenFile> file;
    uint16_t generation = 0;
  };
  const Slot* SlotOf(Fh fh) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  void ForgetNode(const std::shared_ptr<OpenFile>& file)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Vault* const vault_;
  const uint64_t incarnation_;
  mutable absl::Mutex mutex_;
  std::vector<Slot> slots_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint32_t> free_ ABSL_GUARDED_BY(mutex_);
  // The last one opened of each node, until it is closed.
  absl::flat_hash_map<uint64_t, std::weak_ptr<OpenFile>> by_node_
      ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, std::shared_ptr<OpenFile>> adopted_
      ABSL_GUARDED_BY(mutex_);
  // Of earlier servers, by the request that opened them.
  absl::flat_hash_map<uint64_t, uint64_t> by_request_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_OPEN_FILES_H_

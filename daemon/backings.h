// FUSE passthrough: which nodes are open with the kernel going straight to the
// host file. The kernel demands that all opens of an inode that exist at the
// same time are alike and name the same backing id; anything else is EIO for
// the caller (6.9 to 7.3). So the first open of a node decides for those that
// come while it lasts, and there is one id per node, closed with the last of
// them. Thread-safe.
#ifndef HANDLEFS_DAEMON_BACKINGS_H_
#define HANDLEFS_DAEMON_BACKINGS_H_

#include <atomic>
#include <cstdint>
#include <span>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "io/transport.h"
#include "proto/base/ids.h"

namespace handlefs {

class Backings {
 public:
  enum class Wish { kPassthrough, kServer };
  enum class Access { kRead, kWrite };
  explicit Backings(io::Connection* connection) : connection_(connection) {}

  // For one more open of the node; kNoBacking means that reads and writes come
  // to the server.
  BackingId Open(NodeId node, BorrowedFd fd, Wish wish, Access access);
  // With what Open was given and what it gave; anything else is ignored.
  void Release(NodeId node, BackingId id, Access access);
  // What is open since earlier servers; before the first request.
  void Restore(NodeId node, BackingId id, Access access);
  // Closes ids that nothing is open with: those that an earlier server was
  // about to close, and those it got and had not noted.
  void Sweep(std::span<const BackingId> closing);
  // The largest id so far is noted there; the kernel counts up.
  void CountHighest(std::atomic<uint64_t>& highest) { highest_ = &highest; }
  bool IsOpen(NodeId node);
  // Open for writing in either way.
  bool HasWriters(NodeId node);
  // Open in passthrough for writing: its times and size move unseen.
  bool IsWritten(NodeId node);
  // Errno of the last refusal by the kernel; 0 if there was none.
  int last_refusal() const { return last_refusal_.load(); }

 private:
  struct State {
    BackingId id = kNoBacking;
    // Opens; all are alike.
    uint32_t readers = 0;
    uint32_t writers = 0;
  };
  io::Connection* const connection_;
  std::atomic<uint64_t>* highest_ = nullptr;  // set before any request
  std::atomic<int> last_refusal_{0};
  std::atomic<size_t> with_id_{0};
  absl::Mutex mutex_;
  absl::flat_hash_map<uint64_t, State> nodes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_BACKINGS_H_

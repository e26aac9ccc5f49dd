// Locks that have to wait: SETLKW and blocking flock. A waiting request takes
// no thread and no buffer. One thread tries the waiters again, at once when the
// server itself sees a lock of the node let go, and with a pause that grows
// from 1 to 32 ms otherwise, because a host process may hold the lock.
// Thread-safe.
#ifndef HANDLEFS_DAEMON_LOCK_WAITERS_H_
#define HANDLEFS_DAEMON_LOCK_WAITERS_H_

#include <array>
#include <functional>
#include <list>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "io/transport.h"
#include "proto/base/ids.h"

namespace handlefs {

class LockWaiters {
 public:
  // EAGAIN: still held by somebody else. Anything else is the answer.
  using Attempt = std::function<Status()>;

  explicit LockWaiters(std::function<void()> thread_start)
      : thread_start_(std::move(thread_start)) {}
  // Answers EINTR to all that still wait.
  ~LockWaiters();

  void Add(NodeId node, io::LateReply reply, Attempt attempt);
  // A lock of the node was let go.
  void Wake(NodeId node);
  // True if the request waits here; it is answered EINTR.
  bool Interrupt(Unique target);
  // An INTERRUPT that met no request: its target may be on its way here on
  // another thread, or just have come.
  void NoteEarlyInterrupt(Unique target);
  size_t size();

 private:
  struct Waiter {
    NodeId node;
    io::LateReply reply;
    Attempt attempt;
    absl::Time next;
    absl::Duration pause;
  };
  void Serve();
  bool End(Unique target) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Time NextTime() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::function<void()> thread_start_;
  absl::Mutex mutex_;
  absl::CondVar changed_;
  std::list<Waiter> waiters_ ABSL_GUARDED_BY(mutex_);  // in order of arrival
  std::array<uint64_t, 16> early_ ABSL_GUARDED_BY(mutex_){};
  size_t early_next_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_LOCK_WAITERS_H_

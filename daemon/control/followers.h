// Who watches the trace while it happens. A line costs the thread that tells it
// a copy, whatever its reader does: each has a buffer, and what does not fit is
// counted and said. Thread-safe.
#ifndef HANDLEFS_DAEMON_CONTROL_FOLLOWERS_H_
#define HANDLEFS_DAEMON_CONTROL_FOLLOWERS_H_

#include <atomic>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "io/base/fd.h"

namespace handlefs {

class Followers {
 public:
  // Of each, beside what the socket takes.
  static constexpr size_t kBuffer = size_t{1} << 20;
  static constexpr size_t kMost = 16;

  Followers() = default;
  ~Followers();

  // `greeting` is sent first, as it is. RESOURCE_EXHAUSTED: there are enough;
  // UNAVAILABLE: no descriptors are left. `connection` is kept then.
  absl::Status Add(UniqueFd& connection, std::string greeting);
  bool any() const { return count_.load(std::memory_order_relaxed) != 0; }
  // One or more lines, without the last newline.
  void Tell(std::string_view lines);

 private:
  struct Follower {
    UniqueFd fd;
    std::string buffer;
    size_t sent = 0;
    uint64_t dropped = 0;
  };
  void Serve();
  void Append(Follower& follower, std::string_view lines)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void TellDropped(Follower& follower);
  // False: nobody reads any more.
  bool Send(Follower& follower) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wake();

  std::atomic<size_t> count_{0};
  absl::Mutex mutex_;
  std::list<Follower> followers_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  UniqueFd wake_;  // made before the thread
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_CONTROL_FOLLOWERS_H_

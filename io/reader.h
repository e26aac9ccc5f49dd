// One reader thread of the `dev` transport: an io_uring with exactly one READ
// in flight, on its own descriptor, which it makes non-blocking. A second READ
// would end in a deadlock inside the kernel: spurious wake-ups move it to a
// worker that blocks in the same function as the ring's own thread.
//
// The reply of a request that was answered on this thread leaves in the same
// io_uring_enter as the next READ. Where io_uring is not to be had (disabled by
// sysctl or seccomp), poll, read and write do the same with more calls.
#ifndef HANDLEFS_IO_READER_H_
#define HANDLEFS_IO_READER_H_

#include <liburing.h>

#include <atomic>
#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "io/base/fd.h"
#include "io/dev_port.h"
#include "io/follower.h"
#include "io/slot.h"
#include "io/yielding.h"

namespace handlefs::io {

enum class DeviceKind { kFuse, kSocket };

class Reader {
 public:
  struct Setup {
    BorrowedFd device;
    DeviceKind kind = DeviceKind::kFuse;
    SlotPool* pool = nullptr;
    PacketHandler* handler = nullptr;
    const std::atomic<size_t>* setxattr_size = nullptr;
    Scheduling scheduling = Scheduling::kNormal;
    // Where requests come another way, FORGETs are left to gather for so many
    // milliseconds, and then read in one piece. 0: never.
    const std::atomic<int>* gather_ms = nullptr;
  };
  explicit Reader(const Setup& setup);
  ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // Serves on the calling thread until the connection ends or Stop().
  StopReason Serve();
  // Any thread; Serve returns after the request it is working on.
  void Stop();
  // Any thread. A parked reader reads no requests; it keeps its descriptor.
  void Park();
  void Unpark();
  bool parked() const { return want_parked_.load(std::memory_order_relaxed); }

  // Odd while a request is worked on; changes with each request. What the
  // watchdog looks at.
  uint64_t pulse() const { return pulse_.load(std::memory_order_relaxed); }
  // The watchdog's.
  Yielder& yielder() { return yielder_; }
  // The errno of kReadError.
  int read_error() const { return read_error_; }
  bool uses_io_uring() const { return uses_io_uring_.load(); }

 private:
  enum class Turn { kContinue, kEnd };
  struct Ring {
    io_uring ring;
    bool read_armed = false;
    bool wake_armed = false;
    bool cancelling = false;
    Slot* writing = nullptr;  // its reply is on its way to a socket
  };

  void OpenRing();
  StopReason ServeRing();
  StopReason ServePlain();
  void ArmRing(Ring& ring);
  io_uring_sqe* Sqe(Ring& ring);
  bool HasOrders() const { return want_stop_.load() || want_parked_.load(); }
  // Waits while parked; kEnd if Stop() was called.
  Turn ObeyOrders();
  void CancelRead(Ring& ring);
  void Reap(Ring& ring);
  void FlushReply();
  // Whether the kernel has ended the connection.
  bool IsOver() const;
  Turn OnRead(int result);
  void Work(size_t size);
  void LetForgetsGather();
  void DrainWake();

  const Setup setup_;
  DevPort port_;
  UniqueFd wake_;
  Yielder yielder_;
  Follower follower_;
  std::optional<Ring> ring_;
  std::atomic<bool> uses_io_uring_{false};  // others may ask while it opens
  Slot* slot_ = nullptr;                    // the next request goes here
  Slot* reply_ = nullptr;  // holds a reply that was not submitted yet
  std::optional<int> read_result_;
  bool saw_end_ = false;  // IsOver() before the last read
  int unhurried_ = 0;     // requests that nobody waits for, the last in a row
  StopReason reason_ = StopReason::kStopped;
  int read_error_ = 0;
  std::atomic<uint64_t> pulse_{0};
  std::atomic<bool> want_stop_{false};
  std::atomic<bool> want_parked_{false};
  absl::Mutex mutex_;
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_READER_H_

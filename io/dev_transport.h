// The `dev` transport: requests are read from /dev/fuse (or from a
// SOCK_SEQPACKET socket that stands in for it) and replies written back.
//
// One reader serves as long as it keeps up, because waking a second thread for
// a request costs ten times the request. A watchdog adds readers, each with a
// clone of the device, while all of them sit in one request for 10 ms or are
// busy all the time, and parks them again when they are not needed.
#ifndef HANDLEFS_IO_DEV_TRANSPORT_H_
#define HANDLEFS_IO_DEV_TRANSPORT_H_

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "io/base/fd.h"
#include "io/base/vault.h"
#include "io/reader.h"
#include "io/slot.h"
#include "io/transport.h"

namespace handlefs::io {

// INVALID_ARGUMENT: neither /dev/fuse nor a SOCK_SEQPACKET socket.
absl::StatusOr<DeviceKind> KindOf(BorrowedFd device);

class DevTransport final : public Connection {
 public:
  struct Config {
    size_t max_write = 1 << 20;  // bytes of data in one request or reply
    unsigned max_readers = 8;
    Scheduling scheduling = Scheduling::kNormal;
    // Null if nobody goes on after this server; else each clone of the device
    // outlives it there: closing one ends the requests that were read from it.
    Vault* vault = nullptr;
  };
  struct End {
    StopReason reason;
    int read_error = 0;  // of kReadError
  };

  // Takes the device, which must be bound to a mount already, or the socket.
  // INVALID_ARGUMENT: neither of the two.
  static absl::StatusOr<std::unique_ptr<DevTransport>> Create(
      UniqueFd device, const Config& config);
  ~DevTransport() override;

  // Serves until the connection ends. The calling thread is the first reader.
  End Run(PacketHandler& handler);
  // Any thread. Run returns when the requests being worked on are answered.
  void Stop();

  // After INIT: 8 on a connection without SETXATTR_EXT, else 16.
  void SetSetxattrSize(size_t size) { setxattr_size_.store(size); }
  // Requests come over rings from now on, but for FORGET and INTERRUPT.
  void LetForgetsGather() { gather_ms_.store(1); }
  // Called by the watchdog at every tick; it ticks less often while there is
  // nothing to watch.
  void SetTick(std::function<Activity()> tick) { tick_ = std::move(tick); }

  Status Notify(const proto::Notification& head, proto::Bytes data) override;
  Result<BackingId> OpenBacking(BorrowedFd fd) override;
  Status CloseBacking(BackingId id) override;

  // When the readers were last seen to get on: one began or ended a request,
  // or waits and there is nothing to read. The watchdog looks at every tick.
  std::chrono::steady_clock::time_point last_progress() const {
    return last_progress_.load();
  }

  DeviceKind kind() const { return kind_; }
  BorrowedFd device() const { return device_; }
  // False if io_uring could not be set up and poll and read are used.
  bool uses_io_uring() const;

 private:
  struct Extra {
    UniqueFd clone;
    std::unique_ptr<Reader> reader;
    std::thread thread;
  };

  DevTransport(UniqueFd device, DeviceKind kind, const Config& config);
  void Watch(PacketHandler& handler);
  void Grow(PacketHandler& handler) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Reader::Setup MakeSetup(BorrowedFd device, PacketHandler& handler);
  UniqueFd Clone() const;
  bool HasRequest() const;

  const UniqueFd device_;
  const DeviceKind kind_;
  const Config config_;
  SlotPool pool_;
  std::atomic<size_t> setxattr_size_{16};
  std::atomic<int> gather_ms_{0};
  std::function<Activity()> tick_;
  std::atomic<std::chrono::steady_clock::time_point> last_progress_{};
  std::unique_ptr<Reader> first_;
  mutable absl::Mutex mutex_;
  std::vector<Extra> extras_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_DEV_TRANSPORT_H_

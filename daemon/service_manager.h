// What a service and its manager say to each other: systemd's notification
// protocol (sd_notify(3)), its fd store and its watchdog, spoken by hand.
//
// Without a manager (NOTIFY_SOCKET is not set) every call does nothing and
// succeeds, so that callers need not ask. Errors are those of sendmsg(2); a
// service goes on serving whatever they are.
// Threads: all calls from any thread. The object may be used after a fork: the
// manager sees who sent a message. FromEnvironment and TakeListenedFds change
// the environment and belong before the first thread.
// Waiting: a message waits a second at most for room in the manager's queue,
// WATCHDOG not at all, since the manager may wait for a file that we serve.
#ifndef HANDLEFS_DAEMON_SERVICE_MANAGER_H_
#define HANDLEFS_DAEMON_SERVICE_MANAGER_H_

#include <sys/types.h>
#include <sys/un.h>

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs {

class ServiceManager {
 public:
  // None.
  ServiceManager() = default;
  // Of NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which are taken out of
  // the environment: they are not for programs that we start.
  // INVALID_ARGUMENT, UNAVAILABLE: one line that names the variable.
  static absl::StatusOr<ServiceManager> FromEnvironment();

  bool present() const { return static_cast<bool>(socket_); }
  // How long the manager waits for a WATCHDOG before it kills; nothing if it
  // does not wait for this process.
  std::optional<std::chrono::microseconds> watchdog() const {
    return watchdog_;
  }

  // NAME=VALUE of the variables, for a program that takes this process over.
  std::vector<std::string> Environment() const;

  // `status` is a line for `systemctl status`; control characters become
  // spaces, and what is too long for the protocol is cut.
  // Ready without one leaves the line as it is.
  Status Ready(std::string_view status) const;
  Status Say(std::string_view status) const;
  // To be followed by Ready. Tells when it began, as Type=notify-reload wants.
  Status Reloading() const;
  Status Stopping(std::string_view status) const;
  Status MainPid(pid_t pid) const;
  Status FeedWatchdog() const;

  // Duplicates of `fds` are kept under `name` over restarts. A descriptor that
  // polls as hung up or in error is dropped by the manager unless kKeep.
  // EINVAL: a name that the manager would not take (empty, longer than 255,
  // ':' or not printable ASCII).
  enum class OnHangup { kDrop, kKeep };
  Status StoreFds(std::string_view name, std::span<const BorrowedFd> fds,
                  OnHangup on_hangup) const;
  // All that are kept under the name.
  Status RemoveFds(std::string_view name) const;

  // Returns once the manager has read everything sent before; ETIMEDOUT.
  Status Barrier(std::chrono::milliseconds timeout) const;

 private:
  enum class Wait { kSome, kNot };
  Status Send(std::string_view message, std::span<const BorrowedFd> fds,
              Wait wait) const;

  UniqueFd socket_;
  sockaddr_un address_{};
  socklen_t address_size_ = 0;
  std::optional<std::chrono::microseconds> watchdog_;
  std::string path_;
};

// A descriptor that the manager has handed over: from the fd store, or a socket
// unit.
struct NamedFd {
  std::string name;  // "unknown" where the manager gave none
  UniqueFd fd;
};
// Of LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES, which are taken out of the
// environment. Empty if there are none or they are for another process. All get
// FD_CLOEXEC.
// INVALID_ARGUMENT: the variables contradict themselves or name a descriptor
// that is not open; one line. No descriptor is touched then.
absl::StatusOr<std::vector<NamedFd>> TakeListenedFds();

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_SERVICE_MANAGER_H_

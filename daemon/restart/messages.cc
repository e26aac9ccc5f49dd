#include "daemon/restart/messages.h"

#include <sys/socket.h>

#include <cerrno>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "io/base/rights.h"

namespace handlefs {

absl::StatusOr<KeeperSocket> MakeKeeperSocket() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make a socket pair");
  }
  KeeperSocket out{.keeper = UniqueFd(pair[0]), .server = UniqueFd(pair[1])};
  // A keeper that hangs must not hang the server.
  timeval patience{.tv_sec = 1, .tv_usec = 0};
  setsockopt(out.server.get(), SOL_SOCKET, SO_SNDTIMEO, &patience,
             sizeof(patience));
  return out;
}

Status SendMessage(BorrowedFd socket, const KeeperMessage& message,
                   BorrowedFd fd) {
  return SendWithFd(socket, std::as_bytes(std::span(&message, 1)), fd);
}

Result<std::optional<Received>> ReceiveMessage(BorrowedFd socket) {
  Received out;
  auto packet = ReceiveWithFd(
      socket, std::as_writable_bytes(std::span(&out.message, 1)), MSG_DONTWAIT);
  if (!packet.ok()) {
    if (packet.error() == Errno(ECONNRESET)) return std::optional<Received>();
    return packet.error();
  }
  out.fd = std::move(packet->fd);
  if (packet->size != sizeof(out.message)) return std::optional<Received>();
  return std::optional<Received>(std::move(out));
}

}  // namespace handlefs

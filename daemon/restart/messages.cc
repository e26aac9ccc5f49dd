#include "daemon/restart/messages.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"

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
  KeeperMessage copy = message;
  iovec part{&copy, sizeof(copy)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  if (fd) {
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    int number = fd.get();
    std::memcpy(CMSG_DATA(rights), &number, sizeof(number));
  }
  ssize_t n;
  do {
    n = sendmsg(socket.get(), &header, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return Check(n);
}

Result<std::optional<Received>> ReceiveMessage(BorrowedFd socket) {
  Received out;
  iovec part{&out.message, sizeof(out.message)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t n;
  do {
    n = recvmsg(socket.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno == ECONNRESET) return std::optional<Received>();
  if (n < 0) return LastErrno();
  if (cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights != nullptr && rights->cmsg_type == SCM_RIGHTS) {
    int number;
    std::memcpy(&number, CMSG_DATA(rights), sizeof(number));
    out.fd = UniqueFd(number);
  }
  if (n != sizeof(out.message)) return std::optional<Received>();
  return std::optional<Received>(std::move(out));
}

}  // namespace handlefs

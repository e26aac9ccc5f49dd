// A packet over a Unix socket, and one descriptor with it. Both calls go on
// after EINTR.
#ifndef HANDLEFS_IO_BASE_RIGHTS_H_
#define HANDLEFS_IO_BASE_RIGHTS_H_

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>

#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs {

// `fd` may be none.
inline Status SendWithFd(BorrowedFd socket, std::span<const std::byte> packet,
                         BorrowedFd fd) {
  iovec part{const_cast<std::byte*>(packet.data()), packet.size()};
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

struct PacketWithFd {
  size_t size = 0;  // 0: the other end is closed
  UniqueFd fd;      // with FD_CLOEXEC; none if none came
};
// Into `buffer`; what does not fit is lost. `flags` as MSG_DONTWAIT.
inline Result<PacketWithFd> ReceiveWithFd(BorrowedFd socket,
                                          std::span<std::byte> buffer,
                                          int flags) {
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t n;
  do {
    n = recvmsg(socket.get(), &header, MSG_CMSG_CLOEXEC | flags);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return LastErrno();
  PacketWithFd packet{.size = static_cast<size_t>(n), .fd = {}};
  if (cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights != nullptr && rights->cmsg_level == SOL_SOCKET &&
      rights->cmsg_type == SCM_RIGHTS) {
    int number;
    std::memcpy(&number, CMSG_DATA(rights), sizeof(number));
    packet.fd = UniqueFd(number);
  }
  return packet;
}

}  // namespace handlefs

#endif  // HANDLEFS_IO_BASE_RIGHTS_H_

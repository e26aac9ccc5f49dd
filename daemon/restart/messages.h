// What the server and its keeper say to each other over a SOCK_SEQPACKET pair:
// one of these, with at most one descriptor.
#ifndef HANDLEFS_DAEMON_RESTART_MESSAGES_H_
#define HANDLEFS_DAEMON_RESTART_MESSAGES_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs {

struct KeeperMessage {
  enum class What : uint32_t {
    // To the keeper.
    kKeep = 1,    // value: the record whose descriptor comes along; kind
    kDrop,        // value: the record whose descriptor may go
    kServing,     // the mount answers
    kEnded,       // an end that is no crash; value: the exit code
    kHandedOver,  // nothing is being worked on any more; the server goes
    // To the server.
    kHandOver,  // stop reading, finish what was begun, leave the rest
    kStop,      // the mount is detached: end
    kReload,    // open the log again
    kControl,   // a connection of the control socket comes along; kind:
                // ServerWork::What; value: its argument
    // To the keeper.
    kAsk,  // something of the mount; kind: the CPU, value: how often
  };
  What what = What::kKeep;
  uint32_t kind = 0;  // Vault::Kind, 0 where it is not told
  uint64_t value = 0;
};
static_assert(sizeof(KeeperMessage) == 16);

struct KeeperSocket {
  UniqueFd keeper, server;
};
// UNAVAILABLE: no descriptors are left.
absl::StatusOr<KeeperSocket> MakeKeeperSocket();

// EAGAIN: the other side does not keep up (it is stopped, or hangs). Never
// raises SIGPIPE.
Status SendMessage(BorrowedFd socket, const KeeperMessage& message,
                   BorrowedFd fd);

struct Received {
  KeeperMessage message;
  UniqueFd fd;
};
// Nothing: the other side is gone. EAGAIN: nothing is there now.
Result<std::optional<Received>> ReceiveMessage(BorrowedFd socket);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_MESSAGES_H_

// Sockets that keepers left which were killed.
#ifndef HANDLEFS_DAEMON_CONTROL_STALE_SOCKETS_H_
#define HANDLEFS_DAEMON_CONTROL_STALE_SOCKETS_H_

#include <string>

namespace handlefs {

// Takes away NAME.sock in `directory` where it is a socket at which nobody
// listens (ECONNREFUSED). Anything else stays: other files, links, sockets of
// keepers that are busy, and what another took away or replaced meanwhile.
// Never waits.
void RemoveStaleSockets(const std::string& directory);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_CONTROL_STALE_SOCKETS_H_

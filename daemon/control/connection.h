// The kernel's own files about a FUSE connection:
// /sys/fs/fuse/connections/NUMBER. They answer whatever the server does, and
// are not there if fusectl is not mounted.
#ifndef HANDLEFS_DAEMON_CONTROL_CONNECTION_H_
#define HANDLEFS_DAEMON_CONTROL_CONNECTION_H_

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/mount.h"

namespace handlefs {

// The minor number of the mount's device. Empty if the mount is not there.
// Numbers are used again: it is asked for each time.
std::string ConnectionOf(const Mounted& mounted);
// How many requests the kernel waits for.
std::optional<uint64_t> WaitingIn(const Mounted& mounted);
// True if the kernel has ended the connection.
bool AbortConnection(const Mounted& mounted);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_CONTROL_CONNECTION_H_

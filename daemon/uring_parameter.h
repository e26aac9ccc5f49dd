// The switch of FUSE-over-io_uring in the running kernel: the parameter
// enable_uring of the module fuse. It is for all of the machine's FUSE mounts
// that are made from then on, and off unless somebody turns it on.
#ifndef HANDLEFS_DAEMON_URING_PARAMETER_H_
#define HANDLEFS_DAEMON_URING_PARAMETER_H_

#include <string_view>

#include "proto/base/errno.h"

namespace handlefs {

// kAbsent: the kernel has no FUSE-over-io_uring (Linux 6.14 with
// CONFIG_FUSE_IO_URING), or its module is not loaded yet.
enum class UringParameter { kAbsent, kOff, kOn };
UringParameter ReadUringParameter();
// EACCES without root, ENOENT where it is absent.
Status TurnUringOn();

// For users: what to do where it is off, and what it brings.
inline constexpr std::string_view kUringIsOff =
    "FUSE over io_uring is there but off: requests of several programs are "
    "served up to three times faster with it; enable_uring=on, or write Y to "
    "/sys/module/fuse/parameters/enable_uring, before mounting";

inline constexpr std::string_view kLosslessIsDev =
    "restart=lossless takes /dev/fuse, which gives unanswered requests again "
    "to the next server; FUSE over io_uring does not";

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_URING_PARAMETER_H_

// What the running kernel offers to a FUSE server, asked from the kernel
// itself.
#ifndef HANDLEFS_DAEMON_KERNEL_PROBE_H_
#define HANDLEFS_DAEMON_KERNEL_PROBE_H_

#include <string>

#include "proto/abi.h"
#include "proto/base/errno.h"

namespace handlefs {

// The INIT that the running kernel sends, from a file system that is attached
// nowhere. EPERM without root.
Result<abi::InitIn> AskKernel();

// Several lines for --version. Mounts nothing anywhere; without the right to
// ask it says so.
std::string DescribeKernel();

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_KERNEL_PROBE_H_

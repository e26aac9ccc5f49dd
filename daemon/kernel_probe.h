// What the running kernel offers to a FUSE server, asked from the kernel
// itself.
#ifndef HANDLEFS_DAEMON_KERNEL_PROBE_H_
#define HANDLEFS_DAEMON_KERNEL_PROBE_H_

#include <string>

namespace handlefs {

// Several lines for --version. Mounts nothing anywhere; without the right to
// ask it says so.
std::string DescribeKernel();

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_KERNEL_PROBE_H_

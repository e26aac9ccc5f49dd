// Extended attributes of a file behind an O_PATH descriptor, which fgetxattr
// and the empty path of getxattrat refuse. The way in is the descriptor's name
// in `proc_fds`, an O_PATH descriptor of /proc/self/fd: one step for the
// *xattrat system calls (6.13), a walk of the whole path before. Values are
// raw. Thread-safe; errors are the host's.
#ifndef HANDLEFS_DAEMON_XATTR_AT_H_
#define HANDLEFS_DAEMON_XATTR_AT_H_

#include <cstddef>
#include <span>

#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs {

Status SetXattrAt(BorrowedFd proc_fds, BorrowedFd fd, const char* name,
                  std::span<const std::byte> value, int flags);
// The size of the value; with an empty `out` nothing is written. ERANGE: it
// does not fit.
Result<size_t> GetXattrAt(BorrowedFd proc_fds, BorrowedFd fd, const char* name,
                          std::span<std::byte> out);
// The same by a descriptor that is open for more than its path: a quarter of
// the time.
Result<size_t> GetXattr(BorrowedFd fd, const char* name,
                        std::span<std::byte> out);
Result<size_t> ListXattrAt(BorrowedFd proc_fds, BorrowedFd fd,
                           std::span<std::byte> out);
Status RemoveXattrAt(BorrowedFd proc_fds, BorrowedFd fd, const char* name);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_XATTR_AT_H_

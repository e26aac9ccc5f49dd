// Extended attributes of a file behind an O_PATH descriptor: by the *xattrat
// system calls (6.13), a fifth of the cost, or by its /proc/self/fd name.
// Values are raw. Thread-safe; errors are the host's.
#ifndef HANDLEFS_DAEMON_XATTR_AT_H_
#define HANDLEFS_DAEMON_XATTR_AT_H_

#include <cstddef>
#include <span>

#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs {

Status SetXattrAt(BorrowedFd fd, const char* name,
                  std::span<const std::byte> value, int flags);
// The size of the value; with an empty `out` nothing is written. ERANGE: it
// does not fit.
Result<size_t> GetXattrAt(BorrowedFd fd, const char* name,
                          std::span<std::byte> out);
Result<size_t> ListXattrAt(BorrowedFd fd, std::span<std::byte> out);
Status RemoveXattrAt(BorrowedFd fd, const char* name);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_XATTR_AT_H_

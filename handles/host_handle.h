// File handles of the host kernel: name_to_handle_at(2), open_by_handle_at(2).
// A handle is a type and some bytes, valid on one host file system for the life
// of the inode, equal over hard links and renames. All functions are
// thread-safe and fail with the system call's errno.
#ifndef HANDLEFS_HANDLES_HOST_HANDLE_H_
#define HANDLEFS_HANDLES_HOST_HANDLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs {

struct HostHandle {
  static constexpr size_t kMax = 128;  // MAX_HANDLE_SZ
  int32_t type = 0;
  uint8_t size = 0;
  std::array<std::byte, kMax> bytes;  // the first `size` count

  std::span<const std::byte> view() const { return {bytes.data(), size}; }
  friend bool operator==(const HostHandle& a, const HostHandle& b) {
    return a.type == b.type && a.size == b.size &&
           std::memcmp(a.bytes.data(), b.bytes.data(), a.size) == 0;
  }
};

struct HandleAt {
  HostHandle handle;
  int mount_id = 0;  // of the mount that the name was found on
  // By the clock that file systems stamp births with. What was born since can
  // have the inode number of what was found.
  int64_t began_ns = 0;
};

// EOPNOTSUPP: the file system has no handles. EOVERFLOW: it has none for this
// file (overlayfs). `name` is one component, never followed; "" names `dir`
// itself.
Result<HandleAt> NameToHandle(BorrowedFd dir, const char* name);

// ESTALE: no such inode any more. Needs CAP_DAC_READ_SEARCH. `mount` is any
// open (not O_PATH) file of the mount.
Result<UniqueFd> OpenByHandle(BorrowedFd mount, const HostHandle& handle,
                              int flags);

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_HOST_HANDLE_H_

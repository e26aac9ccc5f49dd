// Names on the host, one component at a time: never followed, not through a
// magic link.
#ifndef HANDLEFS_HANDLES_HOST_NAMES_H_
#define HANDLEFS_HANDLES_HOST_NAMES_H_

#include <sys/stat.h>

#include <cstdint>

#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs {

inline constexpr unsigned kStatxMask = STATX_BASIC_STATS | STATX_BTIME;
// In place of an inode number: a file that only its place tells from others.
inline constexpr uint64_t kPlaceBit = uint64_t{1} << 63;

// kStatxMask and the mount's id; of `dir` itself if the name is empty.
Result<struct statx> StatName(BorrowedFd dir, const char* name);
Result<UniqueFd> OpenComponent(BorrowedFd dir, const char* name, int flags);
// Nanoseconds; 0 where the file system has no time of birth.
int64_t BirthOf(const struct statx& stx);

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_HOST_NAMES_H_

#include "handles/host_names.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace handlefs {

Result<struct statx> StatName(BorrowedFd dir, const char* name) {
  struct statx stx;
  int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT |
              (*name == '\0' ? AT_EMPTY_PATH : 0);
  if (statx(dir.get(), name, flags, kStatxMask | STATX_MNT_ID, &stx) != 0) {
    return LastErrno();
  }
  return stx;
}

Result<UniqueFd> OpenComponent(BorrowedFd dir, const char* name, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_NOFOLLOW | O_CLOEXEC);
  how.resolve = RESOLVE_NO_MAGICLINKS;
  // RESOLVE_NO_SYMLINKS would refuse to open a symlink itself.
  long fd = syscall(SYS_openat2, dir.get(), name, &how, sizeof(how));
  if (fd < 0) return LastErrno();
  return UniqueFd(static_cast<int>(fd));
}

int64_t BirthOf(const struct statx& stx) {
  if ((stx.stx_mask & STATX_BTIME) == 0) return 0;
  return stx.stx_btime.tv_sec * 1000000000 + stx.stx_btime.tv_nsec;
}

}  // namespace handlefs

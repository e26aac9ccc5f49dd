#include "daemon/mounted_source.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace handlefs {

std::optional<StartError> RefuseUnmountedSource(const Options& options) {
  if (options.require_mounted_source == Switch::kOff) return std::nullopt;
  struct statx stx;
  // Without AT_NO_AUTOMOUNT: an automount point is to be mounted now.
  if (statx(AT_FDCWD, options.source.c_str(), 0, STATX_TYPE, &stx) != 0) {
    return StartError{ExitCode::kSource,
                      absl::StrCat("cannot find the source ", options.source,
                                   ": ", std::strerror(errno))};
  }
  if ((stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) return std::nullopt;
  return StartError{
      ExitCode::kSource,
      absl::StrCat("require_mounted_source: the source ", options.source,
                   " is not a mount point: mount its file system first "
                   "(systemd: RequiresMountsFor=, in fstab "
                   "x-systemd.requires-mounts-for=), or leave the option out")};
}

}  // namespace handlefs

// Puts the file system into the mount table and takes it out again.
//
// As root by the new mount API (fsopen, fsconfig, fsmount, move_mount), by
// mount(2) where that is refused; without CAP_SYS_ADMIN by fusermount3. The
// descriptors that refer to the mount itself are closed at once: a server that
// holds one cannot end.
#ifndef HANDLEFS_DAEMON_MOUNT_H_
#define HANDLEFS_DAEMON_MOUNT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "daemon/exit_code.h"
#include "daemon/options.h"
#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs {

// A failed step of the start, with what the process ends with.
struct StartError {
  ExitCode code;
  std::string message;  // one line: the step and the cure
};

// Makes the mount point absolute and looks at it. Fails for one that is
// missing, no directory, or a dead FUSE mount, which kReplace detaches.
enum class StaleMount { kRefuse, kReplace };
std::variant<std::string, StartError> CheckMountPoint(
    const std::string& path, StaleMount stale = StaleMount::kRefuse);

struct Mounted {
  UniqueFd device;          // /dev/fuse, bound to the mount
  std::string mount_point;  // absolute
  std::string mount_id;     // in mountinfo; tells it from what covers it
  bool by_helper = false;   // fusermount3 must take it away
};
enum class MountBy { kKernel, kHelper };
std::variant<Mounted, StartError> MountFuse(const Options& options,
                                            const std::string& mount_point,
                                            const std::string& source,
                                            MountBy by);

// Gives a live mount of handlefs, topmost at `mount_point`, the flags of
// `options`: all of them, as mount(8) does; what is not given is off. EINVAL:
// there is no such mount.
Status RemountFuse(const Options& options, const std::string& mount_point);

// The mount of handlefs that is topmost on an absolute path.
std::optional<Mounted> FindMount(const std::string& mount_point);
// Whether it still is in the table, covered or not. Does not look at it.
bool IsMounted(const Mounted& mounted);

enum class Unmount { kIfIdle, kDetach };
// Takes the mount away if what is on top of the mount point is ours. EBUSY: it
// is in use (kIfIdle); ENOENT: it is not there any more, or covered by another.
Status UnmountFuse(const Mounted& mounted, Unmount how);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_MOUNT_H_

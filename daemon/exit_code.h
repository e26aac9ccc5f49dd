// What the process ends with. Scripts rely on these; README.md lists them.
#ifndef HANDLEFS_DAEMON_EXIT_CODE_H_
#define HANDLEFS_DAEMON_EXIT_CODE_H_

namespace handlefs {

enum class ExitCode : int {
  kOk = 0,          // served until it was unmounted or told to stop
  kUsage = 1,       // options or arguments
  kSource = 2,      // the source is missing, no directory, or cannot be opened
  kMountPoint = 3,  // the mount point is missing, no directory, or dead
  kFuse = 4,        // /dev/fuse is missing or not to be opened
  kMount = 5,       // the kernel or fusermount3 refused the mount
  kHandshake = 6,   // the kernel's INIT cannot be answered as asked
  kServe = 7,       // the connection ended by force or with an error
};

constexpr int ToInt(ExitCode code) { return static_cast<int>(code); }

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_EXIT_CODE_H_

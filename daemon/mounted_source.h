// require_mounted_source: a source whose file system is not there yet would be
// served as the empty directory below it.
#ifndef HANDLEFS_DAEMON_MOUNTED_SOURCE_H_
#define HANDLEFS_DAEMON_MOUNTED_SOURCE_H_

#include <optional>

#include "daemon/mount.h"
#include "daemon/options.h"

namespace handlefs {

// Nothing if the option is off, or the source is the root of a mount.
std::optional<StartError> RefuseUnmountedSource(const Options& options);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_MOUNTED_SOURCE_H_

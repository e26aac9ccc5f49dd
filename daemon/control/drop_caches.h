// Has the kernel ask again for everything it knows of the mount.
#ifndef HANDLEFS_DAEMON_CONTROL_DROP_CACHES_H_
#define HANDLEFS_DAEMON_CONTROL_DROP_CACHES_H_

#include <cstdint>

#include "handles/nodes.h"
#include "handles/open_files.h"
#include "io/transport.h"
#include "proto/base/errno.h"

namespace handlefs {

struct DroppedCaches {
  // kEpoch: all names at once; kNames: those in the root, with what is below.
  enum class Names { kEpoch, kNames } names = Names::kEpoch;
  uint64_t told = 0;  // entries of the root, with kNames
  // Open files and directories whose pages and attributes went. Of what is not
  // open they go with the name.
  uint64_t files = 0;
};

// Not by a thread that serves: the kernel takes locks of directories and pages
// that wait for the server. EPERM and its like: the kernel refuses.
Result<DroppedCaches> DropCaches(Nodes& nodes, const OpenFiles& files,
                                 io::Connection& connection);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_CONTROL_DROP_CACHES_H_

// The real kernel's side: a FUSE mount and its /dev/fuse.
#ifndef HANDLEFS_TOOLS_STANDIN_MOUNT_H_
#define HANDLEFS_TOOLS_STANDIN_MOUNT_H_

#include <cstdint>
#include <string>

#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs::standin {

struct Mounted {
  UniqueFd device;  // non-blocking
  UniqueFd tree;    // until it is attached
  uint64_t id = 0;  // to tell it from a mount that is on top of it
  std::string path;
};

// Makes a mount that is nowhere yet; its INIT is waiting to be read. Needs
// CAP_SYS_ADMIN. `why` says which step failed.
Result<Mounted> Mount(const std::string& path, std::string* why);
// Shows it. Not before the server has opened its source, which may be the same
// directory or lie above it.
Status Attach(Mounted& mounted);
// Who uses it is served on; nothing if it is not there any more.
void Detach(Mounted& mounted);

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_MOUNT_H_

// Everything that can fail for a reason that the user can cure happens here,
// before anybody serves: the source, its file handles, the key, the mount.
#ifndef HANDLEFS_DAEMON_PREPARE_H_
#define HANDLEFS_DAEMON_PREPARE_H_

#include <memory>
#include <string>
#include <variant>

#include "daemon/credentials.h"
#include "daemon/mount.h"
#include "daemon/negotiate.h"
#include "daemon/options.h"
#include "handles/nodes.h"
#include "handles/siphash.h"

namespace handlefs {

struct Prepared {
  std::unique_ptr<Nodes> nodes;  // nobody has asked it anything yet
  HashKey key;                   // of nodes
  Mounted mounted;               // device is what to serve in any case
  bool is_ours = true;           // else the mount is somebody else's
  HostFacts facts;
};

// The descriptor that /dev/fd/N names in place of a mount point, else -1.
int DescriptorOf(const std::string& mount_point);

// Raises limits and gives up privileges of this process; then opens the source
// and mounts. On an error nothing stays mounted.
std::variant<Prepared, StartError> Prepare(const Options& options);

// The same for a mount that an earlier process made and handed over: nothing is
// mounted, and `key` is the one of its nodes.
std::variant<Prepared, StartError> PrepareAgain(const Options& options,
                                                Source source, Mounted mounted,
                                                const HashKey& key);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_PREPARE_H_

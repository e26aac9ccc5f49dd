#include "daemon/control/drop_caches.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/types.h>

#include <memory>
#include <string_view>
#include <vector>

#include "proto/notify.h"

namespace handlefs {
namespace {

// Kernels before 7.44 have no epochs. A directory's name takes along all that
// is below it.
Result<uint64_t> DropNames(Nodes& nodes, io::Connection& connection) {
  ASSIGN_OR_RETURN(Nodes::Opened root,
                   nodes.Open(kRootNode, O_RDONLY | O_DIRECTORY));
  std::unique_ptr<DIR, int (*)(DIR*)> dir(fdopendir(root.fd.get()), &closedir);
  if (dir == nullptr) return LastErrno();
  (void)root.fd.release();
  uint64_t told = 0;
  while (const dirent* entry = readdir(dir.get())) {
    std::string_view name(entry->d_name);
    if (name == "." || name == "..") continue;
    Status sent = connection.Notify(
        proto::InvalEntry(kRootNode, name, proto::EntryFate::kDrop));
    if (sent.ok()) ++told;
    if (!sent.ok() && sent.error() != Errno(ENOENT)) return sent.error();
  }
  return told;
}

}  // namespace

Result<DroppedCaches> DropCaches(Nodes& nodes, const OpenFiles& files,
                                 io::Connection& connection) {
  DroppedCaches out;
  nodes.Trim();
  // Pages first: what is written back to the server on the way is asked for
  // with the names that are known now.
  std::vector<NodeId> open = files.OpenNodes();
  open.push_back(kRootNode);
  for (NodeId node : open) {
    Status sent = connection.Notify(proto::InvalData(node, 0, 0));
    if (sent.ok()) ++out.files;
    if (!sent.ok() && sent.error() != Errno(ENOENT)) return sent.error();
  }
  Status epoch = connection.Notify(proto::IncEpoch());
  if (epoch.ok()) return out;
  if (epoch.error() != Errno(EINVAL)) return epoch.error();
  out.names = DroppedCaches::Names::kNames;
  ASSIGN_OR_RETURN(out.told, DropNames(nodes, connection));
  return out;
}

}  // namespace handlefs

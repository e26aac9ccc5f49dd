// The mount in the service manager's fd store, by which it outlives the keeper:
//
//   device, root, dir, state   what a keeper holds, from the first answer on
//   mount                      a memfd with what Holdings says besides, the
//                              source and mount point as the options have them,
//                              and whether the keeper has left in good order
//   clone.N, fs.N              descriptors of records that a mount is broken
//                              without, at once
//   kept.N                     all others, when the keeper leaves
//
// /run/handlefs/NAME.stored has the number of the mount, its mount point, and
// that as the options have it, on a line each, for who must take it away
// because there is no next process (tools/systemd/unit).
//
// A keeper that was killed leaves no kept.N that can be trusted: records may
// have changed since. The store takes FileDescriptorStoreMax= of the unit; what
// is over that is not there at the next start.
#ifndef HANDLEFS_DAEMON_RESTART_FD_STORE_H_
#define HANDLEFS_DAEMON_RESTART_FD_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "daemon/mount.h"
#include "daemon/options.h"
#include "daemon/restart/holdings.h"
#include "daemon/restart/kept.h"
#include "daemon/service_manager.h"
#include "io/base/fd.h"

namespace handlefs {

// What an earlier process of this service left.
struct StoredMount {
  std::set<std::string> names;  // of all that is in the store
  std::set<std::string> stale;  // of these: what cannot be trusted
  // FAILED_PRECONDITION: the mount in it cannot be gone on with; one line.
  absl::StatusOr<Holdings> holdings;
  // Of the mount, if that is known: to take it away.
  std::optional<Mounted> mounted;
  // Clones of the device. Requests that wait there end when they are closed,
  // unless they were sent again.
  KeptFds clones;
  UniqueFd list;
};
// Of the environment, as TakeListenedFds; nothing if there is no mount in it.
std::optional<StoredMount> TakeStoredMount(const Options& options);

class FdStore {
 public:
  // `manager` outlives it. Without one all calls do nothing.
  explicit FdStore(const ServiceManager& manager) : manager_(manager) {}

  // A mount that begins to serve, or that another program put there: `stored`.
  void Begin(const Options& options, const HoldingsView& mount);
  // What was taken goes on.
  void GoOn(StoredMount stored);
  // What is in it, for HoldingsView.
  std::string Names() const;

  void Keep(uint32_t ref, uint32_t kind, BorrowedFd fd);
  void Drop(uint32_t ref);
  // The next server serves: nothing waits on older clones any more.
  void DropOldClones();

  // Whether the manager has an fd store for us. Waits for its answer.
  absl::Status Try() const;
  // Everything is there when this returns, and the next process goes on.
  absl::Status Leave(const KeptFds& fds, int64_t paused_ns);
  // Nothing is left in it.
  void Forget();

 private:
  Status Put(const std::string& name, BorrowedFd fd);
  Status Take(const std::string& name);

  const ServiceManager& manager_;
  std::set<std::string> names_;
  std::set<std::string> stale_;  // that could not be removed yet
  KeptFds old_clones_;
  UniqueFd list_;
  std::string note_;
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_FD_STORE_H_

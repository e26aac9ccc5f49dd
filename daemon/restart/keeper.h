// The keeper: the process that was started. It holds the mount's device, the
// source, the state and what servers give it, forks the server, and forks
// another when that one dies. It never touches a request, and never the mount,
// since it could not end while it waits for a server that it has to start.
#ifndef HANDLEFS_DAEMON_RESTART_KEEPER_H_
#define HANDLEFS_DAEMON_RESTART_KEEPER_H_

#include <functional>
#include <optional>

#include "daemon/exit_code.h"
#include "daemon/options.h"
#include "daemon/prepare.h"
#include "daemon/restart/fd_store.h"
#include "daemon/restart/holdings.h"
#include "daemon/service_reports.h"

namespace handlefs {

// Until the mount is gone or the process is told to stop. Returns in each
// server's process as well, with what that one is to exit with.
ExitCode KeepServing(const Options& options, Prepared& prepared,
                     ServiceReports& reports,
                     const std::function<void()>& ready);

// The same for a mount that another process kept so far.
ExitCode GoOnServing(const Options& options, Holdings holdings);

// The same for one that an earlier process of this service left. Nothing: it
// cannot be gone on with, which was said, and it is taken away.
std::optional<ExitCode> GoOnFromStore(const Options& options,
                                      StoredMount stored,
                                      ServiceReports& reports);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_KEEPER_H_

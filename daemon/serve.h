// One server: it takes a prepared mount and serves until that is over.
#ifndef HANDLEFS_DAEMON_SERVE_H_
#define HANDLEFS_DAEMON_SERVE_H_

#include <functional>
#include <string>

#include "daemon/exit_code.h"
#include "daemon/options.h"
#include "daemon/prepare.h"
#include "daemon/restart/kept.h"
#include "daemon/restart/state.h"
#include "daemon/service_reports.h"
#include "io/uring_memory.h"

namespace handlefs {

// How long users of a mount that was told to stop keep being served.
inline constexpr int kDrainSeconds = 10;
// What is said of a mount that was told to stop while it is in use.
std::string BusyText(const Mounted& mounted);

// Serves until the mount is gone or the process is told to stop, and restarts
// what dies if the options say so; prints one line on failure. `ready` is
// called when INIT was answered and the mount can be used, once in each process
// that writes to the terminal. Takes over the signals of the process.
ExitCode Serve(const Options& options, const std::function<void()>& ready);

// Alone in its process: signals unmount, and everything ends with it.
ExitCode ServeAlone(const Options& options, Prepared& prepared,
                    ServiceReports& reports,
                    const std::function<void()>& ready);

// A mount that is new to the service manager, or that it knows: it was told, or
// it has kept it for this process, and waits to be told.
enum class ServedAs { kNew, kFromStore };

// In a process that a keeper made and watches. Orders come by `keeper`; signals
// are the keeper's business.
ExitCode ServeKept(const Options& options, Prepared& prepared, State& state,
                   const KeptFds& fds, io::UringMemory* rings,
                   BorrowedFd keeper, ServiceReports& reports,
                   ServedAs served_as, const std::function<void()>& ready);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_SERVE_H_

// One life of the daemon: source, mount, session, end.
#ifndef HANDLEFS_DAEMON_SERVE_H_
#define HANDLEFS_DAEMON_SERVE_H_

#include <functional>
#include <string>

#include "daemon/exit_code.h"
#include "daemon/options.h"

namespace handlefs {

// Serves until the mount is gone or the process is told to stop; prints one
// line on failure. `ready` is called once, when INIT was answered and the mount
// can be used. Takes over the signals of the process.
ExitCode Serve(const Options& options, const std::function<void()>& ready);

// "/dev/fd/N" as MOUNTPOINT: an opened device or socket. -1 if it is a path.
int DescriptorOf(const std::string& mount_point);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_SERVE_H_

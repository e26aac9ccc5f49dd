// What SIGHUP does: config files and command line are read again. The levels
// and the format of messages change, a log file is opened again since it may
// have been moved away, and what was counted instead of said is said. All other
// options need a new start.
#ifndef HANDLEFS_DAEMON_RELOAD_H_
#define HANDLEFS_DAEMON_RELOAD_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "daemon/options.h"

namespace handlefs {

// Where messages go once the daemon runs: "stderr", "syslog" or a path.
std::string LogTargetOf(const Options& options);

// `options` are those that the process was started with. Returns the names of
// options that have another value now and need a new start. On error nothing
// has changed; the message is one line.
absl::StatusOr<std::vector<std::string>> Reload(const Options& options);

// The rows of the table whose values differ, but for those that a reload
// changes.
std::vector<std::string> NeedNewStart(const Options& before,
                                      const Options& after);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RELOAD_H_

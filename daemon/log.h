// The server's own messages: one line each, to stderr, to syslog or to a file.
// Thread-safe. Not used inside operations; dispatch and the edges log.
#ifndef HANDLEFS_DAEMON_LOG_H_
#define HANDLEFS_DAEMON_LOG_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace handlefs {

enum class LogLevel { kError, kWarning, kInfo, kDebug };

// `target` is "stderr", "syslog" or the path of a file that is appended to.
// Until the first call, messages go to stderr. Lines to a stderr that is the
// journal carry its <N> priorities.
absl::Status SetLog(const std::string& target, LogLevel level);
void Log(LogLevel level, std::string_view message);
// A line of the trace: as it is, whatever the level.
void LogTrace(std::string_view line);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_LOG_H_

// The server's own messages: one line for each cause, to stderr, to syslog or
// to a file. Thread-safe. Not used inside operations; dispatch and the edges
// log.
//
// What one call says too often is counted instead (log_limit.h). Nothing that
// is secret is ever given to it: no keys, no handles that are signed.
#ifndef HANDLEFS_DAEMON_LOG_H_
#define HANDLEFS_DAEMON_LOG_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "daemon/log_levels.h"
#include "daemon/log_line.h"

namespace handlefs {

// `target` is "stderr", "syslog" or the path of a file that is appended to.
// Until the first call, messages of kInfo and above go to stderr.
absl::Status SetLog(const std::string& target, const LogLevels& levels,
                    LogFormat format = LogFormat::kAuto);
// The same for messages that go on where they go.
void SetLogStyle(const LogLevels& levels, LogFormat format);
// For the messages of whom: JSON has it.
void SetLogMount(std::string_view mount_point);

// What a message is about besides its text; JSON has them as fields.
struct LogAbout {
  std::string_view op = {};
  int error = 0;
};

// Of the folder in which the call stands.
void Log(LogLevel level, std::string_view message, LogAbout about = {},
         const char* file = __builtin_FILE(), int line = __builtin_LINE());
// Of the folder that it is about.
void LogOf(LogFolder folder, LogLevel level, std::string_view message,
           LogAbout about = {}, const char* file = __builtin_FILE(),
           int line = __builtin_LINE());
// For what costs something to say.
bool Logs(LogFolder folder, LogLevel level);

// A line of the trace: whatever the level and however many, as it is unless
// the format is JSON.
void LogTrace(std::string_view line);

// Says what was counted so far; for the end of a process.
void FlushLog();

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_LOG_H_

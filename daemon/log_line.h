// How a message is written: pure text, always one line.
#ifndef HANDLEFS_DAEMON_LOG_LINE_H_
#define HANDLEFS_DAEMON_LOG_LINE_H_

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "daemon/log_limit.h"

namespace handlefs {

enum class LogFormat : uint8_t {
  kAuto,  // kJournal where stderr is the journal
  kText,
  kJson,
  kJournal,  // with <N> priorities, as systemd reads them
};

// syslog(3)'s.
int PriorityOf(LogLevel level);

// "warning: TEXT": control characters are escaped, so that no name of a file
// can make a line of its own.
std::string TextOf(const LogMessage& message);

// One object: time (RFC 3339, UTC), level, folder, message, pid; mount, op and
// errno where there are any. Valid whatever the bytes are: what is no UTF-8
// becomes U+FFFD.
std::string JsonOf(const LogMessage& message, absl::Time time, int pid,
                   std::string_view mount);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_LOG_LINE_H_

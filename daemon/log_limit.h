// Keeps one place in the code from filling the log: of what it says within a
// minute the first ten messages pass, the rest are counted, and the last of
// them is said with its count when the minute is over.
//
// Pure: time is given. Not thread-safe.
#ifndef HANDLEFS_DAEMON_LOG_LIMIT_H_
#define HANDLEFS_DAEMON_LOG_LIMIT_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "daemon/log_levels.h"

namespace handlefs {

// A call, by file and line.
struct LogSite {
  const char* file;
  int line;

  auto operator<=>(const LogSite&) const = default;
};

struct LogMessage {
  LogLevel level = LogLevel::kInfo;
  LogFolder folder = LogFolder::kDaemon;
  std::string text;
  std::string op;  // "" if it is of no request
  int error = 0;   // errno, 0 if there is none
};

class LogLimit {
 public:
  static constexpr uint64_t kBurst = 10;
  static constexpr absl::Duration kWindow = absl::Minutes(1);

  enum class Verdict {
    kSay,
    kSayLast,  // further ones are counted
    kCount,
  };
  // `message` is kept if it is counted.
  Verdict Judge(LogSite site, const LogMessage& message, absl::Time now);

  // What was counted and is due, with "... and N more like it".
  std::vector<LogMessage> TakeDue(absl::Time now);
  std::vector<LogMessage> TakeAll();

 private:
  struct Site {
    absl::Time since;
    uint64_t said = 0;
    uint64_t counted = 0;
    LogMessage last;
  };
  static void Take(Site& site, std::vector<LogMessage>& out);

  std::map<LogSite, Site> sites_;
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_LOG_LIMIT_H_

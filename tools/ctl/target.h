// Which mount is meant. The mount point itself is never touched: only its
// parent is resolved, and the mount table read.
#ifndef HANDLEFS_TOOLS_CTL_TARGET_H_
#define HANDLEFS_TOOLS_CTL_TARGET_H_

#include <optional>
#include <string>
#include <variant>

#include "exit_status.h"

namespace handlefs::ctl {

struct Target {
  std::string socket;
  std::string mount_point;  // empty: only the socket was named
};
std::variant<Target, Failure> FindTarget(const std::string& named);

// Ends the connection without the daemon.
std::optional<Failure> AbortMount(const std::string& point);

}  // namespace handlefs::ctl

#endif  // HANDLEFS_TOOLS_CTL_TARGET_H_

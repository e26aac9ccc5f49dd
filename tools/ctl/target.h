// Which mount is meant. The mount point itself is never touched: only its
// parent is resolved, and the mount table read.
#ifndef HANDLEFS_TOOLS_CTL_TARGET_H_
#define HANDLEFS_TOOLS_CTL_TARGET_H_

#include <istream>
#include <optional>
#include <string>
#include <variant>

#include "exit_status.h"

namespace handlefs::ctl {

// A line of mountinfo.
struct MountLine {
  std::string id;
  std::string minor;  // of the device: the number of the FUSE connection
  std::string type;
  friend bool operator==(const MountLine&, const MountLine&) = default;
};
// What is on top at `point`.
std::optional<MountLine> FindMount(std::istream& mountinfo,
                                   const std::string& point);
std::optional<MountLine> FindMount(const std::string& point);

struct Target {
  std::string socket;
  std::string mount_point;  // empty: only the socket was named
};
std::variant<Target, Failure> FindTarget(const std::string& named);

// Ends the connection without the daemon.
std::optional<Failure> AbortMount(const std::string& point);

}  // namespace handlefs::ctl

#endif  // HANDLEFS_TOOLS_CTL_TARGET_H_

// The daemon, as a process that this one starts.
#ifndef HANDLEFS_TOOLS_MOUNT_DAEMON_PROCESS_H_
#define HANDLEFS_TOOLS_MOUNT_DAEMON_PROCESS_H_

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "exit_status.h"
#include "io/base/fd.h"

namespace handlefs::mount_helper {

// The program, found while the helper still is where it was called.
struct Program {
  std::string path;
  UniqueFd file;  // O_PATH
};
std::variant<Program, Failure> FindDaemon();
std::string DaemonPath();

enum class Find { kByPath, kByDescriptor };
enum class Stderr {
  kCollected,  // what it says comes back as notes and as the reason
  kShared,     // log=stderr: it keeps the helper's own
};
struct Start {
  std::vector<std::string> args;
  // kByDescriptor where the path may lead elsewhere by now.
  Find find = Find::kByPath;
  Stderr err = Stderr::kCollected;
  // Runs in the new process before the daemon; an errno text where it fails.
  std::function<std::optional<std::string>()> prepare;
};

// Returns when the mount answers, or with what stopped the start. Other lines
// that the daemon wrote to its stderr are in `notes`.
std::optional<Failure> RunDaemon(const Program& program, const Start& start,
                                 std::vector<std::string>& notes);

}  // namespace handlefs::mount_helper

#endif  // HANDLEFS_TOOLS_MOUNT_DAEMON_PROCESS_H_

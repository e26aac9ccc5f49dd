// What mount(8) wants helpers to end with; it passes the number on.
#ifndef HANDLEFS_TOOLS_MOUNT_EXIT_STATUS_H_
#define HANDLEFS_TOOLS_MOUNT_EXIT_STATUS_H_

#include <string>
#include <string_view>

#include "daemon/exit_code.h"

namespace handlefs::mount_helper {

enum class ExitStatus : int {
  kOk = 0,
  kUsage = 1,         // arguments or rights
  kSystem = 2,        // no memory, no process, no daemon to run
  kInterrupted = 8,   // by a signal
  kMountFailed = 32,  // everything else
};

constexpr int ToInt(ExitStatus status) { return static_cast<int>(status); }

// Of a daemon that did not come up.
constexpr ExitStatus StatusOf(ExitCode code) {
  switch (code) {
    case ExitCode::kOk:
      return ExitStatus::kOk;
    case ExitCode::kUsage:
      return ExitStatus::kUsage;
    case ExitCode::kFuse:
      return ExitStatus::kSystem;
    default:
      return ExitStatus::kMountFailed;
  }
}

// The step of the start at which it ended.
constexpr std::string_view StepOf(ExitCode code) {
  switch (code) {
    case ExitCode::kUsage:
      return "options";
    case ExitCode::kSource:
      return "source";
    case ExitCode::kMountPoint:
      return "mount point";
    case ExitCode::kFuse:
      return "/dev/fuse";
    case ExitCode::kHandshake:
      return "handshake";
    case ExitCode::kServe:
      return "serve";
    default:
      return "mount";
  }
}

// A helper that could not do it: one line,
// "mount.handlefs: STEP: TARGET: REASON".
struct Failure {
  ExitStatus status;
  std::string step;
  std::string reason;
};

}  // namespace handlefs::mount_helper

#endif  // HANDLEFS_TOOLS_MOUNT_EXIT_STATUS_H_

// The command line of mount.handlefs, as mount(8) makes it:
//
//   mount.handlefs SOURCE TARGET [-fnsv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]
//
// Words of -o are for mount(8) (dropped), for this helper, or for the daemon.
#ifndef HANDLEFS_TOOLS_MOUNT_COMMAND_H_
#define HANDLEFS_TOOLS_MOUNT_COMMAND_H_

#include <span>
#include <string>
#include <variant>
#include <vector>

#include "daemon/options.h"
#include "exit_status.h"

namespace handlefs::mount_helper {

enum class Task { kMount, kRemount, kHelp, kVersion };

struct Command {
  Task task = Task::kMount;
  std::string source;
  std::string target;
  Switch fake = Switch::kOff;     // -f: look at everything, mount nothing
  Switch sloppy = Switch::kOff;   // -s: unknown options are dropped
  Switch verbose = Switch::kOff;  // -v
  std::string name_space;         // -N: a mount namespace to do it in
  std::string run_as;             // setuid=USER
  Switch drop_privileges = Switch::kOff;
  // For the daemon, each "name" or "name=value", in order.
  std::vector<std::string> words;

  // The helper mounts and gives the daemon an opened /dev/fuse.
  bool hands_over() const {
    return !run_as.empty() || drop_privileges == Switch::kOn;
  }
};

// Every word for the daemon is one that it takes.
std::variant<Command, Failure> ParseCommand(std::span<const char* const> args);

// What the daemon is called with, its name not included.
std::vector<std::string> DaemonArguments(const Command& command,
                                         const std::string& mount_point);

std::string HelpText();

}  // namespace handlefs::mount_helper

#endif  // HANDLEFS_TOOLS_MOUNT_COMMAND_H_

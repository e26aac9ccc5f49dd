#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "command.h"
#include "daemon/mount.h"
#include "daemon/serve.h"
#include "daemon_process.h"
#include "user.h"

namespace handlefs::mount_helper {
namespace {

using Outcome = std::optional<Failure>;

Failure FromDaemon(const StartError& error) {
  return {StatusOf(error.code), std::string(StepOf(error.code)), error.message};
}

Failure Errno(const char* step, const std::string& what) {
  return {ExitStatus::kMountFailed, step,
          absl::StrCat(what, ": ", std::strerror(errno))};
}

Outcome EnterNamespace(const std::string& path) {
  if (path.empty()) return std::nullopt;
  UniqueFd name_space(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!name_space || setns(name_space.get(), CLONE_NEWNS) != 0) {
    return Errno("namespace", absl::StrCat("cannot enter ", path));
  }
  return std::nullopt;
}

// What the daemon will read, config files and environment included.
std::variant<Options, Failure> ReadOptions(const Command& command) {
  std::vector<std::string> args = DaemonArguments(command, command.target);
  std::vector<const char*> pointers;
  pointers.reserve(args.size());
  for (const std::string& arg : args) pointers.push_back(arg.c_str());
  auto options = ParseOptions(pointers, {.environment = environ});
  if (options.ok()) return *std::move(options);
  return Failure{ExitStatus::kUsage, "options",
                 std::string(options.status().message().data(),
                             options.status().message().size())};
}

std::variant<std::string, Failure> RealSource(const std::string& source) {
  std::unique_ptr<char, decltype(&free)> real(realpath(source.c_str(), nullptr),
                                              free);
  struct stat st;
  if (real == nullptr || stat(real.get(), &st) != 0) {
    return Errno("source", absl::StrCat("cannot find the source ", source));
  }
  if (!S_ISDIR(st.st_mode)) {
    return Failure{ExitStatus::kMountFailed, "source",
                   absl::StrCat("the source ", source, " is not a directory")};
  }
  return std::string(real.get());
}

// -f: everything that can be said without mounting.
Outcome LookOnly(const Command& command, const Options& options) {
  auto source = RealSource(command.source);
  if (auto* failure = std::get_if<Failure>(&source)) return *failure;
  if (DescriptorOf(command.target) >= 0) return std::nullopt;
  struct stat st;
  if (options.replace_stale == Switch::kOn &&
      stat(command.target.c_str(), &st) != 0 && errno == ENOTCONN) {
    return std::nullopt;
  }
  auto checked = CheckMountPoint(command.target);
  if (auto* error = std::get_if<StartError>(&checked)) {
    return FromDaemon(*error);
  }
  return std::nullopt;
}

Outcome Remount(const Command& command, const Options& options) {
  auto checked = CheckMountPoint(command.target);
  if (auto* error = std::get_if<StartError>(&checked)) {
    return FromDaemon(*error);
  }
  if (command.fake == Switch::kOn) return std::nullopt;
  Status done = RemountFuse(options, std::get<std::string>(checked));
  if (done.ok()) return std::nullopt;
  std::string reason = std::strerror(done.error().value());
  if (done.error() == handlefs::Errno(EBUSY)) {
    absl::StrAppend(&reason, "; files are open for writing");
  } else if (done.error() == handlefs::Errno(EINVAL)) {
    absl::StrAppend(&reason, "; it is no mount of handlefs");
  } else if (done.error() == handlefs::Errno(EPERM)) {
    absl::StrAppend(&reason, "; only root can");
  }
  return Failure{ExitStatus::kMountFailed, "remount", reason};
}

bool Contains(const std::string& outer, const std::string& inner) {
  return outer == "/" || (inner + "/").starts_with(outer + "/");
}

void SayNotes(const Command& command, const std::vector<std::string>& notes) {
  for (const std::string& note : notes) {
    std::fprintf(stderr, "mount.handlefs: %s: %s\n", command.target.c_str(),
                 note.c_str());
  }
}

void ShowCommand(const Command& command, const Program& program,
                 const std::vector<std::string>& args) {
  if (command.verbose == Switch::kOff) return;
  std::string line = program.path;
  for (const std::string& arg : args) absl::StrAppend(&line, " ", arg);
  std::printf("mount.handlefs: %s\n", line.c_str());
  std::fflush(stdout);
}

// The helper mounts, as root; the daemon gets the opened device and serves it
// as somebody who could not.
Outcome HandOver(const Command& command, Options options,
                 const Program& program, Start start) {
  if (!CanMount()) {
    return Failure{ExitStatus::kUsage, "options",
                   "setuid and drop_privileges need root"};
  }
  std::optional<User> user;
  if (!command.run_as.empty()) {
    auto found = FindUser(command.run_as);
    if (auto* failure = std::get_if<Failure>(&found)) return *failure;
    user = std::get<User>(found);
  }
  auto source = RealSource(command.source);
  if (auto* failure = std::get_if<Failure>(&source)) return *failure;
  auto checked =
      CheckMountPoint(command.target, options.replace_stale == Switch::kOn
                                          ? StaleMount::kReplace
                                          : StaleMount::kRefuse);
  if (auto* error = std::get_if<StartError>(&checked)) {
    return FromDaemon(*error);
  }
  const auto& real = std::get<std::string>(source);
  const auto& target = std::get<std::string>(checked);
  // The daemon opens the source when the mount is there; only root could keep
  // them apart.
  if (Contains(real, target) || Contains(target, real)) {
    return Failure{
        ExitStatus::kMountFailed, "mount point",
        absl::StrCat("with setuid or drop_privileges ", target,
                     " and the source ", real, " may not contain each other")};
  }
  // What such a daemon shows is not to be trusted with root's rights.
  if (!options.allow_suid) options.allow_suid = Switch::kOff;
  if (!options.allow_dev) options.allow_dev = Switch::kOff;
  if (user) {
    if (!options.allow_other) options.allow_other = Switch::kOff;
    options.owner_uid = user->uid;
    options.owner_gid = user->gid;
  }
  auto result = MountFuse(options, target, real, MountBy::kKernel);
  if (auto* error = std::get_if<StartError>(&result)) {
    return FromDaemon(*error);
  }
  const auto& mounted = std::get<Mounted>(result);
  UniqueFd device(fcntl(mounted.device.get(), F_DUPFD, 3));
  start.args = DaemonArguments(command, absl::StrCat("/dev/fd/", device.get()));
  ShowCommand(command, program, start.args);
  start.prepare = [&]() {
    return command.drop_privileges == Switch::kOn ? DropPrivileges(user)
                                                  : BecomeUser(*user);
  };
  std::vector<std::string> notes;
  Outcome outcome = RunDaemon(program, start, notes);
  SayNotes(command, notes);
  if (outcome) (void)UnmountFuse(mounted, Unmount::kDetach).ok();
  return outcome;
}

Outcome Mount(const Command& command, const Options& options,
              const Program& program) {
  if (command.fake == Switch::kOn) return LookOnly(command, options);
  Start start;
  if (!command.name_space.empty()) start.find = Find::kByDescriptor;
  if (options.log == "stderr") start.err = Stderr::kShared;
  if (command.hands_over() && DescriptorOf(command.target) < 0) {
    return HandOver(command, options, program, std::move(start));
  }
  start.args = DaemonArguments(command, command.target);
  ShowCommand(command, program, start.args);
  std::vector<std::string> notes;
  Outcome outcome = RunDaemon(program, start, notes);
  if (!outcome && !CanMount() && DescriptorOf(command.target) < 0) {
    notes.push_back(absl::StrCat(
        "mounted without root: ",
        options.allow_other == Switch::kOn ? "" : "for you alone, ",
        "by descriptors, without passthrough, suid, dev, chown and trusted.* "
        "attributes"));
  }
  SayNotes(command, notes);
  return outcome;
}

Outcome Run(const Command& command) {
  auto program = FindDaemon();
  if (auto* failure = std::get_if<Failure>(&program)) return *failure;
  if (Outcome failed = EnterNamespace(command.name_space)) return failed;
  auto options = ReadOptions(command);
  if (auto* failure = std::get_if<Failure>(&options)) return *failure;
  if (command.task == Task::kRemount) {
    return Remount(command, std::get<Options>(options));
  }
  return Mount(command, std::get<Options>(options), std::get<Program>(program));
}

int Report(const Failure& failure, const std::string& target) {
  std::fprintf(stderr, "mount.handlefs: %s: %s%s%s\n", failure.step.c_str(),
               target.c_str(), target.empty() ? "" : ": ",
               failure.reason.c_str());
  return ToInt(failure.status);
}

int Main(std::span<const char* const> args) {
  auto parsed = ParseCommand(args);
  if (auto* failure = std::get_if<Failure>(&parsed)) {
    // By the form of mount(8) it is the second one.
    bool known = args.size() > 1 && args[1][0] != '-';
    return Report(*failure, known ? args[1] : "");
  }
  const auto& command = std::get<Command>(parsed);
  switch (command.task) {
    case Task::kHelp:
      std::fputs(HelpText().c_str(), stdout);
      return 0;
    case Task::kVersion:
      std::printf("mount.handlefs %s, runs %s\n", HANDLEFS_VERSION,
                  DaemonPath().c_str());
      return 0;
    case Task::kMount:
    case Task::kRemount:
      break;
  }
  if (Outcome failure = Run(command)) return Report(*failure, command.target);
  return 0;
}

}  // namespace
}  // namespace handlefs::mount_helper

// NOLINTNEXTLINE(bugprone-exception-escape): without memory it may end
int main(int argc, char** argv) {
  return handlefs::mount_helper::Main(
      std::span<const char* const>(argv + 1, static_cast<size_t>(argc - 1)));
}

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "daemon/check.h"
#include "daemon/exit_code.h"
#include "daemon/kernel_probe.h"
#include "daemon/log.h"
#include "daemon/mounted_source.h"
#include "daemon/options.h"
#include "daemon/options_help.h"
#include "daemon/options_table.h"
#include "daemon/reload.h"
#include "daemon/restart/holdings.h"
#include "daemon/restart/keeper.h"
#include "daemon/restart/upgrade.h"
#include "daemon/serve.h"

namespace handlefs {
namespace {

// The child serves; the parent waits until the mount answers.
int WaitForChild(const Options& options, pid_t child, UniqueFd pipe) {
  char byte;
  ssize_t n;
  do {
    n = read(pipe.get(), &byte, 1);
  } while (n < 0 && errno == EINTR);
  if (n == 1) {
    if (DescriptorOf(options.mount_point) >= 0) return ToInt(ExitCode::kOk);
    struct statx stx;
    if (statx(AT_FDCWD, options.mount_point.c_str(), AT_STATX_FORCE_SYNC,
              STATX_BASIC_STATS, &stx) == 0) {
      return ToInt(ExitCode::kOk);
    }
    Log(LogLevel::kError,
        absl::StrCat("the mount at ", options.mount_point,
                     " does not answer: ", std::strerror(errno)));
    return ToInt(ExitCode::kMount);
  }
  // It has said why on our stderr.
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : ToInt(ExitCode::kServe);
}

void LeaveTerminal(const Options& options) {
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  dup2(null.get(), STDIN_FILENO);
  dup2(null.get(), STDOUT_FILENO);
  if (options.log != "stderr") dup2(null.get(), STDERR_FILENO);
}

int Background(const Options& options) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    Log(LogLevel::kError,
        absl::StrCat("cannot make a pipe: ", std::strerror(errno)));
    return ToInt(ExitCode::kServe);
  }
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  pid_t child = fork();
  if (child < 0) {
    Log(LogLevel::kError,
        absl::StrCat("cannot make a process: ", std::strerror(errno)));
    return ToInt(ExitCode::kServe);
  }
  if (child > 0) {
    write_end.reset();
    return WaitForChild(options, child, std::move(read_end));
  }
  read_end.reset();
  auto ready = [&] {
    if (options.log == "auto") {
      (void)SetLog("syslog", options.log_level, options.log_format).ok();
    }
    // Not before the mount: an automount point lets only the process group in
    // that systemd started for it; others wait until the mount is made.
    setsid();
    LeaveTerminal(options);
    (void)!write(write_end.get(), "r", 1);
    write_end.reset();
  };
  return ToInt(Serve(options, ready));
}

std::string Help(const std::string& topic) {
  if (topic.empty()) return HelpText();
  const OptionRow* row = FindOption(topic);
  return row == nullptr ? HelpAll() : HelpOf(*row);
}

int Complain(const absl::Status& status) {
  Log(LogLevel::kError,
      std::string(status.message().data(), status.message().size()));
  return ToInt(ExitCode::kUsage);
}

int Main(std::span<const char* const> args) {
  auto holdings = TakeHoldings();
  if (!holdings.ok()) return Complain(holdings.status());
  auto options = ParseOptions(args, {.environment = environ});
  if (!options.ok()) return Complain(options.status());
  options->command_line.assign(args.begin(), args.end());
  std::error_code no_directory;
  options->directory = std::filesystem::current_path(no_directory);
  if (auto asked = TakeStateToCheck()) {
    // A keeper asks whether this program could go on in its place.
    absl::Status good = CheckState(std::move(*asked));
    if (!good.ok()) return Complain(good);
    std::puts(kCanGoOn);
    return ToInt(ExitCode::kOk);
  }
  if (holdings->has_value()) {
    (void)SetLog(LogTargetOf(*options), options->log_level, options->log_format)
        .ok();
    return ToInt(GoOnServing(*options, *std::move(*holdings)));
  }
  SetLogMount(options->mount_point);
  switch (options->mode) {
    case Mode::kHelp:
      std::fputs(Help(options->help_topic).c_str(), stdout);
      return ToInt(ExitCode::kOk);
    case Mode::kVersion:
      std::printf("handlefs %s\n%s", HANDLEFS_VERSION,
                  DescribeKernel().c_str());
      return ToInt(ExitCode::kOk);
    case Mode::kCheck: {
      CheckReport report = Check(*options);
      std::fputs(options->check_form == Form::kJson ? ToJson(report).c_str()
                                                    : ToText(report).c_str(),
                 stdout);
      return ToInt(report.code);
    }
    case Mode::kPrintConfig:
      std::fputs(PrintConfig(*options).c_str(), stdout);
      return ToInt(ExitCode::kOk);
    case Mode::kServe:
      break;
  }
  // Until the daemon leaves the terminal its messages are for whoever started
  // it.
  std::string log = options->log == "auto" ? "stderr" : options->log;
  if (auto status = SetLog(log, options->log_level, options->log_format);
      !status.ok()) {
    return Complain(status);
  }
  if (auto refused = RefuseUnmountedSource(*options)) {
    Log(LogLevel::kError, refused->message);
    return ToInt(refused->code);
  }
  if (options->foreground == Switch::kOn) {
    return ToInt(Serve(*options, [] {}));
  }
  return Background(*options);
}

}  // namespace
}  // namespace handlefs

int main(int argc, char** argv) {
#ifndef HANDLEFS_FAILPOINTS
  // Debian's Abseil keeps a graph of which mutex is taken under which, and ends
  // the program over a cycle in it. That is for tests.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#endif
  int code = handlefs::Main(
      std::span<const char* const>(argv + 1, static_cast<size_t>(argc - 1)));
  handlefs::FlushLog();
  return code;
}

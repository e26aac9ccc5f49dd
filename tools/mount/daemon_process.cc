#include "daemon_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace handlefs::mount_helper {
namespace {

// In the child, before the daemon runs: not one of its own codes.
constexpr int kCannotStart = 125;

Failure System(const std::string& what) {
  return {ExitStatus::kSystem, "start",
          absl::StrCat(what, ": ", std::strerror(errno))};
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (std::string& string : strings) out.push_back(string.data());
  out.push_back(nullptr);
  return out;
}

[[noreturn]] void Become(const Program& program, const Start& start,
                         BorrowedFd err) {
  auto fail = [](const std::string& reason) {
    std::string line = absl::StrCat("handlefs: error: ", reason, "\n");
    (void)!write(STDERR_FILENO, line.data(), line.size());
    _exit(kCannotStart);
  };
  if (start.err == Stderr::kCollected) dup2(err.get(), STDERR_FILENO);
  if (start.prepare) {
    if (auto reason = start.prepare()) fail(*reason);
  }
  std::vector<std::string> args = {"handlefs"};
  args.insert(args.end(), start.args.begin(), start.args.end());
  std::vector<char*> argv = Pointers(args);
  if (start.find == Find::kByDescriptor) {
    fexecve(program.file.get(), argv.data(), environ);
  } else {
    execv(program.path.c_str(), argv.data());
  }
  fail(absl::StrCat("cannot run ", program.path, ": ", std::strerror(errno)));
  _exit(kCannotStart);
}

// Until the process ends. What it leaves running may keep the pipe.
std::string ReadWhileRunning(BorrowedFd pipe, BorrowedFd process) {
  std::string text;
  char buffer[4096];
  auto read_some = [&] {
    ssize_t n = read(pipe.get(), buffer, sizeof(buffer));
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
    return n;
  };
  bool open = true;
  while (true) {
    pollfd fds[2] = {{process.get(), POLLIN, 0},
                     {open ? pipe.get() : -1, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return text;
    }
    if (fds[1].revents != 0 && read_some() == 0) open = false;
    if (fds[0].revents != 0) break;
  }
  while (read_some() > 0) {
  }
  return text;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    std::string line = text.substr(at, end - at);
    at = end + 1;
    constexpr std::string_view kName = "handlefs: ";
    if (line.starts_with(kName)) line.erase(0, kName.size());
    if (!line.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

// Not by PATH: mount units have none.
std::string DaemonPath() { return HANDLEFS_DAEMON; }

std::variant<Program, Failure> FindDaemon() {
  Program program{.path = DaemonPath(), .file = {}};
  program.file = UniqueFd(open(program.path.c_str(), O_PATH | O_CLOEXEC));
  if (!program.file) return System(absl::StrCat("cannot find ", program.path));
  return program;
}

std::optional<Failure> RunDaemon(const Program& program, const Start& start,
                                 std::vector<std::string>& notes) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return System("cannot make a pipe");
  UniqueFd out(ends[0]), in(ends[1]);
  fcntl(out.get(), F_SETFL, O_NONBLOCK);
  pid_t child = fork();
  if (child < 0) return System("cannot make a process");
  if (child == 0) Become(program, start, in);
  in.reset();
  UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  std::string text = process ? ReadWhileRunning(out, process) : "";
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::vector<std::string> lines = Lines(text);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    notes = std::move(lines);
    return std::nullopt;
  }
  if (WIFSIGNALED(status)) {
    return Failure{
        ExitStatus::kInterrupted, "start",
        absl::StrCat("the daemon was ended by signal ", WTERMSIG(status))};
  }
  // The last line is the reason.
  std::string reason = start.err == Stderr::kShared
                           ? "the daemon has said why"
                           : "the daemon does not say why";
  constexpr std::string_view kError = "error: ";
  if (!lines.empty()) {
    reason = lines.back();
    lines.pop_back();
    if (reason.starts_with(kError)) reason.erase(0, kError.size());
  }
  notes = std::move(lines);
  if (WEXITSTATUS(status) == kCannotStart) {
    return Failure{ExitStatus::kSystem, "start", reason};
  }
  auto code = static_cast<ExitCode>(WEXITSTATUS(status));
  return Failure{StatusOf(code), std::string(StepOf(code)), reason};
}

}  // namespace handlefs::mount_helper

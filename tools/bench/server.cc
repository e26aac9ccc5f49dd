#include "server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "client.h"
#include "floor.h"
#include "text.h"

namespace handlefs::bench {
namespace {

constexpr uint64_t kSecond = 1000000000;
constexpr uint64_t kStartTime = 15 * kSecond;
constexpr int kProbeMilliseconds = 10000;
constexpr uint64_t kStopTime = 5 * kSecond;
constexpr int kStep = 2;  // milliseconds between looks

void Sleep(int milliseconds) {
  usleep(static_cast<useconds_t>(milliseconds) * 1000);
}

// As many open files as can be had: servers may need one for each file.
void RaiseLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Whatever of it ended; others are not ours to wait for.
void Reap(const std::vector<pid_t>& processes) {
  for (pid_t pid : processes) waitpid(pid, nullptr, WNOHANG);
}

}  // namespace

bool Server::IsMounted() const {
  return HasMount(ReadFile("/proc/self/mountinfo"), scratch_.mount());
}

std::string Server::LastWords() const {
  return LastLine(ReadFile(scratch_.log()));
}

std::string Server::Ended(int status) const {
  std::string why = WIFEXITED(status)
                        ? Format("exit status %d", WEXITSTATUS(status))
                        : Format("signal %d", WTERMSIG(status));
  std::string words = LastWords();
  return words.empty() ? why : why + ": " + words;
}

void Server::Exec() {
  // Ctrl-C is for the harness, which stops its servers in order.
  setpgid(0, 0);
  // Not SIGKILL: handlefs's keeper unmounts then, while its server would only
  // start another keeper.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  Signals::Restore();
  RaiseLimit();
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  int log = open(scratch_.log().c_str(),
                 O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  if (system_.kind == System::Kind::kFloor) {
    _exit(RunFloor(*FindFloor(system_.transport), scratch_.mount()));
  }
  std::string command = FillIn(system_.command, scratch_.source(),
                               scratch_.mount(), scratch_.side());
  execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
  _exit(127);
}

std::optional<std::string> Server::Start() {
  unlink(scratch_.log().c_str());
  pid_ = fork();
  if (pid_ < 0) return std::string("start: fork failed");
  if (pid_ == 0) Exec();
  if (auto wrong = AwaitMount()) {
    Stop();
    return wrong;
  }
  if (auto wrong = Probe()) {
    std::string words = LastWords();
    Stop();
    return *wrong + (words.empty() ? "" : ": " + words);
  }
  return std::nullopt;
}

std::optional<std::string> Server::AwaitMount() {
  const uint64_t limit = Now() + kStartTime;
  while (!IsMounted()) {
    if (signals_.Pending() != 0) return std::string("mount: interrupted");
    int status = 0;
    if (pid_ > 0 && waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      // It may have gone to the background, with 0.
      if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return "mount: " + Ended(status);
      }
    }
    if (Now() > limit) {
      std::string words = LastWords();
      return "mount: none appeared in 15 s" +
             (words.empty() ? "" : ": " + words);
    }
    Sleep(kStep);
  }
  return std::nullopt;
}

std::optional<std::string> Server::Probe() {
  pid_t probe = fork();
  if (probe < 0) return std::string("mount: fork failed");
  if (probe == 0) {
    struct statx stx;
    int rc = statx(AT_FDCWD, scratch_.mount().c_str(), AT_STATX_FORCE_SYNC,
                   STATX_BASIC_STATS, &stx);
    _exit(rc == 0 ? 0 : 1);
  }
  auto status = WaitFor(probe, kProbeMilliseconds);
  if (!status) {
    Kill({probe});
    KillAndReap(probe);
    return std::string("mount: it does not answer");
  }
  if (*status != 0) return std::string("mount: it answers with an error");
  return std::nullopt;
}

std::vector<pid_t> Server::Processes(const std::vector<pid_t>& clients) const {
  std::vector<pid_t> others = strangers_;
  others.insert(others.end(), clients.begin(), clients.end());
  return Descendants(getpid(), others);
}

void Server::Kill(const std::vector<pid_t>& clients) const {
  for (pid_t pid : Processes(clients)) kill(pid, SIGKILL);
}

void Server::Stop() {
  // A server may have mounted more than once, and one that is busy may go on
  // for those who use it: nobody does.
  while (IsMounted()) {
    if (umount2(scratch_.mount().c_str(), 0) != 0 &&
        umount2(scratch_.mount().c_str(), MNT_DETACH) != 0) {
      break;
    }
  }
  const uint64_t start = Now();
  int sent = 0;
  while (true) {
    std::vector<pid_t> left = Processes({});
    Reap(left);
    left = Processes({});
    if (left.empty()) break;
    uint64_t waited = Now() - start;
    int force = waited > 2 * kStopTime ? SIGKILL
                : waited > kStopTime   ? SIGTERM
                                       : 0;
    if (force == SIGKILL || force != sent) {
      for (pid_t pid : left) kill(pid, force);
      sent = force;
    }
    // What is in the middle of a system call that never ends stays.
    if (waited > 4 * kStopTime) break;
    Sleep(kStep);
  }
  pid_ = -1;
}

}  // namespace handlefs::bench

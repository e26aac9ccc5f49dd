#include "daemon/restart/child.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace handlefs {

Child Child::Fork() {
  Child child;
  child.pid_ = fork();
  if (child.pid_ > 0) {
    child.fd_ =
        UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, child.pid_, 0)));
  }
  return child;
}

Child Child::Adopt(pid_t pid) {
  Child child;
  child.pid_ = pid;
  child.fd_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  return child;
}

void Child::Kill(int signal) const {
  if (exists()) kill(pid_, signal);
}

bool Child::IsStuckDead() const {
  std::ifstream status(absl::StrCat("/proc/", pid_, "/status"));
  constexpr uint64_t kKill = uint64_t{1} << (SIGKILL - 1);
  for (std::string line; std::getline(status, line);) {
    // The first thread has ended, others have not.
    if (line.starts_with("State:") && line.find('Z') != std::string::npos) {
      return true;
    }
    if (line.starts_with("SigPnd:") || line.starts_with("ShdPnd:")) {
      if ((std::strtoull(line.c_str() + 7, nullptr, 16) & kKill) != 0) {
        return true;
      }
    }
  }
  return false;
}

std::optional<int> Child::Reap() {
  int status = 0;
  pid_t done;
  do {
    done = waitpid(pid_, &status, WNOHANG);
  } while (done < 0 && errno == EINTR);
  if (done == 0) return std::nullopt;
  if (done < 0) {
    // Not our child: it is as good as killed once it has ended.
    pollfd end{fd_.get(), POLLIN, 0};
    if (fd_ && poll(&end, 1, 0) == 0) return std::nullopt;
    status = SIGKILL;
  }
  pid_ = -1;
  fd_.reset();
  return status;
}

std::string DescribeEnd(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    int signal = WTERMSIG(wait_status);
    return absl::StrCat("signal ", signal, " (", strsignal(signal), ")");
  }
  return absl::StrCat("exit status ", WEXITSTATUS(wait_status));
}

}  // namespace handlefs

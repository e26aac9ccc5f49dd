#include "worker.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "exec.h"

namespace oracle {

namespace {

struct Message {
  Request request;
  Op op;
};

constexpr int kSocket = 3;
constexpr int kProc = 4;

bool ReadAll(int fd, void* data, size_t n) {
  char* p = static_cast<char*>(data);
  while (n > 0) {
    ssize_t got = read(fd, p, n);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    p += got;
    n -= static_cast<size_t>(got);
  }
  return true;
}

bool WriteAll(int fd, const void* data, size_t n) {
  const char* p = static_cast<const char*>(data);
  while (n > 0) {
    ssize_t put = send(fd, p, n, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    p += put;
    n -= static_cast<size_t>(put);
  }
  return true;
}

void Serve(Exec* exec) {
  Message m;
  Result result;
  std::string packed;
  while (ReadAll(kSocket, &m, sizeof(m))) {
    result.clear();
    switch (m.request) {
      case Request::kRun:
        exec->Run(m.op, &result);
        break;
      case Request::kBefore:
        exec->Before(m.op, &result);
        break;
      case Request::kPeek:
        exec->Peek(m.op, &result);
        break;
      case Request::kWalk:
        exec->Walk(&result);
        break;
      case Request::kSlots:
        exec->Slots(&result);
        break;
      case Request::kReset:
        exec->Reset();
        break;
      case Request::kEmpty:
        exec->Empty(&result);
        break;
      case Request::kSync:
        exec->Sync();
        break;
    }
    Pack(result, &packed);
    packed.insert(0, sizeof(uint32_t), '\0');
    uint32_t n = static_cast<uint32_t>(packed.size() - sizeof(uint32_t));
    memcpy(packed.data(), &n, sizeof(n));
    if (!WriteAll(kSocket, packed.data(), packed.size())) break;
  }
}

[[noreturn]] void Child(int fd, const std::string& dir, int ident,
                        int64_t start_sec, const pid_t* pids) {
  const Identity& who = kIdentity[ident];
  gid_t groups[2] = {who.groups[0], who.groups[1]};
  if (dup2(fd, kSocket) < 0) _exit(3);
  if (close_range(kSocket + 1, ~0U, 0) != 0) _exit(3);
  // Opened before the chroot hides it; the lowest free number is kProc.
  if (open("/proc/self/fd", O_RDONLY | O_DIRECTORY) != kProc) _exit(3);
  signal(SIGPIPE, SIG_IGN);
  if (chdir(dir.c_str()) != 0 || chroot(".") != 0) _exit(3);
  if (setgroups(static_cast<size_t>(who.ngroups), groups) != 0 ||
      setresgid(who.gid, who.gid, who.gid) != 0 ||
      setresuid(who.uid, who.uid, who.uid) != 0) {
    _exit(3);
  }
  // Both are cleared by the change of identity.
  prctl(PR_SET_DUMPABLE, 1);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  umask(022);
  Exec exec(ident, start_sec, kProc, pids);
  Serve(&exec);
  _exit(0);
}

}  // namespace

Worker::~Worker() {
  if (fd_ >= 0) close(fd_);
  if (pid_ <= 0) return;
  for (int i = 0; i < 100; i++) {
    if (waitpid(pid_, nullptr, WNOHANG) != 0) return;
    if (i == 20) kill(pid_, SIGKILL);
    usleep(5000);
  }
  // A worker stuck in an uninterruptible call is left behind.
}

bool Worker::Start(const std::string& dir, int ident, int64_t start_sec,
                   pid_t* pids) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return false;
  pid_ = fork();
  if (pid_ < 0) return false;
  if (pid_ == 0) Child(pair[1], dir, ident, start_sec, pids);
  close(pair[1]);
  fd_ = pair[0];
  pids[ident] = pid_;
  return true;
}

bool Worker::Send(Request request, const Op& op) {
  Message m{request, op};
  return WriteAll(fd_, &m, sizeof(m));
}

Reply Worker::Receive(Result* out) {
  out->clear();
  uint32_t size = 0;
  size_t got = 0, want = sizeof(size);
  buffer_.resize(want);
  bool header = true;
  for (;;) {
    if (got == want) {
      if (!header) break;
      memcpy(&size, buffer_.data(), sizeof(size));
      header = false;
      got = 0;
      want = size;
      buffer_.resize(want);
      continue;
    }
    pollfd p = {fd_, POLLIN, 0};
    int ready = poll(&p, 1, kHangSeconds * 1000);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) return Reply::kHang;
    ssize_t n = read(fd_, buffer_.data() + got, want - got);
    if (n <= 0) return Reply::kDied;
    got += static_cast<size_t>(n);
  }
  return Unpack(buffer_, out) ? Reply::kOk : Reply::kDied;
}

}  // namespace oracle

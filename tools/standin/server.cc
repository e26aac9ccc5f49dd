#include "server.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

namespace handlefs::standin {
namespace {

constexpr int kServerFd = 3;
constexpr int kStopMilliseconds = 20000;
// Two messages of the largest kind. The kernel doubles it.
constexpr int kSocketBuffer = static_cast<int>(Server::kLargest);

void GrowBuffer(int fd) {
  int size = kSocketBuffer;
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0) {
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
  }
}

// Only calls that may be made between fork and exec.
[[noreturn]] void Exec(int fd, char* const* argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (fd == kServerFd) {
    fcntl(fd, F_SETFD, 0);
  } else {
    dup2(fd, kServerFd);
  }
  execvp(argv[0], argv);
  constexpr char kText[] = "handlefs-standin: cannot start the server\n";
  (void)!write(STDERR_FILENO, kText, sizeof(kText) - 1);
  _exit(127);
}

}  // namespace

Server::~Server() { Kill(); }

Status Server::Start() {
  int ends[2];
  RETURN_IF_ERROR(
      Check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)));
  socket_ = UniqueFd(ends[0]);
  UniqueFd theirs(ends[1]);
  GrowBuffer(ends[0]);
  GrowBuffer(ends[1]);
  int size = 0;
  socklen_t len = sizeof(size);
  RETURN_IF_ERROR(
      Check(getsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, &len)));
  // A message is charged with some overhead; half of the room is on the safe
  // side, and two messages go at once.
  data_limit_ =
      std::min<size_t>(static_cast<size_t>(size) / 2, Server::kLargest) - 65536;
  buffer_.resize(kLargest);
  waiting_.clear();
  std::vector<char*> argv;
  for (const std::string& word : command_) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ < 0) return LastErrno();
  if (pid_ == 0) Exec(theirs.get(), argv.data());
  return Ok();
}

int Server::Wait(int milliseconds) {
  for (int waited = 0;; waited += 5) {
    int status = 0;
    pid_t done = waitpid(pid_, &status, WNOHANG);
    if (done == pid_) {
      pid_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    if (done < 0 || waited >= milliseconds) return -1;
    usleep(5000);
  }
}

void Server::Kill() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }
  socket_.reset();
}

int Server::Stop() {
  if (socket_) shutdown(socket_.get(), SHUT_WR);
  // What it still says is for nobody.
  Bytes message;
  int status = -1;
  for (int i = 0; i < kStopMilliseconds / 100 && status < 0; ++i) {
    while (socket_ && Receive(&message) == Read::kMessage) {
    }
    status = Wait(100);
  }
  Kill();
  return status;
}

bool Server::SendOne(const Buffer& message) {
  while (true) {
    ssize_t n = send(socket_.get(), message.data(), message.size(),
                     MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) return true;
    if (errno == EINTR) continue;
    // ENOBUFS: no memory for a large message now. Anything else: the connection
    // has ended; whoever reads it next is told.
    return errno != EAGAIN && errno != ENOBUFS;
  }
}

void Server::Send(Buffer message) {
  if (waiting_.empty() && SendOne(message)) return;
  waiting_.push_back(std::move(message));
}

bool Server::Flush() {
  while (!waiting_.empty()) {
    if (!SendOne(waiting_.front())) return false;
    waiting_.pop_front();
  }
  return true;
}

Server::Read Server::Receive(Bytes* message) {
  while (true) {
    ssize_t n = recv(socket_.get(), buffer_.data(), buffer_.size(),
                     MSG_DONTWAIT | MSG_TRUNC);
    if (n > 0) {
      *message =
          Bytes(buffer_).first(std::min(static_cast<size_t>(n), kLargest));
      return Read::kMessage;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return Read::kNothing;
    return Read::kEnd;
  }
}

}  // namespace handlefs::standin

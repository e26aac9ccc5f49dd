#include "daemon/control/socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace handlefs {
namespace {
constexpr size_t kLongest = 4096;
}  // namespace

std::string ControlPath(std::string_view mount_point) {
  std::string name;
  for (char c : mount_point.substr(mount_point.starts_with('/') ? 1 : 0)) {
    if (c == '/') {
      name += '-';
    } else if (c == '-' || c == '\\') {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\x%02x", c);
      name += escaped;
    } else {
      name += c;
    }
  }
  if (name.empty()) name.push_back('-');
  return absl::StrCat(kControlDirectory, "/", name, ".sock");
}

absl::StatusOr<UniqueFd> ListenAt(const std::string& path) {
  auto fail = [&](std::string_view step) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("no control socket: cannot ", std::string(step),
                            " ", path));
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // It gets its name when it is listened at: until then it would look like one
  // that was left behind (daemon/control/stale_sockets.h).
  const std::string unnamed =
      absl::StrCat(path.substr(0, path.rfind('/') + 1), ".", getpid(), "-new");
  if (std::max(path.size(), unnamed.size()) >= sizeof(address.sun_path)) {
    errno = ENAMETOOLONG;
    return fail("make");
  }
  if (mkdir(kControlDirectory, 0700) != 0 && errno != EEXIST) {
    return fail("make the directory of");
  }
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail("make");
  unnamed.copy(address.sun_path, unnamed.size());
  unlink(unnamed.c_str());
  mode_t old = umask(0177);
  int bound =
      bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  umask(old);
  if (bound != 0) return fail("make");
  if (listen(fd.get(), 16) != 0 || rename(unnamed.c_str(), path.c_str()) != 0) {
    absl::Status failed = fail("listen at");
    unlink(unnamed.c_str());
    return failed;
  }
  return fd;
}

ControlName ControlName::At(std::string path) {
  ControlName name;
  struct stat st;
  if (lstat(path.c_str(), &st) != 0) return name;
  name.path_ = std::move(path);
  name.device_ = st.st_dev;
  name.inode_ = st.st_ino;
  return name;
}

void ControlName::Remove() {
  struct stat st;
  if (!path_.empty() && lstat(path_.c_str(), &st) == 0 &&
      st.st_dev == device_ && st.st_ino == inode_) {
    unlink(path_.c_str());
  }
  path_.clear();
}

namespace {
// Words are separated by single blanks; a NUL stands for a blank in a word.
std::vector<std::string> WordsOf(const std::string& line) {
  std::vector<std::string> out;
  std::istringstream words(line);
  for (std::string word; std::getline(words, word, ' ');) {
    std::replace(word.begin(), word.end(), '\0', ' ');
    out.push_back(std::move(word));
  }
  return out;
}
}  // namespace

absl::Status ControlPort::Open(BorrowedFd listening) {
  Close();
  UniqueFd events(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLIN, .data = {.fd = listening.get()}};
  if (!events ||
      epoll_ctl(events.get(), EPOLL_CTL_ADD, listening.get(), &event) != 0) {
    return absl::ErrnoToStatus(errno, "cannot watch the control socket");
  }
  events_ = std::move(events);
  listening_ = listening;
  return absl::OkStatus();
}

void ControlPort::Close() {
  clients_.clear();
  events_.reset();
}

void ControlPort::Accept() {
  while (true) {
    UniqueFd fd(accept4(listening_.get(), nullptr, nullptr,
                        SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd.get()}};
    if (epoll_ctl(events_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) {
      continue;
    }
    if (clients_.size() >= kMostClients) {
      (void)epoll_ctl(events_.get(), EPOLL_CTL_DEL, clients_.front().fd.get(),
                      nullptr);
      clients_.pop_front();
    }
    clients_.push_back(
        {.fd = std::move(fd), .line = "", .until = absl::Now() + kPatience});
  }
}

std::vector<ControlRequest> ControlPort::Collect() {
  std::vector<ControlRequest> out;
  if (!events_) return out;
  Accept();
  const absl::Time now = absl::Now();
  for (auto it = clients_.begin(); it != clients_.end();) {
    char part[1024];
    ssize_t n = 1;
    // What is behind the line is nobody's.
    size_t end = std::string::npos;
    while (n > 0 && end == std::string::npos && it->line.size() <= kLongest) {
      n = read(it->fd.get(), part, sizeof(part));
      if (n > 0) it->line.append(part, static_cast<size_t>(n));
      end = it->line.find('\n');
    }
    const bool waits = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (end <= kLongest) {
      (void)epoll_ctl(events_.get(), EPOLL_CTL_DEL, it->fd.get(), nullptr);
      it->line.resize(end);
      out.push_back(
          {.words = WordsOf(it->line), .connection = std::move(it->fd)});
      it = clients_.erase(it);
    } else if (!waits || it->line.size() > kLongest || now >= it->until) {
      // The forked have copies of it: it is not watched any more.
      (void)epoll_ctl(events_.get(), EPOLL_CTL_DEL, it->fd.get(), nullptr);
      it = clients_.erase(it);
    } else {
      ++it;
    }
  }
  return out;
}

nlohmann::ordered_json OkAnswer() { return {{"ok", true}}; }

nlohmann::ordered_json ErrorAnswer(std::string_view why) {
  return {{"ok", false}, {"error", std::string(why)}};
}

void Answer(UniqueFd connection, const nlohmann::ordered_json& answer) {
  if (!connection) return;
  // Names of files need not be UTF-8.
  std::string line =
      answer.dump(-1, ' ', false,
                  nlohmann::ordered_json::error_handler_t::replace) +
      "\n";
  (void)!send(connection.get(), line.data(), line.size(),
              MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace handlefs

#include "daemon/service_manager.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <limits>

#include "absl/strings/str_cat.h"

namespace handlefs {
namespace {

// systemd ignores a message of more than 4096 bytes as a whole.
constexpr size_t kMaxStatus = 2048;
// What the kernel lets pass in one message (SCM_MAX_FD).
constexpr size_t kMaxFds = 253;
constexpr size_t kMaxName = 255;
constexpr const char* kVariable = "NOTIFY_SOCKET";
constexpr int kFirstListened = 3;
constexpr timeval kPatience{.tv_sec = 1, .tv_usec = 0};

// The value of a variable, which is gone from the environment then.
std::optional<std::string> Take(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  std::string taken = value;
  unsetenv(name);
  return taken;
}

template <typename T>
std::optional<T> ParseNumber(const std::string& text) {
  T number{};
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || at != end || text.empty()) return std::nullopt;
  return number;
}

absl::Status Bad(const char* variable, const std::string& value,
                 const char* why) {
  return absl::InvalidArgumentError(
      absl::StrCat(variable, "=", value, ": ", why));
}

absl::StatusOr<std::optional<std::chrono::microseconds>> TakeWatchdog() {
  using std::chrono::microseconds;
  auto period = Take("WATCHDOG_USEC");
  auto pid = Take("WATCHDOG_PID");
  if (!period) return std::nullopt;
  if (pid) {
    auto number = ParseNumber<pid_t>(*pid);
    if (!number || *number <= 0) {
      return Bad("WATCHDOG_PID", *pid, "no process id");
    }
    if (*number != getpid()) return std::nullopt;
  }
  auto number = ParseNumber<int64_t>(*period);
  if (!number || *number <= 0) {
    return Bad("WATCHDOG_USEC", *period, "no number of microseconds");
  }
  return microseconds(*number);
}

// A line of the protocol holds no line end; what it holds is cut between
// characters of UTF-8.
std::string StatusLine(std::string_view text) {
  std::string line = "STATUS=";
  if (text.size() > kMaxStatus) {
    size_t size = kMaxStatus;
    while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80)
      --size;
    text = text.substr(0, size);
  }
  for (char c : text) {
    line += static_cast<unsigned char>(c) < ' ' || c == 0x7f ? ' ' : c;
  }
  return line + "\n";
}

bool IsFdName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return c >= ' ' && c < 0x7f && c != ':'; });
}

std::vector<std::string> Split(const std::string& names) {
  std::vector<std::string> out(1);
  for (char c : names) {
    if (c == ':') {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

}  // namespace

absl::StatusOr<ServiceManager> ServiceManager::FromEnvironment() {
  ServiceManager manager;
  auto path = Take(kVariable);
  auto watchdog = TakeWatchdog();
  if (!path) return manager;
  const std::string& name = *path;
  if (!watchdog.ok()) return watchdog.status();
  manager.watchdog_ = *watchdog;
  manager.path_ = name;

  sockaddr_un& address = manager.address_;
  address.sun_family = AF_UNIX;
  if (name.size() < 2 || (name[0] != '/' && name[0] != '@')) {
    return Bad(kVariable, name,
               "neither an absolute path nor an abstract name ('@...')");
  }
  // A path takes its final zero along, an abstract name begins with one.
  const bool is_abstract = name[0] == '@';
  if (name.size() + (is_abstract ? 0 : 1) > sizeof(address.sun_path)) {
    return Bad(kVariable, name, "too long for the address of a socket");
  }
  std::memcpy(address.sun_path, name.data(), name.size());
  if (is_abstract) address.sun_path[0] = '\0';
  manager.address_size_ = static_cast<socklen_t>(
      offsetof(sockaddr_un, sun_path) + name.size() + (is_abstract ? 0 : 1));

  UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  // Connected, so that it is found from whatever root directory we have later.
  if (!fd ||
      setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience,
                 sizeof(kPatience)) != 0 ||
      connect(fd.get(), reinterpret_cast<sockaddr*>(&address),
              manager.address_size_) != 0) {
    return absl::UnavailableError(
        absl::StrCat(kVariable, "=", *path, ": ", std::strerror(errno)));
  }
  manager.socket_ = std::move(fd);
  return manager;
}

std::vector<std::string> ServiceManager::Environment() const {
  std::vector<std::string> out;
  if (!present()) return out;
  out.push_back(absl::StrCat(kVariable, "=", path_));
  if (watchdog_) {
    out.push_back(absl::StrCat("WATCHDOG_USEC=", watchdog_->count()));
    out.push_back(absl::StrCat("WATCHDOG_PID=", getpid()));
  }
  return out;
}

Status ServiceManager::Send(std::string_view message,
                            std::span<const BorrowedFd> fds, Wait wait) const {
  if (!present()) return Ok();
  iovec iov{const_cast<char*>(message.data()), message.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxFds)> control;
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    control.fill(0);
    header.msg_control = control.data();
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* head = CMSG_FIRSTHDR(&header);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    for (size_t i = 0; i < fds.size(); ++i) {
      int fd = fds[i].get();
      std::memcpy(CMSG_DATA(head) + i * sizeof(int), &fd, sizeof(int));
    }
  }
  const int flags = MSG_NOSIGNAL | (wait == Wait::kNot ? MSG_DONTWAIT : 0);
  auto send = [&]() -> Status {
    while (sendmsg(socket_.get(), &header, flags) < 0) {
      if (errno != EINTR) return LastErrno();
    }
    return Ok();
  };
  Status sent = send();
  if (sent.ok() || (sent.error() != Errno(ECONNREFUSED) &&
                    sent.error() != Errno(ENOTCONN))) {
    return sent;
  }
  // The manager has a new socket under the old name.
  if (connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address_),
              address_size_) != 0) {
    return LastErrno();
  }
  return send();
}

Status ServiceManager::Ready(std::string_view status) const {
  std::string message = "READY=1\n";
  if (!status.empty()) message += StatusLine(status);
  return Send(message, {}, Wait::kSome);
}

Status ServiceManager::Say(std::string_view status) const {
  return Send(StatusLine(status), {}, Wait::kSome);
}

Status ServiceManager::Reloading() const {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t usec = int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1'000;
  return Send(absl::StrCat("RELOADING=1\nMONOTONIC_USEC=", usec, "\n"), {},
              Wait::kSome);
}

Status ServiceManager::Stopping(std::string_view status) const {
  return Send("STOPPING=1\n" + StatusLine(status), {}, Wait::kSome);
}

Status ServiceManager::MainPid(pid_t pid) const {
  if (pid <= 0) return Errno(EINVAL);
  return Send(absl::StrCat("MAINPID=", pid, "\n"), {}, Wait::kSome);
}

Status ServiceManager::FeedWatchdog() const {
  return Send("WATCHDOG=1\n", {}, Wait::kNot);
}

Status ServiceManager::StoreFds(std::string_view name,
                                std::span<const BorrowedFd> fds,
                                OnHangup on_hangup) const {
  if (!IsFdName(name)) return Errno(EINVAL);
  std::string message = "FDSTORE=1\nFDNAME=";
  message += name;
  message += on_hangup == OnHangup::kKeep ? "\nFDPOLL=0\n" : "\n";
  while (!fds.empty()) {
    auto part = fds.first(std::min(fds.size(), kMaxFds));
    RETURN_IF_ERROR(Send(message, part, Wait::kSome));
    fds = fds.subspan(part.size());
  }
  return Ok();
}

Status ServiceManager::RemoveFds(std::string_view name) const {
  if (!IsFdName(name)) return Errno(EINVAL);
  std::string message = "FDSTOREREMOVE=1\nFDNAME=";
  message += name;
  message += "\n";
  return Send(message, {}, Wait::kSome);
}

Status ServiceManager::Barrier(std::chrono::milliseconds timeout) const {
  using std::chrono::steady_clock;
  if (!present()) return Ok();
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return LastErrno();
  UniqueFd mine(ends[0]), theirs(ends[1]);
  const BorrowedFd sent[] = {theirs};
  RETURN_IF_ERROR(Send("BARRIER=1", sent, Wait::kSome));
  theirs.reset();
  // The manager closes its end when it comes to the message.
  const auto end = steady_clock::now() + timeout;
  while (true) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - steady_clock::now());
    int wait = static_cast<int>(
        std::clamp<int64_t>(left.count(), 0, std::numeric_limits<int>::max()));
    pollfd hangup{mine.get(), 0, 0};
    int n = poll(&hangup, 1, wait);
    if (n > 0) return Ok();
    if (n == 0) return Errno(ETIMEDOUT);
    if (errno != EINTR) return LastErrno();
  }
}

absl::StatusOr<std::vector<NamedFd>> TakeListenedFds() {
  auto count = Take("LISTEN_FDS");
  auto pid = Take("LISTEN_PID");
  auto names = Take("LISTEN_FDNAMES");
  std::vector<NamedFd> out;
  if (!count || !pid) return out;
  auto owner = ParseNumber<pid_t>(*pid);
  if (!owner || *owner <= 0) return Bad("LISTEN_PID", *pid, "no process id");
  if (*owner != getpid()) return out;
  auto number = ParseNumber<int>(*count);
  if (!number || *number < 0 ||
      *number > std::numeric_limits<int>::max() - kFirstListened) {
    return Bad("LISTEN_FDS", *count, "no number of descriptors");
  }
  if (*number == 0) return out;
  std::vector<std::string> list;
  if (names) {
    list = Split(*names);
    if (list.size() != static_cast<size_t>(*number)) {
      return Bad("LISTEN_FDNAMES", *names,
                 "not as many names as LISTEN_FDS says");
    }
  }
  for (int i = 0; i < *number; ++i) {
    if (fcntl(kFirstListened + i, F_GETFD) < 0) {
      return Bad("LISTEN_FDS", *count, "one of the descriptors is not open");
    }
  }
  for (int i = 0; i < *number; ++i) {
    int fd = kFirstListened + i;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    out.push_back({list.empty() ? "unknown" : list[static_cast<size_t>(i)],
                   UniqueFd(fd)});
  }
  return out;
}

}  // namespace handlefs

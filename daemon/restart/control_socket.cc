#include "daemon/restart/control_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace handlefs {
namespace {
// A command that is not there by then is none: nobody else is heard meanwhile.
constexpr absl::Duration kPatience = absl::Seconds(1);
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
  if (path.size() >= sizeof(address.sun_path)) {
    errno = ENAMETOOLONG;
    return fail("make");
  }
  if (mkdir(kControlDirectory, 0700) != 0 && errno != EEXIST) {
    return fail("make the directory of");
  }
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail("make");
  // It gets its name when it is listened at: until then it would look like one
  // that was left behind (daemon/control/stale_sockets.h).
  const std::string unnamed =
      absl::StrCat(kControlDirectory, "/.", getpid(), "-new");
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

Result<ControlRequest> AcceptControl(BorrowedFd listening) {
  ControlRequest out;
  out.connection = UniqueFd(
      accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!out.connection) return Errno(EAGAIN);
  std::string line;
  const absl::Time end = absl::Now() + kPatience;
  while (line.find('\n') == std::string::npos) {
    pollfd in{out.connection.get(), POLLIN, 0};
    char part[512];
    auto left = static_cast<int>(absl::ToInt64Milliseconds(end - absl::Now()));
    if (left <= 0 || poll(&in, 1, left) <= 0) return Errno(EAGAIN);
    ssize_t n = read(out.connection.get(), part, sizeof(part));
    if (n <= 0 || line.size() > kLongest) return Errno(EAGAIN);
    line.append(part, static_cast<size_t>(n));
  }
  // Words are separated by single blanks; a NUL stands for a blank in a word.
  line.resize(line.find('\n'));
  std::istringstream words(line);
  for (std::string word; std::getline(words, word, ' ');) {
    for (char& c : word) {
      if (c == '\0') c = ' ';
    }
    out.words.push_back(std::move(word));
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

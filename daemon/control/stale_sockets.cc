#include "daemon/control/stale_sockets.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "io/base/fd.h"

namespace handlefs {
namespace {

// A new one may have the number of an old one.
bool SameSocket(const struct stat& a, const struct stat& b) {
  return S_ISSOCK(b.st_mode) && a.st_dev == b.st_dev && a.st_ino == b.st_ino &&
         a.st_ctim.tv_sec == b.st_ctim.tv_sec &&
         a.st_ctim.tv_nsec == b.st_ctim.tv_nsec;
}

bool NobodyListens(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return false;
  path.copy(address.sun_path, path.size());
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return fd &&
         connect(fd.get(), reinterpret_cast<sockaddr*>(&address),
                 sizeof(address)) != 0 &&
         errno == ECONNREFUSED;
}

}  // namespace

void RemoveStaleSockets(const std::string& directory) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()),
                                          &closedir);
  if (dir == nullptr) return;
  const int at = dirfd(dir.get());
  std::vector<std::string> names;
  while (dirent* entry = readdir(dir.get())) {
    std::string_view name(entry->d_name);
    if (name.ends_with(".sock")) names.emplace_back(name);
  }
  for (const std::string& name : names) {
    struct stat before, after;
    if (fstatat(at, name.c_str(), &before, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISSOCK(before.st_mode) ||
        !NobodyListens(absl::StrCat(directory, "/", name))) {
      continue;
    }
    if (fstatat(at, name.c_str(), &after, AT_SYMLINK_NOFOLLOW) == 0 &&
        SameSocket(before, after)) {
      unlinkat(at, name.c_str(), 0);
    }
  }
}

}  // namespace handlefs

#include "scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "io/base/fd.h"

namespace handlefs::bench {
namespace {

constexpr char kTemplate[] = "/handlefs-bench.XXXXXX";

// Empties a directory; entries on another device are mounts and stay.
bool EmptyDirectory(UniqueFd fd, dev_t device) {
  DIR* dir = fdopendir(fd.get());
  if (dir == nullptr) return false;
  (void)fd.release();
  bool all = true;
  while (dirent* entry = readdir(dir)) {
    const char* name = entry->d_name;
    if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) continue;
    if (unlinkat(dirfd(dir), name, 0) == 0) continue;
    if (errno != EISDIR && errno != EPERM) {
      all = false;
      continue;
    }
    UniqueFd below(openat(dirfd(dir), name,
                          O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat st;
    if (!below || fstat(below.get(), &st) != 0 || st.st_dev != device ||
        !EmptyDirectory(std::move(below), device) ||
        unlinkat(dirfd(dir), name, AT_REMOVEDIR) != 0) {
      all = false;
    }
  }
  closedir(dir);
  return all;
}

std::string Because(const std::string& what) {
  return what + ": " + std::strerror(errno);
}

}  // namespace

bool RemoveTree(const std::string& path) {
  UniqueFd fd(
      open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st, parent;
  if (!fd) return errno == ENOENT;
  // A mount is not ours to empty.
  if (fstat(fd.get(), &st) != 0 || fstatat(fd.get(), "..", &parent, 0) != 0 ||
      st.st_dev != parent.st_dev) {
    return false;
  }
  return EmptyDirectory(std::move(fd), st.st_dev) && rmdir(path.c_str()) == 0;
}

std::optional<std::string> EnterNamespace() {
  if (unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return Because("start: no mount namespace of its own") +
           ": run it as root, in a container with CAP_SYS_ADMIN";
  }
  return std::nullopt;
}

Scratch::~Scratch() {
  if (top_.empty()) return;
  if (base_.empty()) {
    RemoveTree(top_);
    return;
  }
  umount2(base_.c_str(), MNT_DETACH);
  rmdir(base_.c_str());
}

std::optional<std::string> Scratch::Make(const std::string& source) {
  const char* tmp = std::getenv("TMPDIR");
  std::string below = !source.empty()  ? source
                      : tmp != nullptr ? std::string(tmp)
                                       : std::string("/tmp");
  char real[PATH_MAX];
  if (realpath(below.c_str(), real) == nullptr) {
    return Because("source: " + below) + ": give a directory that exists";
  }
  std::string path = std::string(real) + kTemplate;
  if (mkdtemp(path.data()) == nullptr) {
    return Because("source: no directory can be made in " + below) +
           ": give one that can be written to";
  }
  top_ = path;
  if (source.empty()) {
    if (::mount("handlefs-bench", path.c_str(), "tmpfs", 0, "mode=755") != 0) {
      std::string why = Because("source: no tmpfs") + ": give --source DIR";
      rmdir(path.c_str());
      top_.clear();
      return why;
    }
    base_ = path;
  }
  chmod(path.c_str(), 0755);
  for (const std::string& dir : {this->source(), mount(), side()}) {
    if (mkdir(dir.c_str(), 0755) != 0) return Because("source: mkdir " + dir);
  }
  return std::nullopt;
}

std::optional<std::string> Scratch::Renew() const {
  for (const std::string& dir :
       {source() + "/cell", side() + "/lower", side() + "/work"}) {
    if (!RemoveTree(dir) || mkdir(dir.c_str(), 0755) != 0) {
      return Because("source: cannot empty " + dir);
    }
  }
  return std::nullopt;
}

}  // namespace handlefs::bench

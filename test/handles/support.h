// What several of the tests need: random numbers with a fixed seed, a folder,
// and counts of what must not leak.
#ifndef HANDLEFS_TEST_HANDLES_SUPPORT_H_
#define HANDLEFS_TEST_HANDLES_SUPPORT_H_

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

#include "io/base/fd.h"
#include "proto/base/errno.h"
#include "proto/base/ids.h"

namespace handlefs::test {

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t Next() { return engine_(); }
  uint64_t Below(uint64_t n) { return engine_() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

 private:
  std::mt19937_64 engine_;
};

// 0, or the error of a Result.
template <typename T>
int ErrorOf(const Result<T>& result) {
  return result.ok() ? 0 : result.error().value();
}

// Descriptors open in this process.
inline size_t CountFds() {
  size_t n = 0;
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return 0;
  while (readdir(dir) != nullptr) ++n;
  closedir(dir);
  return n;
}

class TempDir {
 public:
  TempDir() {
    const char* top = std::getenv("TMPDIR");
    path_ = std::string(top != nullptr ? top : "/tmp") + "/handles.XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

inline UniqueFd OpenAt(const std::string& path, int flags) {
  return UniqueFd(open(path.c_str(), flags | O_CLOEXEC, 0644));
}

struct FileNumbers {
  uint64_t dev = 0;
  uint64_t ino = 0;
  int64_t birth = 0;
  uint16_t mode = 0;
  uint32_t nlink = 0;
  // The same inode; the link count may change.
  friend bool operator==(const FileNumbers& a, const FileNumbers& b) {
    return a.dev == b.dev && a.ino == b.ino && a.birth == b.birth &&
           a.mode == b.mode;
  }
};

// All zero if there is no such file. "" is `dir` itself.
inline FileNumbers NumbersAt(int dir, const char* name) {
  struct statx stx;
  if (statx(dir, name,
            AT_SYMLINK_NOFOLLOW | (*name == '\0' ? AT_EMPTY_PATH : 0),
            STATX_BASIC_STATS | STATX_BTIME, &stx) != 0) {
    return {};
  }
  return {.dev = uint64_t{stx.stx_dev_major} << 32 | stx.stx_dev_minor,
          .ino = stx.stx_ino,
          .birth = stx.stx_btime.tv_sec * 1000000000 + stx.stx_btime.tv_nsec,
          .mode = static_cast<uint16_t>(stx.stx_mode & S_IFMT),
          .nlink = stx.stx_nlink};
}
inline FileNumbers NumbersOf(BorrowedFd fd) { return NumbersAt(fd.get(), ""); }
inline FileNumbers NumbersOf(const std::string& path) {
  return NumbersAt(AT_FDCWD, path.c_str());
}

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_HANDLES_SUPPORT_H_

// What a side looks like: objects of one step, and the whole tree.
#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "exec.h"

namespace oracle {

namespace {

struct LinuxDirent64 {
  uint64_t ino;
  int64_t off;
  uint16_t reclen;
  uint8_t type;
  char name[1];
};

Path Parent(const Path& p) {
  Path up = p;
  up.slash = 0;
  up.n--;
  up.comp[up.n] = 0;
  return up;
}

void ClearFlags(int fd) {
  constexpr int kSettable =
      FS_NOATIME_FL | FS_NODUMP_FL | FS_APPEND_FL | FS_IMMUTABLE_FL;
  int flags = 0;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0 || !(flags & kSettable)) return;
  flags &= ~kSettable;
  ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

}  // namespace

std::string Exec::TimeText(const struct statx_timestamp& t) const {
  int64_t now = time(nullptr);
  if (t.tv_sec >= start_sec_ - 5 && t.tv_sec <= now + 5) return "recent";
  char text[64];
  snprintf(text, sizeof(text), "%" PRId64 ".%09u",
           static_cast<int64_t>(t.tv_sec), t.tv_nsec);
  return text;
}

void Exec::PutRaw(const std::string& label, const struct statx& stx) {
  RawTimes raw = {};
  raw.ino = stx.stx_ino;
  raw.mode = stx.stx_mode;
  raw.attributes = stx.stx_attributes;
  const statx_timestamp* t[4] = {&stx.stx_atime, &stx.stx_mtime, &stx.stx_ctime,
                                 &stx.stx_btime};
  for (int i = 0; i < 4; i++) {
    raw.t[i][0] = t[i]->tv_sec;
    raw.t[i][1] = t[i]->tv_nsec;
  }
  if ((stx.stx_mask & STATX_BTIME) == 0) raw.t[3][0] = raw.t[3][1] = 0;
  out_->push_back(
      {Tag::kRaw, label, 0,
       std::string(reinterpret_cast<const char*>(&raw), sizeof(raw))});
}

void Exec::PutStatFields(const std::string& label, const struct statx& stx) {
  auto put = [&](Tag tag, uint64_t v) {
    out_->push_back({tag, label, static_cast<int64_t>(v), {}});
  };
  put(Tag::kMode, stx.stx_mode);
  put(Tag::kNlink, stx.stx_nlink);
  put(Tag::kUid, stx.stx_uid);
  put(Tag::kGid, stx.stx_gid);
  put(S_ISDIR(stx.stx_mode) ? Tag::kDirSize : Tag::kSize, stx.stx_size);
  put(Tag::kRdev, (uint64_t{stx.stx_rdev_major} << 32) | stx.stx_rdev_minor);
  put(Tag::kBlksize, stx.stx_blksize);
  if (S_ISREG(stx.stx_mode)) put(Tag::kBlocks, stx.stx_blocks);
  put(Tag::kIno, stx.stx_ino);
  struct statx root;
  if (root_dev_[0] == 0 && root_dev_[1] == 0 &&
      statx(AT_FDCWD, "/", 0, STATX_INO, &root) == 0) {
    root_dev_[0] = root.stx_dev_major;
    root_dev_[1] = root.stx_dev_minor;
  }
  put(Tag::kDev,
      stx.stx_dev_major == root_dev_[0] && stx.stx_dev_minor == root_dev_[1]);
  out_->push_back({Tag::kAtime, label, 0, TimeText(stx.stx_atime)});
  out_->push_back({Tag::kMtime, label, 0, TimeText(stx.stx_mtime)});
  out_->push_back({Tag::kCtime, label, 0, TimeText(stx.stx_ctime)});
}

bool Exec::PutStat(const std::string& label, int dirfd, const std::string& path,
                   int flags, struct statx* stx) {
  int ret = statx(dirfd, path.c_str(), flags | AT_SYMLINK_NOFOLLOW,
                  STATX_BASIC_STATS, stx);
  if (ret != 0) {
    out_->push_back({Tag::kStatErr, label, Err(ret), {}});
    return false;
  }
  PutStatFields(label, *stx);
  return true;
}

std::vector<Exec::Object> Exec::Objects(const Op& op) const {
  std::vector<Object> list;
  auto add = [&](const char* name, const Path& p) {
    if (p.IsFd()) {
      list.push_back({"@" + std::to_string(p.slot), DirFd(p), {}});
      return;
    }
    if (p.n > 0) {
      Path up = Parent(p);
      std::string s = PathBytes(up);
      if (up.n == 0 && up.base == Base::kCwd) s = ".";
      list.push_back({std::string(name) + "'s parent", DirFd(up), s});
    }
    if (p.n > 0 || p.base == Base::kAbs) {
      list.push_back({name, DirFd(p), PathBytes(p)});
    }
  };
  if (UsesPath(op.kind)) add("p", op.p);
  if (UsesSecondPath(op.kind)) add("q", op.q);
  Path fd;
  fd.base = Base::kSlot;
  fd.slot = op.slot;
  if (UsesSlot(op.kind)) add("", fd);
  fd.slot = op.slot2;
  if (UsesSecondSlot(op.kind) && op.slot2 != op.slot) add("", fd);
  return list;
}

void Exec::Before(const Op& op, Result* out) {
  out_ = out;
  for (const Object& o : Objects(op)) {
    struct statx stx;
    if (statx(o.dirfd, o.path.c_str(), AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH,
              STATX_BASIC_STATS | STATX_BTIME, &stx) == 0) {
      PutRaw(o.label, stx);
    }
  }
}

void Exec::Peek(const Op& op, Result* out) {
  out_ = out;
  std::vector<Object> list = Objects(op);
  if (op.kind == Kind::kOpen) {
    list.push_back({"@" + std::to_string(op.slot), Fd(op.slot), {}});
  }
  // Following a link moves its atime, so only what the step itself followed.
  const bool follow = (op.flags & kNoFollow) == 0 &&
                      (op.kind == Kind::kTruncate || op.kind == Kind::kStat ||
                       op.kind == Kind::kStatx ||
                       (op.kind >= Kind::kChmod && op.kind <= Kind::kAccess));
  for (const Object& o : list) {
    for (int flags : {AT_SYMLINK_NOFOLLOW, 0}) {
      struct statx stx;
      if ((flags != 0 || follow) &&
          statx(o.dirfd, o.path.c_str(), flags | AT_EMPTY_PATH,
                STATX_BASIC_STATS | STATX_BTIME, &stx) == 0) {
        PutRaw(flags == 0 ? o.label + "/" : o.label, stx);
      }
    }
  }
}

void Exec::Observe(const Op& op) {
  if ((op.obs & kObsTimes) != 0) Before(op, out_);
  if ((op.obs & kObsStat) != 0) {
    struct statx stx;
    for (const Object& o : Objects(op)) {
      PutStat(o.label, o.dirfd, o.path, AT_EMPTY_PATH, &stx);
    }
  }
  if (!UsesPath(op.kind) || op.p.n == 0) return;
  if ((op.obs & kObsXattr) != 0 && op.p.base != Base::kSlot) {
    PutXattrs("p", PathBytes(op.p));
  }
  if ((op.obs & kObsList) != 0) {
    Path up = Parent(op.p);
    std::string s = up.n == 0 ? "." : PathBytes(up);
    if (up.n == 0 && up.base == Base::kAbs) s = "/";
    int fd = openat(DirFd(up), s.c_str(),
                    O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    std::vector<DirEntry> entries;
    int ret = fd < 0 ? static_cast<int>(Err(fd)) : ReadDir(fd, 65536, &entries);
    if (fd >= 0) close(fd);
    out_->push_back({Tag::kNames, "p's parent", ret, ListText(entries)});
  }
}

int Exec::ReadDir(int fd, size_t size, std::vector<DirEntry>* out) {
  for (;;) {
    int64_t n = Err(syscall(SYS_getdents64, fd, buffer_, size));
    if (n < 0) return static_cast<int>(n);
    if (n == 0) break;
    for (int64_t at = 0; at < n;) {
      const auto* e = reinterpret_cast<LinuxDirent64*>(buffer_ + at);
      out->push_back({e->name, e->type, e->ino});
      at += e->reclen;
    }
  }
  std::sort(out->begin(), out->end(), [](const DirEntry& a, const DirEntry& b) {
    return a.name < b.name;
  });
  return static_cast<int>(out->size());
}

std::string Exec::ListText(const std::vector<DirEntry>& entries) {
  std::string s;
  for (const DirEntry& e : entries) {
    s += e.name + ":" + std::to_string(e.type) + " ";
  }
  return s;
}

void Exec::WalkFile(int dirfd, const std::string& name,
                    const std::string& label, uint64_t size) {
  int fd = openat(dirfd, name.c_str(),
                  O_RDONLY | O_NOATIME | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) {
    out_->push_back({Tag::kHash, label, Err(fd), {}});
    return;
  }
  // A sparse file of exabytes is judged by its first megabyte.
  uint64_t end = size > (64 << 20) ? kMaxIo : size;
  uint64_t hash = 1, at = 0;
  int64_t n;
  std::string text;
  while ((n = Err(pread(fd, buffer_, kMaxIo, static_cast<off_t>(at)))) > 0) {
    if (at == 0) text = DataText(buffer_, static_cast<size_t>(n));
    hash = Hash(buffer_, static_cast<size_t>(n), hash);
    at += static_cast<uint64_t>(n);
    if (at >= end) break;
  }
  close(fd);
  out_->push_back({Tag::kHash, label, n < 0 ? n : static_cast<int64_t>(hash),
                   n < 0 ? "" : text + " of " + std::to_string(at)});
}

void Exec::WalkDir(int fd, const std::string& path) {
  std::vector<DirEntry> entries;
  int ret = ReadDir(fd, 65536, &entries);
  out_->push_back({Tag::kNames, path, ret, ListText(entries)});
  for (const DirEntry& e : entries) {
    if (e.name == "." || e.name == "..") continue;
    std::string label = path == "/" ? "/" + e.name : path + "/" + e.name;
    struct statx stx;
    if (!PutStat(label, fd, e.name, 0, &stx)) continue;
    out_->push_back({Tag::kDino, label, e.ino == stx.stx_ino, {}});
    if (label.size() < 4096) PutXattrs(label, label);
    if (S_ISREG(stx.stx_mode)) WalkFile(fd, e.name, label, stx.stx_size);
    if (S_ISLNK(stx.stx_mode)) {
      int64_t n = Err(readlinkat(fd, e.name.c_str(), buffer_, 8192));
      std::string target(buffer_, n > 0 ? static_cast<size_t>(n) : 0);
      out_->push_back({Tag::kTarget, label, n, target});
    }
    if (S_ISDIR(stx.stx_mode)) {
      int sub =
          openat(fd, e.name.c_str(),
                 O_RDONLY | O_DIRECTORY | O_NOATIME | O_NOFOLLOW | O_CLOEXEC);
      if (sub < 0) {
        out_->push_back({Tag::kNames, label, Err(sub), {}});
        continue;
      }
      WalkDir(sub, label);
      close(sub);
    }
  }
}

void Exec::Walk(Result* out) {
  out_ = out;
  struct statx stx;
  PutStat("/", AT_FDCWD, "/", 0, &stx);
  PutXattrs("/", "/");
  int fd = open("/", O_RDONLY | O_DIRECTORY | O_NOATIME | O_CLOEXEC);
  if (fd < 0) {
    out_->push_back({Tag::kNames, "/", Err(fd), {}});
    return;
  }
  WalkDir(fd, "/");
  close(fd);
}

void Exec::Slots(Result* out) {
  out_ = out;
  for (int i = 0; i < kSlots; i++) {
    if (slots_[i].fd < 0) continue;
    struct statx stx;
    PutStat(std::string(kIdentity[ident_].name) + "@" + std::to_string(i),
            slots_[i].fd, "", AT_EMPTY_PATH, &stx);
  }
}

// Default metadata for the root, which outlives a seed.
bool Exec::ResetRoot() {
  int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  ClearFlags(fd);
  ssize_t n = flistxattr(fd, buffer_, kMaxIo);
  std::string list(buffer_, n > 0 ? static_cast<size_t>(n) : 0);
  for (size_t at = 0; at < list.size(); at += strlen(list.c_str() + at) + 1) {
    fremovexattr(fd, list.c_str() + at);
  }
  bool ok = fchown(fd, 0, 0) == 0 && fchmod(fd, 0777) == 0;
  futimens(fd, nullptr);
  close(fd);
  return ok;
}

void Exec::Reset() {
  // The other identities need the root to be searchable for their chdir.
  if (ident_ == 0) ResetRoot();
  for (int i = 0; i < kSlots; i++) CloseSlot(i);
  umask(022);
  if (chdir("/") != 0) _exit(3);
  root_dev_[0] = root_dev_[1] = 0;
}

void Exec::Sync() {
  int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  syncfs(fd);
  close(fd);
}

bool Exec::EmptyDir(int fd, std::string* why) {
  std::vector<DirEntry> entries;
  int ret = ReadDir(fd, 65536, &entries);
  if (ret < 0) {
    *why = "readdir " + ErrnoText(ret);
    return false;
  }
  ClearFlags(fd);
  bool ok = true;
  for (const DirEntry& e : entries) {
    if (e.name == "." || e.name == "..") continue;
    const char* name = e.name.c_str();
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
      int sub = openat(fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
      if (sub >= 0 && S_ISREG(st.st_mode)) ClearFlags(sub);
      if (sub >= 0 && S_ISDIR(st.st_mode)) ok = EmptyDir(sub, why) && ok;
      if (sub >= 0) close(sub);
    }
    int gone = unlinkat(fd, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
    if (gone != 0 && errno != ENOENT) {
      *why = "unlink " + e.name + " " + ErrnoText(-errno);
      ok = false;
    }
  }
  return ok;
}

void Exec::Empty(Result* out) {
  out_ = out;
  int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Ret(Err(fd));
  std::string why;
  bool ok = false;
  // A server may take a while to forget a removed file which was open.
  for (int i = 0; i < 200 && !ok; i++) {
    if (i > 0) usleep(10000);
    why.clear();
    std::vector<DirEntry> left;
    lseek(fd, 0, SEEK_SET);
    ok = EmptyDir(fd, &why);
    lseek(fd, 0, SEEK_SET);
    if (ok) ok = ReadDir(fd, 65536, &left) == 2;
    if (!ok && why.empty()) why = "entries left";
  }
  close(fd);
  if (!ResetRoot()) why += " metadata of the root";
  out_->push_back({Tag::kWorker, "", ok ? 0 : -EIO, why});
}

}  // namespace oracle

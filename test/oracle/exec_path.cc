// Steps on names and metadata; path and descriptor forms share one step.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "exec.h"

namespace oracle {

namespace {

constexpr long kSysFaccessat2 = 439;
constexpr long kSysFchmodat2 = 452;

const uint32_t kOwners[] = {
    0, 1001, 1002, 1003, 2001, 2002, static_cast<uint32_t>(-1)};

// All but NOW and OMIT lie far from the time of the run, so that an
// observation can tell an explicit time stamp from one the kernel made.
const timespec kTimes[] = {
    {0, UTIME_NOW},  {0, UTIME_OMIT},          {0, 0},
    {1000000000, 1}, {315532800, 123456789},   {4102444800, 999999999},
    {-5, 500000000}, {1234567890, 1000000000},
};

const unsigned kDevices[][2] = {{1, 3}, {1, 5}, {0, 0}, {241, 70000}};

}  // namespace

Exec::Exec(int ident, int64_t start_sec, int proc_fd, const pid_t* pids)
    : ident_(ident), start_sec_(start_sec), proc_fd_(proc_fd), pids_(pids) {
  buffer_ = static_cast<char*>(mmap(nullptr, kMaxIo, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (buffer_ == MAP_FAILED) abort();
}

int Exec::DirFd(const Path& p) const {
  return p.base == Base::kSlot ? slots_[p.slot].fd : AT_FDCWD;
}

void Exec::CloseSlot(int slot) {
  if (slots_[slot].fd >= 0) close(slots_[slot].fd);
  slots_[slot] = Slot();
}

void Exec::Ret(int64_t ret) { Put(Tag::kRet, ret); }

void Exec::Put(Tag tag, int64_t num, std::string text) {
  out_->push_back({tag, std::string(), num, std::move(text)});
}

void Exec::Run(const Op& op, Result* out) {
  out_ = out;
  Dispatch(op);
  if (op.obs != 0) Observe(op);
}

void Exec::Dispatch(const Op& op) {
  const std::string p = PathBytes(op.p), q = PathBytes(op.q);
  const int pd = DirFd(op.p), qd = DirFd(op.q);
  const int fd = Fd(op.slot);
  const bool variant = (op.flags & kVariant) != 0;
  switch (op.kind) {
    case Kind::kOpen:
      return Open(op);
    case Kind::kReopen:
      return Reopen(op);
    case Kind::kClose: {
      int ret = close(fd);
      slots_[op.slot] = Slot();
      return Ret(Err(ret));
    }
    case Kind::kRead:
    case Kind::kPread:
    case Kind::kReadv:
    case Kind::kWrite:
    case Kind::kPwrite:
    case Kind::kWritev:
      return ReadWrite(op);
    case Kind::kLseek:
      return Lseek(op);
    case Kind::kTruncate:
      return Ret(Err(op.p.IsFd() ? ftruncate(pd, op.off)
                                 : truncate(p.c_str(), op.off)));
    case Kind::kFallocate:
      return Ret(Err(fallocate(fd, static_cast<int>(op.flags), op.off, op.n)));
    case Kind::kMmap:
      return Mmap(op);
    case Kind::kCopyRange:
      return CopyRange(op);
    case Kind::kSendfile:
      return Sendfile(op);
    case Kind::kFsync:
      return Ret(Err(variant ? fdatasync(fd) : fsync(fd)));
    case Kind::kStat:
    case Kind::kStatx:
      return Stat(op);
    case Kind::kMkdir:
      return Ret(Err(mkdirat(pd, p.c_str(), op.mode)));
    case Kind::kRmdir:
      return Ret(Err(unlinkat(pd, p.c_str(), AT_REMOVEDIR)));
    case Kind::kMknod: {
      const unsigned* d = kDevices[op.val % 4];
      return Ret(Err(mknodat(pd, p.c_str(), op.mode, makedev(d[0], d[1]))));
    }
    case Kind::kSymlink:
      return Ret(Err(symlinkat(q.c_str(), pd, p.c_str())));
    case Kind::kReadlink:
      return Readlink(op);
    case Kind::kLink:
      return Ret(Err(linkat(pd, p.c_str(), qd, q.c_str(),
                            variant ? AT_SYMLINK_FOLLOW : 0)));
    case Kind::kLinkProc:
      return Ret(Err(linkat(proc_fd_, std::to_string(fd).c_str(), qd, q.c_str(),
                            AT_SYMLINK_FOLLOW)));
    case Kind::kLinkEmpty:
      return Ret(Err(linkat(fd, "", qd, q.c_str(), AT_EMPTY_PATH)));
    case Kind::kUnlink:
      return Ret(Err(unlinkat(pd, p.c_str(), 0)));
    case Kind::kRename:
      return Ret(Err(renameat2(pd, p.c_str(), qd, q.c_str(), op.flags)));
    case Kind::kChmod:
    case Kind::kChmod2:
      return Chmod(op);
    case Kind::kChown:
      return Chown(op);
    case Kind::kUtimens:
      return Utimens(op);
    case Kind::kSetxattr:
      return Setxattr(op);
    case Kind::kGetxattr:
      return Getxattr(op);
    case Kind::kListxattr:
      return Listxattr(op);
    case Kind::kRmxattr:
      return Rmxattr(op);
    case Kind::kAccess:
      return Access(op);
    case Kind::kChdir:
      return Ret(Err(op.p.IsFd() ? fchdir(pd) : chdir(p.c_str())));
    case Kind::kGetcwd: {
      int64_t ret = Err(syscall(SYS_getcwd, buffer_, 8192));
      Ret(ret);
      if (ret > 0) Put(Tag::kTarget, 0, buffer_);
      return;
    }
    case Kind::kListdir:
      return Listdir(op);
    case Kind::kLock:
      return Lock(op);
    case Kind::kFlock:
      return Ret(Err(flock(fd, static_cast<int>(op.flags) | LOCK_NB)));
    case Kind::kSetfl:
      return Setfl(op);
    case Kind::kGetflags:
    case Kind::kSetflags:
    case Kind::kFsgetxattr:
      return Iflags(op);
    case Kind::kStatfs:
      return Statfs(op);
    case Kind::kUmask:
      return Ret(umask(op.mode));
    case Kind::kCount:
      break;
  }
}

void Exec::Stat(const Op& op) {
  int flags = (op.flags & kNoFollow) != 0 ? AT_SYMLINK_NOFOLLOW : 0;
  if (op.p.IsFd()) flags |= AT_EMPTY_PATH;
  std::string path = PathBytes(op.p);
  struct statx stx;
  if (op.kind == Kind::kStatx) {
    if ((op.flags & kVariant) != 0) flags |= AT_STATX_FORCE_SYNC;
    unsigned mask = STATX_BASIC_STATS | STATX_BTIME;
    int ret = statx(DirFd(op.p), path.c_str(), flags, mask, &stx);
    Ret(Err(ret));
    if (ret != 0) return;
    PutStatFields("", stx);
    Put(Tag::kBtime, (stx.stx_mask & STATX_BTIME) != 0);
    Put(Tag::kAttrs,
        static_cast<int64_t>(stx.stx_attributes & ~STATX_ATTR_MOUNT_ROOT));
    return;
  }
  struct stat st;
  int ret = op.p.IsFd() && (op.flags & kVariant) == 0
                ? fstat(DirFd(op.p), &st)
                : fstatat(DirFd(op.p), path.c_str(), &st, flags);
  Ret(Err(ret));
  if (ret != 0) return;
  Put(Tag::kMode, st.st_mode);
  Put(Tag::kNlink, static_cast<int64_t>(st.st_nlink));
  Put(Tag::kUid, st.st_uid);
  Put(Tag::kGid, st.st_gid);
  Put(S_ISDIR(st.st_mode) ? Tag::kDirSize : Tag::kSize, st.st_size);
  Put(Tag::kRdev, static_cast<int64_t>(st.st_rdev));
}

void Exec::Readlink(const Op& op) {
  size_t n = op.n != 0 ? op.n % 8192 : 8192;
  int64_t ret =
      Err(readlinkat(DirFd(op.p), PathBytes(op.p).c_str(), buffer_, n));
  Ret(ret);
  if (ret > 0)
    Put(Tag::kTarget, 0, std::string(buffer_, static_cast<size_t>(ret)));
}

void Exec::Chmod(const Op& op) {
  int fd = DirFd(op.p);
  std::string path = PathBytes(op.p);
  if (op.kind == Kind::kChmod) {
    Ret(Err(op.p.IsFd() ? fchmod(fd, op.mode)
                        : fchmodat(fd, path.c_str(), op.mode, 0)));
    return;
  }
  int flags = (op.flags & kNoFollow) != 0 ? AT_SYMLINK_NOFOLLOW : 0;
  if (op.p.IsFd()) flags |= AT_EMPTY_PATH;
  Ret(Err(syscall(kSysFchmodat2, fd, path.c_str(), op.mode, flags)));
}

void Exec::Chown(const Op& op) {
  int fd = DirFd(op.p);
  uid_t uid = kOwners[(op.val & 0xff) % 7];
  gid_t gid = kOwners[((op.val >> 8) & 0xff) % 7];
  if (op.p.IsFd() && (op.flags & kVariant) == 0) {
    Ret(Err(fchown(fd, uid, gid)));
    return;
  }
  int flags = (op.flags & kNoFollow) != 0 ? AT_SYMLINK_NOFOLLOW : 0;
  if (op.p.IsFd()) flags |= AT_EMPTY_PATH;
  Ret(Err(fchownat(fd, PathBytes(op.p).c_str(), uid, gid, flags)));
}

void Exec::Utimens(const Op& op) {
  timespec times[2] = {kTimes[(op.val & 0xf) % 8],
                       kTimes[((op.val >> 4) & 0xf) % 8]};
  const timespec* t = (op.val & 0x100) != 0 ? nullptr : times;
  int fd = DirFd(op.p);
  int flags = (op.flags & kNoFollow) != 0 ? AT_SYMLINK_NOFOLLOW : 0;
  if (op.p.IsFd()) {
    Ret(Err((op.flags & kVariant) != 0
                ? syscall(SYS_utimensat, fd, "", t, AT_EMPTY_PATH)
                : syscall(SYS_utimensat, fd, nullptr, t, 0)));
    return;
  }
  Ret(Err(syscall(SYS_utimensat, fd, PathBytes(op.p).c_str(), t, flags)));
}

void Exec::Access(const Op& op) {
  int flags = (op.flags & kNoFollow) != 0 ? AT_SYMLINK_NOFOLLOW : 0;
  if ((op.flags & kVariant) != 0) flags |= AT_EACCESS;
  if (op.p.IsFd()) flags |= AT_EMPTY_PATH;
  Ret(Err(syscall(kSysFaccessat2, DirFd(op.p), PathBytes(op.p).c_str(),
                  op.mode & 7, flags)));
}

void Exec::Listdir(const Op& op) {
  int fd = DirFd(op.p);
  if (op.p.IsFd()) {
    lseek(fd, 0, SEEK_SET);
  } else {
    fd = openat(fd, PathBytes(op.p).c_str(),
                O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return Ret(Err(fd));
  }
  std::vector<DirEntry> entries;
  // Small buffers cut the listing into many calls.
  int ret = ReadDir(fd, std::clamp<size_t>(op.n, 400, 65536), &entries);
  if (!op.p.IsFd()) close(fd);
  Ret(ret);
  if (ret >= 0) Put(Tag::kNames, 0, ListText(entries));
}

void Exec::Iflags(const Op& op) {
  int fd = DirFd(op.p);
  if (!op.p.IsFd()) {
    fd = openat(fd, PathBytes(op.p).c_str(),
                O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return Put(Tag::kFlags, Err(fd), "open");
  }
  struct stat st;
  if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
    // Those of a FIFO or device, which xfs has, do not pass the FUSE client.
    if (!op.p.IsFd()) close(fd);
    return Put(Tag::kFlags, 0, "none of a special file");
  }
  constexpr uint32_t kSettable =
      FS_NOATIME_FL | FS_NODUMP_FL | FS_APPEND_FL | FS_IMMUTABLE_FL;
  int flags = 0;
  if (op.kind == Kind::kFsgetxattr) {
    fsxattr x = {};
    int ret = ioctl(fd, FS_IOC_FSGETXATTR, &x);
    if (ret != 0) {
      Put(Tag::kFlags, Err(ret));
    } else {
      Put(Tag::kFlags, x.fsx_xflags,
          " ext " + std::to_string(x.fsx_extsize) + " proj " +
              std::to_string(x.fsx_projid));
    }
  } else {
    int ret = ioctl(fd, FS_IOC_GETFLAGS, &flags);
    Put(Tag::kFlags, ret < 0 ? Err(ret) : flags);
    if (ret == 0 && op.kind == Kind::kSetflags) {
      flags = static_cast<int>((static_cast<uint32_t>(flags) & ~kSettable) |
                               (op.flags & kSettable));
      Put(Tag::kFlags, Err(ioctl(fd, FS_IOC_SETFLAGS, &flags)), " set");
    }
  }
  if (!op.p.IsFd()) close(fd);
}

void Exec::Statfs(const Op& op) {
  struct statfs st;
  int ret = op.p.IsFd() ? fstatfs(DirFd(op.p), &st)
                        : statfs(PathBytes(op.p).c_str(), &st);
  Ret(Err(ret));
  if (ret != 0) return;
  char text[128];
  snprintf(
      text, sizeof(text), "namelen %lld bsize %lld frsize %lld blocks %llu",
      static_cast<long long>(st.f_namelen), static_cast<long long>(st.f_bsize),
      static_cast<long long>(st.f_frsize),
      static_cast<unsigned long long>(st.f_blocks));
  Put(Tag::kStatfs, 0, text);
}

}  // namespace oracle

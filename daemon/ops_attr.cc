#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "absl/time/clock.h"
#include "daemon/ops.h"

namespace handlefs {
namespace {

using namespace proto;  // NOLINT: the names of flags

constexpr unsigned kBasic = STATX_BASIC_STATS;
// The same on every architecture; younger than Debian 12's headers.
constexpr long kFchmodat2 = 452;

Result<struct statx> StatFd(BorrowedFd fd, unsigned mask, int flags = 0) {
  struct statx stx;
  if (statx(fd.get(), "", AT_EMPTY_PATH | flags, mask, &stx) != 0) {
    return LastErrno();
  }
  return stx;
}

Status ChmodFd(BorrowedFd fd, mode_t mode) {
  long rc = syscall(kFchmodat2, fd.get(), "", mode, AT_EMPTY_PATH);
  if (rc == 0 || errno != ENOSYS) return Check(rc);
  // Before 6.6; there a symlink's mode cannot be changed in any way.
  char path[32];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d", fd.get());
  return Check(fchmodat(AT_FDCWD, path, mode, 0));
}

timespec TimeOf(uint32_t valid, uint32_t set, uint32_t now, uint64_t seconds,
                uint32_t nanoseconds) {
  if ((valid & set) == 0) return {0, UTIME_OMIT};
  if ((valid & now) != 0) return {0, UTIME_NOW};
  return {static_cast<time_t>(seconds), static_cast<long>(nanoseconds)};
}

}  // namespace

Result<abi::AttrOut> Ops::AttrOf(NodeId node, BorrowedFd fd) {
  ASSIGN_OR_RETURN(struct statx stx, StatFd(fd, kBasic));
  return ToAttrOut(stx, nodes_.ShownIno(stx, fd), AttrValidity(node));
}

Result<abi::AttrOut> Ops::Getattr(OpContext,
                                  const Req<Opcode::kGetattr>& request) {
  if ((request.in.getattr_flags & kGetattrFh) != 0) {
    auto file = files_.Find(Fh{request.in.fh});
    if (file.ok() && (*file)->fd) return AttrOf(request.node(), (*file)->fd);
    if (!file.ok() && !files_.IsForeign(Fh{request.in.fh})) return file.error();
  }
  ASSIGN_OR_RETURN(SharedFd fd, nodes_.Resolve(request.node()));
  return AttrOf(request.node(), *fd);
}

Result<abi::StatxOut> Ops::Statx(OpContext,
                                 const Req<Opcode::kStatx>& request) {
  SharedFd by_node;
  FilePtr by_fh;
  BorrowedFd fd;
  if ((request.in.getattr_flags & kGetattrFh) != 0) {
    ASSIGN_OR_RETURN(by_fh,
                     FileOf(Fh{request.in.fh}, request.node(), O_RDONLY));
    fd = by_fh->fd;
  } else {
    ASSIGN_OR_RETURN(by_node, nodes_.Resolve(request.node()));
    fd = *by_node;
  }
  int sync = static_cast<int>(request.in.sx_flags) & AT_STATX_SYNC_TYPE;
  // What the kernel makes of the answer needs type and mode whatever it asked.
  unsigned mask = (request.in.sx_mask | kBasic) & (kBasic | STATX_BTIME);
  ASSIGN_OR_RETURN(struct statx stx, StatFd(fd, mask, sync));
  Validity valid = AttrValidity(request.node());
  abi::StatxOut out{};
  out.attr_valid = valid.seconds;
  out.attr_valid_nsec = valid.nanoseconds;
  out.stat = ToStatx(stx, nodes_.ShownIno(stx, fd));
  return out;
}

Status Ops::SetSize(const Req<Opcode::kSetattr>& request, BorrowedFd path) {
  const abi::SetattrIn& in = request.in;
  SetIdScope set_id((in.valid & fattr::kKillSuidgid) != 0
                        ? SetIdScope::Bits::kClear
                        : SetIdScope::Bits::kKeep,
                    path, CallerOf(request.header));
  auto size = static_cast<off_t>(in.size);
  if ((in.valid & fattr::kFh) != 0) {
    ASSIGN_OR_RETURN(FilePtr file, FileOf(Fh{in.fh}, request.node(), O_RDWR));
    return Check(ftruncate(file->fd.get(), size));
  }
  // By name here too: tmpfs moves the times of a file whose size does not
  // change for ftruncate(2) only.
  ASSIGN_OR_RETURN(struct statx stx, StatFd(path, STATX_TYPE));
  if (S_ISDIR(stx.stx_mode)) return Errno(EISDIR);
  if (!S_ISREG(stx.stx_mode)) return Errno(EINVAL);
  char name[32];
  std::snprintf(name, sizeof(name), "/proc/self/fd/%d", path.get());
  return Check(truncate(name, size));
}

Status Ops::SetOwnerModeTimes(const Req<Opcode::kSetattr>& request,
                              BorrowedFd path) {
  const abi::SetattrIn& in = request.in;
  if ((in.valid & (fattr::kUid | fattr::kGid)) != 0) {
    uid_t uid = (in.valid & fattr::kUid) != 0 ? in.uid : static_cast<uid_t>(-1);
    gid_t gid = (in.valid & fattr::kGid) != 0 ? in.gid : static_cast<gid_t>(-1);
    RETURN_IF_ERROR(Check(fchownat(path.get(), "", uid, gid, AT_EMPTY_PATH)));
  }
  if ((in.valid & fattr::kMode) != 0) {
    RETURN_IF_ERROR(ChmodFd(path, in.mode & 07777));
  }
  if ((in.valid & (fattr::kAtime | fattr::kMtime)) != 0) {
    timespec times[2] = {
        TimeOf(in.valid, fattr::kAtime, fattr::kAtimeNow, in.atime,
               in.atimensec),
        TimeOf(in.valid, fattr::kMtime, fattr::kMtimeNow, in.mtime,
               in.mtimensec),
    };
    RETURN_IF_ERROR(Check(utimensat(path.get(), "", times, AT_EMPTY_PATH)));
  }
  return Ok();
}

void Ops::NoteLostCapability(NodeId node, uint32_t pid) {
  absl::MutexLock lock(&lost_mutex_);
  any_lost_.store(true, std::memory_order_relaxed);
  lost_[Raw(node) % lost_.size()] = {
      .node = node, .pid = pid, .when = absl::Now()};
}

Ops::Before Ops::TakeBefore(NodeId node, uint32_t pid) {
  if (!any_lost_.load(std::memory_order_relaxed)) return Before::kOther;
  absl::MutexLock lock(&lost_mutex_);
  LostCapability& lost = lost_[Raw(node) % lost_.size()];
  if (lost.node != node) return Before::kOther;
  // One system call does both; a removal of longer ago was a program's own.
  const bool just_now =
      lost.pid == pid && absl::Now() - lost.when < absl::Seconds(1);
  lost = LostCapability();
  return just_now ? Before::kLostCapability : Before::kOther;
}

// A SETATTR that changes nothing has two senders (Linux 6.18): chown(-1, -1),
// and, with KILLPRIV_V2, the announcement of a write to a file with set-id bits
// or, after a REMOVEXATTR, with capabilities. The write itself may pass the
// server by, so this is where the bits go. Only a file that is open for writing
// is written to.
Status Ops::SetNothing(const Req<Opcode::kSetattr>& request, BorrowedFd path,
                       Before before) {
  const uint32_t uid = request.header.uid;
  ASSIGN_OR_RETURN(struct statx stx, StatFd(path, kBasic));
  const mode_t mode = stx.stx_mode & 07777;
  if (S_ISREG(stx.stx_mode) && (mode & (S_ISUID | S_ISGID)) != 0) {
    const bool may_write = backings_.HasWriters(request.node());
    // Root's writes keep the bits; one is announced for capabilities only.
    // Times move as with any write.
    if (uid == 0 && may_write && before == Before::kLostCapability) {
      return ChmodFd(path, mode);
    }
    if (uid != 0) {
      mode_t kept = mode & ~static_cast<mode_t>(S_ISUID);
      // Without group execution S_ISGID is a mark of mandatory locks; it goes
      // only for callers outside the group.
      if ((mode & S_IXGRP) != 0 ||
          !CallerIsInGroup(CallerOf(request.header), stx.stx_gid)) {
        kept &= ~static_cast<mode_t>(S_ISGID);
      }
      if (kept == mode) return ChmodFd(path, mode);
      // The host makes a change of mode of it, which needs the owner.
      if (!may_write && uid != stx.stx_uid) return Errno(EPERM);
      RETURN_IF_ERROR(ChmodFd(path, kept));
    }
  }
  constexpr uid_t kSame = static_cast<uid_t>(-1);
  return Check(fchownat(path.get(), "", kSame, kSame, AT_EMPTY_PATH));
}

Result<abi::AttrOut> Ops::Setattr(OpContext,
                                  const Req<Opcode::kSetattr>& request) {
  ASSIGN_OR_RETURN(SharedFd path, nodes_.Resolve(request.node()));
  const uint32_t valid = request.in.valid;
  constexpr uint32_t kChanges = fattr::kMode | fattr::kUid | fattr::kGid |
                                fattr::kSize | fattr::kAtime | fattr::kMtime |
                                fattr::kCtime;
  const Before before = TakeBefore(request.node(), request.header.pid);
  if ((valid & kChanges) == 0) {
    RETURN_IF_ERROR(SetNothing(request, *path, before));
  }
  if ((valid & fattr::kSize) != 0) {
    RETURN_IF_ERROR(SetSize(request, *path));
  }
  RETURN_IF_ERROR(SetOwnerModeTimes(request, *path));
  return AttrOf(request.node(), *path);
}

Status Ops::Readlink(OpContext, const Req<Opcode::kReadlink>& request,
                     ReplyBuffer& out) {
  ASSIGN_OR_RETURN(SharedFd fd, nodes_.Resolve(request.node()));
  // The kernel takes less than a page.
  auto space = out.Space();
  constexpr size_t kLongest = 4095;
  // There is less room only in a compound. With none, the host says EINVAL.
  size_t room = std::min<size_t>(space.size(), kLongest);
  if (room == 0) return Errno(ENAMETOOLONG);
  ssize_t n =
      readlinkat(fd->get(), "", reinterpret_cast<char*>(space.data()), room);
  // A node that is no symlink: readlink(2) says EINVAL, the empty name ENOENT.
  if (n < 0) return errno == ENOENT ? Errno(EINVAL) : LastErrno();
  // Cut off, perhaps.
  if (room < kLongest && n == static_cast<ssize_t>(room)) {
    return Errno(ENAMETOOLONG);
  }
  out.Use(static_cast<size_t>(n));
  return Ok();
}

Status Ops::Access(OpContext, const Req<Opcode::kAccess>& request) {
  // Not sent with default_permissions; answered for kernels that do. The
  // directory rights that AsCaller keeps must not count here, so the mode bits
  // decide.
  ASSIGN_OR_RETURN(SharedFd fd, nodes_.Resolve(request.node()));
  ASSIGN_OR_RETURN(struct statx stx, StatFd(*fd, kBasic));
  uint32_t want = request.in.mask & 7;
  if (request.header.uid == 0) {
    bool any_exec = S_ISDIR(stx.stx_mode) || (stx.stx_mode & 0111) != 0;
    return (want & X_OK) == 0 || any_exec ? Ok() : Status(Errno(EACCES));
  }
  uint32_t have = stx.stx_mode & 7;
  if (request.header.uid == stx.stx_uid) {
    have = stx.stx_mode >> 6 & 7;
  } else if (request.header.gid == stx.stx_gid) {
    have = stx.stx_mode >> 3 & 7;
  }
  return (want & ~have) == 0 ? Ok() : Status(Errno(EACCES));
}

Result<abi::StatfsOut> Ops::Statfs(OpContext,
                                   const Req<Opcode::kStatfs>& request) {
  ASSIGN_OR_RETURN(SharedFd fd, nodes_.Resolve(request.node()));
  struct statfs sfs;
  if (fstatfs(fd->get(), &sfs) != 0) return LastErrno();
  abi::StatfsOut out{};
  out.st.blocks = sfs.f_blocks;
  out.st.bfree = sfs.f_bfree;
  out.st.bavail = sfs.f_bavail;
  out.st.files = sfs.f_files;
  out.st.ffree = sfs.f_ffree;
  out.st.bsize = static_cast<uint32_t>(sfs.f_bsize);
  out.st.namelen = static_cast<uint32_t>(sfs.f_namelen);
  out.st.frsize = static_cast<uint32_t>(sfs.f_frsize);
  return out;
}

}  // namespace handlefs

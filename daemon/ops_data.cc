#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <vector>

#include "daemon/ops.h"

namespace handlefs {
namespace {

using namespace proto;  // NOLINT: the names of flags

// preadv2 and pwritev2 take -1 for "the file's own position".
bool IsOffset(uint64_t offset) { return offset <= INT64_MAX; }

UniqueFd Readable(BorrowedFd fd) {
  char path[32];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d", fd.get());
  return UniqueFd(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
}

// Writes all of it; the count is smaller only where the host stopped with an
// error after some bytes, which the next write will meet again.
Result<size_t> WriteAll(BorrowedFd fd, Bytes data, uint64_t offset, int flags) {
  size_t done = 0;
  while (done < data.size()) {
    iovec part{const_cast<std::byte*>(data.data()) + done, data.size() - done};
    ssize_t n =
        pwritev2(fd.get(), &part, 1, static_cast<off_t>(offset + done), flags);
    if (n < 0 && errno == EINTR && done == 0) continue;
    if (n <= 0) {
      if (done > 0) break;
      if (n == 0) return size_t{0};
      return LastErrno();
    }
    done += static_cast<size_t>(n);
  }
  return done;
}

// How much of what is to be appended is there already, because an earlier
// server was killed in the middle of it. Clients of the mount append one after
// the other, so what came to the file since then is this request's.
Result<size_t> Appended(OpContext context, BorrowedFd fd, Bytes data) {
  struct stat st;
  if (fstat(fd.get(), &st) != 0) return LastErrno();
  const Journal::Earlier* earlier = context.intent->earlier();
  context.intent->Mark({.size = static_cast<uint64_t>(st.st_size)});
  if (earlier == nullptr) return size_t{0};
  std::vector<std::byte> there(data.size());
  ssize_t n = 0;
  // The file may have been opened for writing alone.
  if (UniqueFd again = Readable(fd)) {
    n = pread(again.get(), there.data(), there.size(),
              static_cast<off_t>(earlier->before.size));
  }
  size_t same = 0;
  while (n > 0 && same < static_cast<size_t>(n) && there[same] == data[same]) {
    ++same;
  }
  return same == static_cast<size_t>(std::max<ssize_t>(n, 0)) ? same : 0;
}

// The way a user's write clears set-id bits also holds for calls that carry no
// flag for it.
SetIdScope::Bits BitsOf(const abi::InHeader& caller) {
  return caller.uid == 0 ? SetIdScope::Bits::kKeep : SetIdScope::Bits::kClear;
}

}  // namespace

Status Ops::Read(OpContext context, const Req<Opcode::kRead>& request,
                 ReplyBuffer& out) {
  ASSIGN_OR_RETURN(FilePtr file,
                   FileOf(Fh{request.in.fh}, request.node(), request.in.flags));
  if (!IsOffset(request.in.offset)) return Errno(EINVAL);
  size_t size = std::min<size_t>(request.in.size, out.capacity());
  const HostFs& fs = nodes_.FsOf(request.node());
  // Pages of tmpfs are in memory; elsewhere only what is in the page cache may
  // be read here. A short read tells the kernel that the file ends.
  int flags = context.place == Place::kReader && !fs.is_memory ? RWF_NOWAIT : 0;
  while (out.size() < size) {
    auto space = out.Space().first(size - out.size());
    iovec part{space.data(), space.size()};
    ssize_t n =
        preadv2(file->fd.get(), &part, 1,
                static_cast<off_t>(request.in.offset + out.size()), flags);
    if (n > 0) {
      out.Use(static_cast<size_t>(n));
      continue;
    }
    if (n == 0) break;
    if (errno == EINTR) {
      if (context.place == Place::kReader) continue;
      // Not the part that was read: the kernel would take it for the end.
      return Errno(EINTR);
    }
    if (errno == EAGAIN && flags != 0) {
      out.Clear();
      return kWouldWait;
    }
    if (errno == EOPNOTSUPP && flags != 0) {
      // This file system cannot say whether it would wait.
      out.Clear();
      return kWouldWait;
    }
    if (out.size() > 0) break;
    return LastErrno();
  }
  return Ok();
}

Result<abi::WriteOut> Ops::Write(OpContext context,
                                 const Req<Opcode::kWrite>& request) {
  const abi::WriteIn& in = request.in;
  if (in.size != request.data.size() || !IsOffset(in.offset)) {
    return Errno(EINVAL);
  }
  ASSIGN_OR_RETURN(FilePtr file,
                   FileOf(Fh{in.fh}, request.node(),
                          (in.flags & ~uint32_t{O_ACCMODE}) | O_RDWR));
  // To the page cache of the host at once; to its disk elsewhere.
  constexpr int kThrough = O_DIRECT | O_SYNC | O_DSYNC;
  if (context.place == Place::kReader && (file->flags & kThrough) != 0 &&
      !nodes_.FsOf(request.node()).is_memory) {
    return kWouldWait;
  }
  // Pages of a mapping go where they belong; a write(2) goes to the end if the
  // client's flags say so now (fcntl may have changed them since the open).
  bool from_cache = (in.write_flags & kWriteCache) != 0;
  bool append = !from_cache && (in.flags & O_APPEND) != 0;
  int flags = append ? RWF_APPEND : 0;
  SetIdScope set_id((in.write_flags & kWriteKillSuidgid) != 0
                        ? SetIdScope::Bits::kClear
                        : SetIdScope::Bits::kKeep,
                    file->fd, CallerOf(request.header));
  size_t before = 0;
  if (append && context.intent->is_kept()) {
    ASSIGN_OR_RETURN(before, Appended(context, file->fd, request.data));
  }
  auto written =
      WriteAll(file->fd, request.data.subspan(before), in.offset, flags);
  // Some of it was there already: the next write meets the error again.
  if (!written.ok() && before > 0) written = size_t{0};
  if (written.ok()) *written += before;
  bool odd_page = from_cache && (file->flags & O_DIRECT) != 0 &&
                  !written.ok() && written.error() == Errno(EINVAL);
  if (odd_page) {
    // A mapping's last page of a file opened with O_DIRECT: a plain descriptor
    // takes it.
    ASSIGN_OR_RETURN(Nodes::Opened plain,
                     nodes_.Open(request.node(), O_WRONLY | O_NONBLOCK));
    written = WriteAll(plain.fd, request.data, in.offset, 0);
  }
  if (!written.ok()) return written.error();
  return abi::WriteOut{.size = static_cast<uint32_t>(*written), .padding = 0};
}

Status Ops::Fallocate(OpContext context,
                      const Req<Opcode::kFallocate>& request) {
  ASSIGN_OR_RETURN(FilePtr file,
                   FileOf(Fh{request.in.fh}, request.node(), O_RDWR));
  if (context.place == Place::kReader &&
      !nodes_.FsOf(request.node()).is_memory) {
    return kWouldWait;
  }
  SetIdScope set_id(BitsOf(request.header), file->fd, CallerOf(request.header));
  return Check(fallocate(file->fd.get(), static_cast<int>(request.in.mode),
                         static_cast<off_t>(request.in.offset),
                         static_cast<off_t>(request.in.length)));
}

Result<abi::LseekOut> Ops::Lseek(OpContext,
                                 const Req<Opcode::kLseek>& request) {
  ASSIGN_OR_RETURN(FilePtr file,
                   FileOf(Fh{request.in.fh}, request.node(), O_RDONLY));
  off_t at = lseek(file->fd.get(), static_cast<off_t>(request.in.offset),
                   static_cast<int>(request.in.whence));
  if (at < 0) return LastErrno();
  return abi::LseekOut{.offset = static_cast<uint64_t>(at)};
}

Result<uint64_t> Ops::Copy(OpContext context, const abi::InHeader& caller,
                           const abi::CopyFileRangeIn& in, uint64_t limit) {
  NodeId from{caller.nodeid};
  NodeId to{in.nodeid_out};
  ASSIGN_OR_RETURN(FilePtr source, FileOf(Fh{in.fh_in}, from, O_RDONLY));
  ASSIGN_OR_RETURN(FilePtr target, FileOf(Fh{in.fh_out}, to, O_WRONLY));
  if (context.place == Place::kReader) return kWouldWait;
  SetIdScope set_id(BitsOf(caller), target->fd, CallerOf(caller));
  auto off_in = static_cast<off64_t>(in.off_in);
  auto off_out = static_cast<off64_t>(in.off_out);
  ssize_t n =
      copy_file_range(source->fd.get(), &off_in, target->fd.get(), &off_out,
                      std::min(in.len, limit), static_cast<unsigned>(in.flags));
  if (n < 0) return LastErrno();
  return static_cast<uint64_t>(n);
}

Result<abi::WriteOut> Ops::CopyFileRange(
    OpContext context, const Req<Opcode::kCopyFileRange>& request) {
  // The reply has 32 bits.
  constexpr uint64_t kLimit = 0xfffff000;
  ASSIGN_OR_RETURN(uint64_t n,
                   Copy(context, request.header, request.in, kLimit));
  return abi::WriteOut{.size = static_cast<uint32_t>(n), .padding = 0};
}

Result<abi::CopyFileRangeOut> Ops::CopyFileRange64(
    OpContext context, const Req<Opcode::kCopyFileRange64>& request) {
  constexpr uint64_t kLimit = INT64_MAX;
  ASSIGN_OR_RETURN(uint64_t n,
                   Copy(context, request.header, request.in, kLimit));
  return abi::CopyFileRangeOut{.bytes_copied = n};
}

Status Ops::Ioctl(OpContext, const Req<Opcode::kIoctl>& request,
                  ReplyBuffer& out) {
  const abi::IoctlIn& in = request.in;
  // The safe list: attributes of the inode. Everything else acts on what the
  // host file is behind, or has no meaning through a mount.
  struct Known {
    uint32_t command;
    size_t size;
    bool writes;
  };
  static constexpr Known kKnown[] = {
      {FS_IOC_GETFLAGS, sizeof(uint32_t), false},
      {FS_IOC_SETFLAGS, sizeof(uint32_t), true},
      {FS_IOC_FSGETXATTR, sizeof(fsxattr), false},
      {FS_IOC_FSSETXATTR, sizeof(fsxattr), true},
  };
  const Known* known =
      std::find_if(std::begin(kKnown), std::end(kKnown),
                   [&](const Known& k) { return k.command == in.cmd; });
  if (known == std::end(kKnown)) return Errno(ENOTTY);
  ASSIGN_OR_RETURN(FilePtr file, FileOf(Fh{in.fh}, request.node(), O_RDONLY));
  // FS_IOC_*FLAGS are numbered as if they took a long, but take an int.
  alignas(8) std::array<std::byte, sizeof(fsxattr)> argument{};
  if (known->writes) {
    if (in.in_size != request.data.size() || in.in_size < known->size) {
      return Errno(EINVAL);
    }
    std::memcpy(argument.data(), request.data.data(), known->size);
  } else if (in.out_size < known->size) {
    return Errno(EINVAL);
  }
  RETURN_IF_ERROR(Check(ioctl(file->fd.get(), in.cmd, argument.data())));
  if (known->writes) {
    // The kernel does not expect an ioctl to change ctime.
    (void)connection_.Notify(InvalAttributes(request.node())).ok();
  }
  out.Put(abi::IoctlOut{.result = 0, .flags = 0, .in_iovs = 0, .out_iovs = 0});
  if (!known->writes) {
    out.PutBytes(std::span(argument).first(known->size));
  }
  return Ok();
}

}  // namespace handlefs

#include <fcntl.h>
#include <sys/file.h>

#include "absl/time/clock.h"
#include "daemon/ops.h"
#include "daemon/pending_signal.h"

namespace handlefs {
namespace {

using namespace proto;  // NOLINT: the names of flags

constexpr absl::Duration kLookForSignals = absl::Milliseconds(200);

Result<LockRange> RangeOf(const abi::LkIn& in) {
  auto type = static_cast<int>(in.lk.type);
  if (type != F_RDLCK && type != F_WRLCK && type != F_UNLCK) {
    return Errno(EINVAL);
  }
  if (in.lk.start > in.lk.end || in.lk.start > INT64_MAX) return Errno(EINVAL);
  return LockRange{.start = in.lk.start,
                   .end = std::min<uint64_t>(in.lk.end, INT64_MAX),
                   .type = type,
                   .pid = in.lk.pid};
}

Status FlockNow(BorrowedFd fd, uint32_t type) {
  int operation = type == F_RDLCK   ? LOCK_SH
                  : type == F_WRLCK ? LOCK_EX
                                    : LOCK_UN;
  return Check(flock(fd.get(), operation | LOCK_NB));
}

}  // namespace

Status Ops::SetLock(const abi::InHeader& header, const abi::LkIn& in,
                    const FilePtr& file) {
  if ((in.lk_flags & kLkFlock) != 0) {
    // Before it is locked: the lock must not be the server's alone.
    if (in.lk.type != F_UNLCK) files_.Keep(file->first ? *file->first : *file);
    return FlockNow(file->flock_fd(), in.lk.type);
  }
  ASSIGN_OR_RETURN(LockRange range, RangeOf(in));
  NodeId node{header.nodeid};
  auto open = [&](int access) -> Result<UniqueFd> {
    auto opened = nodes_.Open(node, access);
    if (!opened.ok()) return opened.error();
    return std::move(opened->fd);
  };
  return locks_.Set(node, LockOwner{in.owner}, Fh{in.fh}, range, file->flags,
                    open);
}

Result<abi::LkOut> Ops::Getlk(OpContext, const Req<Opcode::kGetlk>& request) {
  ASSIGN_OR_RETURN(FilePtr file,
                   FileOf(Fh{request.in.fh}, request.node(), O_RDONLY));
  ASSIGN_OR_RETURN(LockRange range, RangeOf(request.in));
  ASSIGN_OR_RETURN(LockRange held,
                   locks_.Test(request.node(), LockOwner{request.in.owner},
                               range, file->fd));
  return abi::LkOut{.lk = {.start = held.start,
                           .end = held.end,
                           .type = static_cast<uint32_t>(held.type),
                           .pid = held.pid}};
}

Status Ops::LockNow(const abi::InHeader& header, const abi::LkIn& in) {
  NodeId node{header.nodeid};
  ASSIGN_OR_RETURN(FilePtr file, FileOf(Fh{in.fh}, node, O_RDONLY));
  Status status = SetLock(header, in, file);
  // Letting go, or changing to a read lock, may be what others wait for.
  if (status.ok() && in.lk.type != F_WRLCK) waiters_.Wake(node);
  return status;
}

Status Ops::Setlk(OpContext, const Req<Opcode::kSetlk>& request) {
  return LockNow(request.header, request.in);
}

Status Ops::Setlkw(OpContext, const Req<Opcode::kSetlkw>& request) {
  return LockNow(request.header, request.in);
}

void Ops::WaitForLock(const Req<Opcode::kSetlkw>& request,
                      io::LateReply reply) {
  auto file = FileOf(Fh{request.in.fh}, request.node(), O_RDONLY);
  if (!file.ok()) return reply.Send(file.error());
  auto attempt = [this, header = request.header, in = request.in, file = *file,
                  looked = absl::Now()]() mutable -> Status {
    Status status = SetLock(header, in, file);
    if (!policy_.loses_interrupts || status.ok()) return status;
    if (absl::Time now = absl::Now(); now - looked > kLookForSignals) {
      looked = now;
      if (HasPendingSignal(header.pid)) return Errno(EINTR);
    }
    return status;
  };
  waiters_.Add(request.node(), std::move(reply), std::move(attempt));
}

}  // namespace handlefs

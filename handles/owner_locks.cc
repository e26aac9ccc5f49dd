#include "handles/owner_locks.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

namespace handlefs {
namespace {

constexpr uint64_t kToEnd = std::numeric_limits<int64_t>::max();

struct flock ToHost(const LockRange& range) {
  struct flock lock {};
  lock.l_type = static_cast<short>(range.type);
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(range.start);
  lock.l_len =
      range.end >= kToEnd ? 0 : static_cast<off_t>(range.end - range.start + 1);
  return lock;
}

Status Lock(BorrowedFd fd, const LockRange& range) {
  struct flock lock = ToHost(range);
  if (fcntl(fd.get(), F_OFD_SETLK, &lock) != 0) {
    // Both are allowed by POSIX; the kernel's caller expects this one.
    return Errno(errno == EACCES ? EAGAIN : errno);
  }
  return Ok();
}

bool Overlap(const LockRange& a, const LockRange& b) {
  return a.start <= b.end && b.start <= a.end;
}

// Who of the holders of `held`, which are sorted, has the lock that the host
// tells as `told`: neighbouring ranges of one type and owner are one lock
// there.
std::optional<uint32_t> PidOf(const std::vector<LockRange>& held,
                              const LockRange& told) {
  uint64_t at = told.start;
  std::optional<uint32_t> pid;
  for (const LockRange& range : held) {
    if (range.type != told.type || range.start != at) continue;
    if (!pid) pid = range.pid;
    if (range.end == told.end) return pid;
    at = range.end + 1;
  }
  return std::nullopt;
}

}  // namespace

void OwnerLocks::Note(std::vector<LockRange>& held, const LockRange& range) {
  std::vector<LockRange> next;
  for (const LockRange& old : held) {
    if (!Overlap(old, range)) {
      next.push_back(old);
      continue;
    }
    LockRange left = old, right = old;
    left.end = range.start - 1;
    right.start = range.end + 1;
    if (old.start < range.start) next.push_back(left);
    if (old.end > range.end) next.push_back(right);
  }
  if (range.type != F_UNLCK) next.push_back(range);
  std::sort(
      next.begin(), next.end(),
      [](const LockRange& a, const LockRange& b) { return a.start < b.start; });
  held = std::move(next);
}

Status OwnerLocks::Upgrade(Holder& holder, const Opener& open) {
  // The descriptor was made for read locks. They are taken on a new one, which
  // may hold write locks, before the old one goes: nobody gets in between.
  ASSIGN_OR_RETURN(UniqueFd fd, open(O_RDWR));
  for (const LockRange& range : holder.held) RETURN_IF_ERROR(Lock(fd, range));
  holder.fd = std::move(fd);
  holder.access = O_RDWR;
  return Ok();
}

Status OwnerLocks::Set(NodeId node, LockOwner owner, Fh fh,
                       const LockRange& range, int access, const Opener& open) {
  absl::MutexLock lock(&mutex_);
  auto at = nodes_.find(Raw(node));
  if (at == nodes_.end()) {
    if (range.type == F_UNLCK) return Ok();
    at = nodes_.try_emplace(Raw(node)).first;
  }
  Holders& holders = at->second;
  auto drop_empty = [&] {
    mutex_.AssertHeld();
    std::erase_if(holders, [](const Holder& h) { return h.held.empty(); });
    if (holders.empty()) nodes_.erase(Raw(node));
  };
  auto it = std::find_if(holders.begin(), holders.end(),
                         [&](const Holder& h) { return h.owner == owner; });
  if (it == holders.end()) {
    if (range.type == F_UNLCK) return Ok();
    // A descriptor opened for writing can hold both kinds.
    bool reads = (access & O_ACCMODE) == O_RDONLY && range.type != F_WRLCK;
    int mode = reads ? O_RDONLY : O_RDWR;
    auto fd = open(mode);
    if (!fd.ok()) {
      drop_empty();
      return fd.error();
    }
    holders.push_back(Holder{.owner = owner,
                             .fh = fh,
                             .access = mode,
                             .fd = std::move(*fd),
                             .held = {}});
    it = std::prev(holders.end());
  } else if (range.type == F_WRLCK && it->access == O_RDONLY) {
    RETURN_IF_ERROR(Upgrade(*it, open));
  }
  Status status = Lock(it->fd, range);
  if (status.ok()) {
    it->fh = fh;
    Note(it->held, range);
  }
  drop_empty();
  return status;
}

Result<LockRange> OwnerLocks::Test(NodeId node, LockOwner owner,
                                   const LockRange& range, BorrowedFd any) {
  absl::MutexLock lock(&mutex_);
  auto at = nodes_.find(Raw(node));
  const Holders* holders = at == nodes_.end() ? nullptr : &at->second;
  // Asked through the owner's own descriptor, its own locks do not conflict.
  BorrowedFd fd = any;
  if (holders != nullptr) {
    for (const Holder& holder : *holders) {
      if (holder.owner == owner) fd = holder.fd;
    }
  }
  struct flock host = ToHost(range);
  if (fcntl(fd.get(), F_OFD_GETLK, &host) != 0) return LastErrno();
  LockRange out = range;
  out.type = host.l_type;
  if (host.l_type == F_UNLCK) return out;
  out.start = static_cast<uint64_t>(host.l_start);
  out.end = host.l_len == 0
                ? kToEnd
                : static_cast<uint64_t>(host.l_start + host.l_len - 1);
  out.pid = host.l_pid > 0 ? static_cast<uint32_t>(host.l_pid) : 0;
  if (out.pid != 0 || holders == nullptr) return out;
  for (const Holder& holder : *holders) {
    if (holder.owner == owner) continue;
    if (auto pid = PidOf(holder.held, out)) {
      out.pid = *pid;
      break;
    }
  }
  return out;
}

bool OwnerLocks::DropOwner(NodeId node, LockOwner owner) {
  absl::MutexLock lock(&mutex_);
  auto at = nodes_.find(Raw(node));
  if (at == nodes_.end()) return false;
  size_t n = std::erase_if(at->second,
                           [&](const Holder& h) { return h.owner == owner; });
  if (at->second.empty()) nodes_.erase(at);
  return n > 0;
}

bool OwnerLocks::DropFh(NodeId node, Fh fh) {
  absl::MutexLock lock(&mutex_);
  auto at = nodes_.find(Raw(node));
  if (at == nodes_.end()) return false;
  size_t n =
      std::erase_if(at->second, [&](const Holder& h) { return h.fh == fh; });
  if (at->second.empty()) nodes_.erase(at);
  return n > 0;
}

}  // namespace handlefs

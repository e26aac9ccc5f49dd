#include "handles/owner_locks.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
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

// In the vault, beside the descriptor. What is locked the host tells.
struct Kept {
  uint64_t node;
  uint64_t owner;
  uint64_t fh;
  int32_t access;
  uint32_t pid;
};

// Lines of /proc/self/fdinfo/N: "lock:\t1: OFDLCK ADVISORY WRITE -1 fd:01:12 5
// 9"
std::vector<LockRange> HeldThrough(BorrowedFd fd, uint32_t pid) {
  std::vector<LockRange> held;
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd.get()));
  for (std::string line; std::getline(info, line);) {
    std::istringstream words(line);
    std::string tag, number, kind, mode, type, holder, place, first, last;
    words >> tag >> number >> kind >> mode >> type >> holder >> place >>
        first >> last;
    if (tag != "lock:" || kind != "OFDLCK") continue;
    LockRange range{.start = std::strtoull(first.c_str(), nullptr, 10),
                    .end = last == "EOF"
                               ? kToEnd
                               : std::strtoull(last.c_str(), nullptr, 10),
                    .type = type == "WRITE" ? F_WRLCK : F_RDLCK,
                    .pid = pid};
    held.push_back(range);
  }
  std::sort(
      held.begin(), held.end(),
      [](const LockRange& a, const LockRange& b) { return a.start < b.start; });
  return held;
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

void OwnerLocks::Restore() {
  if (vault_ == nullptr) return;
  for (Vault::Item& item : vault_->Inherited(Vault::Kind::kLockOwner)) {
    Kept kept{};
    Holder holder;
    if (Vault::Read(item, kept) && item.fd) {
      holder.held = HeldThrough(item.fd, kept.pid);
    }
    if (holder.held.empty()) {
      vault_->Erase(item.ref);
      continue;
    }
    holder.owner = LockOwner{kept.owner};
    holder.fh = Fh{kept.fh};
    holder.access = kept.access;
    holder.pid = kept.pid;
    holder.fd = std::move(item.fd);
    holder.record = item.ref;
    absl::MutexLock lock(&mutex_);
    nodes_[kept.node].push_back(std::move(holder));
  }
}

void OwnerLocks::Record(NodeId node, Holder& holder) {
  if (vault_ == nullptr) return;
  Kept kept{.node = Raw(node),
            .owner = Raw(holder.owner),
            .fh = Raw(holder.fh),
            .access = holder.access,
            .pid = holder.pid};
  Vault::Ref old = std::exchange(
      holder.record,
      vault_->PutStruct(Vault::Kind::kLockOwner, kept, holder.fd));
  vault_->Erase(old);
}

void OwnerLocks::LetGo(Holder& holder) {
  if (vault_ == nullptr) return;  // closing does it
  (void)Lock(holder.fd, {.start = 0, .end = kToEnd, .type = F_UNLCK}).ok();
  vault_->Erase(std::exchange(holder.record, Vault::kNoRef));
}

Status OwnerLocks::Upgrade(NodeId node, Holder& holder, const Opener& open) {
  // The descriptor was made for read locks. They are taken on a new one, which
  // may hold write locks, before the old one goes: nobody gets in between.
  ASSIGN_OR_RETURN(UniqueFd fd, open(O_RDWR));
  for (const LockRange& range : holder.held) RETURN_IF_ERROR(Lock(fd, range));
  if (vault_ != nullptr) {
    (void)Lock(holder.fd, {.start = 0, .end = kToEnd, .type = F_UNLCK}).ok();
  }
  UniqueFd old = std::exchange(holder.fd, std::move(fd));
  holder.access = O_RDWR;
  Record(node, holder);
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
    for (Holder& holder : holders) {
      if (holder.held.empty()) LetGo(holder);
    }
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
                             .held = {},
                             .record = Vault::kNoRef,
                             .pid = range.pid});
    it = std::prev(holders.end());
    // With the keeper before anything is locked: a lock that only a killed
    // server held would be lost.
    Record(node, *it);
  } else if (range.type == F_WRLCK && it->access == O_RDONLY) {
    RETURN_IF_ERROR(Upgrade(node, *it, open));
  }
  Status status = Lock(it->fd, range);
  if (status.ok()) {
    bool changed = it->fh != fh || it->pid != range.pid;
    it->fh = fh;
    it->pid = range.pid;
    Note(it->held, range);
    if (changed && !it->held.empty()) Record(node, *it);
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

template <typename Predicate>
size_t OwnerLocks::Drop(NodeId node, Predicate predicate) {
  absl::MutexLock lock(&mutex_);
  auto at = nodes_.find(Raw(node));
  if (at == nodes_.end()) return 0;
  for (Holder& holder : at->second) {
    if (predicate(holder)) LetGo(holder);
  }
  size_t n = std::erase_if(at->second, predicate);
  if (at->second.empty()) nodes_.erase(at);
  return n;
}

bool OwnerLocks::DropOwner(NodeId node, LockOwner owner) {
  return Drop(node, [&](const Holder& h) { return h.owner == owner; }) > 0;
}

bool OwnerLocks::DropFh(NodeId node, Fh fh) {
  return Drop(node, [&](const Holder& h) { return h.fh == fh; }) > 0;
}

}  // namespace handlefs

#include "handles/fd_cache.h"

#include <utility>

#include "absl/time/clock.h"

namespace handlefs {
namespace {
// What an unlinked file's FORGET takes at most, mostly.
constexpr absl::Duration kSettles = absl::Milliseconds(100);
}  // namespace

SharedFd HotFds::Find(NodeId id, Kind* kind) {
  Set& set = SetOf(id);
  absl::MutexLock lock(&set.mutex);
  for (Way& way : set.ways) {
    if (way.id == id) {
      if (kind != nullptr) *kind = way.kind;
      way.used = ++set.clock;
      return way.fd;
    }
  }
  return nullptr;
}

void HotFds::Insert(NodeId id, SharedFd fd, Kind kind) {
  SharedFd old;  // closed after the lock is let go
  Set& set = SetOf(id);
  absl::MutexLock lock(&set.mutex);
  // The way that has it, else one that is free or was used longest ago.
  Way* victim = set.ways.data();
  for (Way& way : set.ways) {
    if (way.id == id) {
      victim = &way;
      break;
    }
    if (way.used < victim->used) victim = &way;
  }
  old = std::exchange(victim->fd, std::move(fd));
  victim->id = id;
  victim->kind = kind;
  victim->used = ++set.clock;
}

void HotFds::Drop(NodeId id) {
  SharedFd old;
  Set& set = SetOf(id);
  absl::MutexLock lock(&set.mutex);
  for (Way& way : set.ways) {
    if (way.id != id) continue;
    old = std::move(way.fd);
    way = Way();
  }
}

void HotFds::DropFiles() {
  for (Set& set : sets_) {
    std::array<SharedFd, kWays> old;
    absl::MutexLock lock(&set.mutex);
    for (size_t i = 0; i < kWays; ++i) {
      if (set.ways[i].kind == Kind::kDirectory) continue;
      old[i] = std::move(set.ways[i].fd);
      set.ways[i] = Way();
    }
  }
}

// The record of a pin is its node; the word counts lookups.
void Pins::Restore(Vault& vault) {
  vault_ = &vault;
  for (Vault::Item& item : vault.Inherited(Vault::Kind::kPin)) {
    uint64_t id = 0;
    if (!Vault::Read(item, id) || !item.fd) {
      vault.Erase(item.ref);
      continue;
    }
    absl::MutexLock lock(&mutex_);
    Pin pin{.fd = std::make_shared<const UniqueFd>(std::move(item.fd)),
            .lookups = item.word,
            .ref = item.ref};
    if (!pins_.try_emplace(id, std::move(pin)).second) vault.Erase(item.ref);
    size_.store(pins_.size(), std::memory_order_relaxed);
  }
}

Vault::Ref Pins::KeepAhead(NodeId id, BorrowedFd fd) {
  if (vault_ == nullptr) return Vault::kNoRef;
  return vault_->PutStruct(Vault::Kind::kPin, Raw(id), fd);
}

void Pins::Erase(Vault::Ref ref) {
  if (vault_ != nullptr) vault_->Erase(ref);
}

void Pins::Note(const Pin& pin) {
  if (pin.ref != Vault::kNoRef) vault_->Word(pin.ref)->store(pin.lookups);
}

void Pins::Add(NodeId id, SharedFd fd, Vault::Ref ref) {
  absl::MutexLock lock(&mutex_);
  Pin pin{.fd = std::move(fd), .lookups = 0, .ref = ref};
  bool added = pins_.try_emplace(Raw(id), std::move(pin)).second;
  size_.store(pins_.size(), std::memory_order_relaxed);
  if (!added) {
    Erase(ref);
  } else if (vault_ != nullptr && ref == Vault::kNoRef) {
    fresh_.push_back({.id = Raw(id), .since = absl::Now()});
  }
}

void Pins::Tick(absl::Time now) {
  if (vault_ == nullptr) return;
  absl::MutexLock lock(&mutex_);
  while (!fresh_.empty() && now - fresh_.front().since >= kSettles) {
    auto it = pins_.find(fresh_.front().id);
    fresh_.pop_front();
    if (it == pins_.end() || it->second.ref != Vault::kNoRef) continue;
    it->second.ref = KeepAhead(NodeId{it->first}, *it->second.fd);
    Note(it->second);
  }
}

SharedFd Pins::FindSlow(NodeId id) {
  absl::MutexLock lock(&mutex_);
  auto it = pins_.find(Raw(id));
  return it == pins_.end() ? nullptr : it->second.fd;
}

void Pins::AddLookup(NodeId id) {
  if (size() == 0) return;
  absl::MutexLock lock(&mutex_);
  auto it = pins_.find(Raw(id));
  if (it == pins_.end()) return;
  ++it->second.lookups;
  Note(it->second);
}

void Pins::Take(absl::flat_hash_map<uint64_t, Pin>::iterator it) {
  Erase(it->second.ref);
  pins_.erase(it);
  size_.store(pins_.size(), std::memory_order_relaxed);
}

void Pins::Forget(NodeId id, uint64_t lookups) {
  if (size() == 0) return;
  SharedFd old;
  absl::MutexLock lock(&mutex_);
  auto it = pins_.find(Raw(id));
  if (it == pins_.end()) return;
  if (it->second.lookups > lookups) {
    it->second.lookups -= lookups;
    Note(it->second);
    return;
  }
  old = std::move(it->second.fd);
  Take(it);
}

void Pins::Remove(NodeId id) {
  SharedFd old;
  absl::MutexLock lock(&mutex_);
  auto it = pins_.find(Raw(id));
  if (it == pins_.end()) return;
  old = std::move(it->second.fd);
  Take(it);
}

}  // namespace handlefs

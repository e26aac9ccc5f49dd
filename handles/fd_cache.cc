#include "handles/fd_cache.h"

#include <utility>

namespace handlefs {

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

void Pins::Add(NodeId id, SharedFd fd) {
  absl::MutexLock lock(&mutex_);
  pins_.try_emplace(Raw(id), Pin{std::move(fd), 0});
  size_.store(pins_.size(), std::memory_order_relaxed);
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
  if (it != pins_.end()) ++it->second.lookups;
}

void Pins::Forget(NodeId id, uint64_t lookups) {
  if (size() == 0) return;
  SharedFd old;
  absl::MutexLock lock(&mutex_);
  auto it = pins_.find(Raw(id));
  if (it == pins_.end()) return;
  if (it->second.lookups > lookups) {
    it->second.lookups -= lookups;
    return;
  }
  old = std::move(it->second.fd);
  pins_.erase(it);
  size_.store(pins_.size(), std::memory_order_relaxed);
}

void Pins::Remove(NodeId id) {
  SharedFd old;
  absl::MutexLock lock(&mutex_);
  auto it = pins_.find(Raw(id));
  if (it == pins_.end()) return;
  old = std::move(it->second.fd);
  pins_.erase(it);
  size_.store(pins_.size(), std::memory_order_relaxed);
}

}  // namespace handlefs

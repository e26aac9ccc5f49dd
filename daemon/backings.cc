#include "daemon/backings.h"

namespace handlefs {

BackingId Backings::Open(NodeId node, BorrowedFd fd, Wish wish, Access access) {
  absl::MutexLock lock(&mutex_);
  State& state = nodes_[Raw(node)];
  if (state.readers == 0 && state.writers == 0 && wish == Wish::kPassthrough) {
    auto id = connection_->OpenBacking(fd);
    if (id.ok()) {
      state.id = *id;
      with_id_.fetch_add(1, std::memory_order_relaxed);
    } else {
      last_refusal_.store(id.error().value());
    }
  }
  ++(access == Access::kWrite ? state.writers : state.readers);
  return state.id;
}

void Backings::Release(NodeId node, BackingId id, Access access) {
  absl::MutexLock lock(&mutex_);
  auto it = nodes_.find(Raw(node));
  if (it == nodes_.end() || it->second.id != id) return;
  State& state = it->second;
  uint32_t& opens = access == Access::kWrite ? state.writers : state.readers;
  if (opens == 0) return;
  --opens;
  if (state.readers != 0 || state.writers != 0) return;
  if (id != kNoBacking) {
    (void)connection_->CloseBacking(id).ok();
    with_id_.fetch_sub(1, std::memory_order_relaxed);
  }
  nodes_.erase(it);
}

bool Backings::HasWriters(NodeId node) {
  absl::MutexLock lock(&mutex_);
  auto it = nodes_.find(Raw(node));
  return it != nodes_.end() && it->second.writers > 0;
}

bool Backings::IsWritten(NodeId node) {
  if (with_id_.load(std::memory_order_relaxed) == 0) return false;
  absl::MutexLock lock(&mutex_);
  auto it = nodes_.find(Raw(node));
  return it != nodes_.end() && it->second.id != kNoBacking &&
         it->second.writers > 0;
}

}  // namespace handlefs

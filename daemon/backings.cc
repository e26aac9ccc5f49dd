#include "daemon/backings.h"

namespace handlefs {

BackingId Backings::Open(NodeId node, BorrowedFd fd, Wish wish, Access access) {
  absl::MutexLock lock(&mutex_);
  State& state = nodes_[Raw(node)];
  if (state.passthrough == 0 && state.server == 0 &&
      wish == Wish::kPassthrough) {
    auto id = connection_->OpenBacking(fd);
    if (id.ok()) {
      state.id = *id;
      with_id_.fetch_add(1, std::memory_order_relaxed);
    } else {
      last_refusal_.store(id.error().value());
    }
  }
  if (access == Access::kWrite) ++state.writers;
  if (state.id == kNoBacking) {
    ++state.server;
    return kNoBacking;
  }
  ++state.passthrough;
  return state.id;
}

void Backings::Release(NodeId node, BackingId id, Access access) {
  absl::MutexLock lock(&mutex_);
  auto it = nodes_.find(Raw(node));
  if (it == nodes_.end()) return;
  State& state = it->second;
  if (access == Access::kWrite && state.writers > 0) --state.writers;
  if (id == kNoBacking) {
    if (state.server > 0) --state.server;
  } else {
    if (state.passthrough > 0) --state.passthrough;
    if (state.passthrough == 0) {
      (void)connection_->CloseBacking(state.id).ok();
      state.id = kNoBacking;
      with_id_.fetch_sub(1, std::memory_order_relaxed);
    }
  }
  if (state.passthrough == 0 && state.server == 0) nodes_.erase(it);
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
  return it != nodes_.end() && it->second.passthrough > 0 &&
         it->second.writers > 0;
}

}  // namespace handlefs

#include "daemon/backings.h"

#include "absl/container/flat_hash_set.h"

namespace handlefs {

BackingId Backings::Open(NodeId node, BorrowedFd fd, Wish wish, Access access) {
  absl::MutexLock lock(&mutex_);
  State& state = nodes_[Raw(node)];
  if (state.readers == 0 && state.writers == 0 && wish == Wish::kPassthrough) {
    auto id = connection_->OpenBacking(fd);
    if (id.ok()) {
      state.id = *id;
      if (highest_ != nullptr) {
        auto raw = static_cast<uint64_t>(Raw(*id));
        if (raw > highest_->load()) highest_->store(raw);
      }
      with_id_.fetch_add(1, std::memory_order_relaxed);
    } else {
      last_refusal_.store(id.error().value());
    }
  }
  ++(access == Access::kWrite ? state.writers : state.readers);
  return state.id;
}

void Backings::Restore(NodeId node, BackingId id, Access access) {
  absl::MutexLock lock(&mutex_);
  State& state = nodes_[Raw(node)];
  if (state.id == kNoBacking && id != kNoBacking) {
    state.id = id;
    with_id_.fetch_add(1, std::memory_order_relaxed);
  }
  ++(access == Access::kWrite ? state.writers : state.readers);
}

void Backings::Sweep(std::span<const BackingId> closing) {
  absl::flat_hash_set<int32_t> wanted;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [node, state] : nodes_) wanted.insert(Raw(state.id));
  }
  auto close = [&](int32_t id) {
    if (!wanted.contains(id)) {
      (void)connection_->CloseBacking(BackingId{id}).ok();
    }
  };
  for (BackingId id : closing) close(Raw(id));
  if (highest_ == nullptr || highest_->load() == 0) return;
  // As many as there can be threads that were just opening one.
  constexpr int32_t kNotNoted = 64;
  auto highest = static_cast<int32_t>(highest_->load());
  for (int32_t id = highest; id <= highest + kNotNoted; ++id) close(id);
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

bool Backings::IsOpen(NodeId node) {
  absl::MutexLock lock(&mutex_);
  return nodes_.contains(Raw(node));
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

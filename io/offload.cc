#include "io/offload.h"

#include <algorithm>
#include <csignal>
#include <utility>

#include "io/thread_defaults.h"

namespace handlefs::io {

int InterruptSignal() {
  static const int signal = [] {
    int number = SIGRTMIN + 1;
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(number, &action, nullptr);
    return number;
  }();
  return signal;
}

OffloadPool::OffloadPool(unsigned threads, std::function<void()> start,
                         Work work)
    : limit_(threads), start_(std::move(start)), work_(std::move(work)) {
  InterruptSignal();
}

OffloadPool::~OffloadPool() {
  std::deque<Queued> queued;
  std::vector<std::thread> threads;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    queued.swap(queue_);
    threads.swap(threads_);
  }
  for (Queued& q : queued) CallOff(q.packet);
  for (std::thread& thread : threads) thread.join();
}

void OffloadPool::CallOff(Packet& packet) const {
  if (tell_) tell_(packet, Errno(EINTR));
  packet.token.ReplyError(Errno(EINTR));
}

unsigned OffloadPool::GroupLimit() const {
  return groups_.size() > 1 ? (limit_ + 1) / 2 : limit_;
}

std::deque<OffloadPool::Queued>::iterator OffloadPool::Next() {
  const unsigned limit = GroupLimit();
  auto it = queue_.begin();
  while (it != queue_.end() && groups_[it->group].running >= limit) ++it;
  return it;
}

void OffloadPool::Staff() {
  if (stopping_) return;
  const unsigned limit = GroupLimit();
  unsigned wanted = 0;
  for (const auto& [id, group] : groups_) {
    if (group.running < limit) {
      wanted += std::min(group.queued, limit - group.running);
    }
  }
  const size_t most = groups_.size() > 1 ? limit_ + (limit_ + 1) / 2 : limit_;
  for (; idle_ < wanted && threads_.size() < most; ++idle_) {
    Running& self = running_.emplace_back();
    threads_.emplace_back([this, &self] { Serve(self); });
  }
}

void OffloadPool::Forget(uint32_t group) {
  auto it = groups_.find(group);
  if (it->second.queued != 0 || it->second.running != 0) return;
  groups_.erase(it);
  // The others may have more threads now.
  Staff();
}

void OffloadPool::Submit(uint32_t group, Packet packet) {
  absl::MutexLock lock(&mutex_);
  ++groups_[group].queued;
  queue_.push_back({.group = group, .packet = std::move(packet)});
  Staff();
}

void OffloadPool::Serve(Running& self) {
  ThreadDefaults::Take();
  start_();
  mutex_.Lock();
  self.thread = pthread_self();
  while (true) {
    mutex_.Await(absl::Condition(this, &OffloadPool::HasNext));
    --idle_;
    if (stopping_) break;
    auto next = Next();
    Queued job = std::move(*next);
    queue_.erase(next);
    Group& group = groups_[job.group];
    --group.queued;
    ++group.running;
    self.busy = true;
    self.interrupted = job.interrupted;
    self.unique = job.packet.token.unique();
    mutex_.Unlock();
    work_(std::move(job.packet));
    mutex_.Lock();
    self.busy = false;
    ++idle_;
    --group.running;
    Forget(job.group);
  }
  mutex_.Unlock();
}

Packet OffloadPool::Withdraw(const std::deque<Queued>::iterator& at) {
  Packet packet = std::move(at->packet);
  const uint32_t group = at->group;
  queue_.erase(at);
  --groups_[group].queued;
  Forget(group);
  return packet;
}

bool OffloadPool::Interrupt(Unique target) {
  mutex_.Lock();
  for (auto it = queue_.begin(); it != queue_.end(); ++it) {
    if (it->packet.token.unique() != target) continue;
    it->interrupted = true;
    if (!MayEnd(*it)) {
      mutex_.Unlock();
      return true;
    }
    Packet packet = Withdraw(it);
    mutex_.Unlock();
    CallOff(packet);
    return true;
  }
  bool found = false;
  for (Running& running : running_) {
    if (!running.busy || running.unique != target) continue;
    running.interrupted = true;
    pthread_kill(running.thread, InterruptSignal());
    found = true;
  }
  mutex_.Unlock();
  return found;
}

void OffloadPool::Tick() {
  std::vector<Packet> ended;
  {
    absl::MutexLock lock(&mutex_);
    for (Running& running : running_) {
      if (running.busy && running.interrupted) {
        pthread_kill(running.thread, InterruptSignal());
      }
    }
    for (size_t i = queue_.size(); i-- > 0;) {
      auto it = queue_.begin() + static_cast<ptrdiff_t>(i);
      if (MayEnd(*it)) ended.push_back(Withdraw(it));
    }
  }
  for (Packet& packet : ended) CallOff(packet);
}

bool OffloadPool::Drain(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  auto calm = [this] {
    mutex_.AssertHeld();
    if (!queue_.empty()) return false;
    for (const Running& running : running_) {
      if (running.busy) return false;
    }
    return true;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&calm), timeout);
}

}  // namespace handlefs::io

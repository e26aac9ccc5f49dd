#include "daemon/lock_waiters.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "io/thread_defaults.h"

namespace handlefs {
namespace {
constexpr absl::Duration kFirstPause = absl::Milliseconds(1);
constexpr absl::Duration kLongestPause = absl::Milliseconds(32);
}  // namespace

LockWaiters::~LockWaiters() {
  std::thread thread;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    thread.swap(thread_);
    changed_.SignalAll();
  }
  if (thread.joinable()) thread.join();
  absl::MutexLock lock(&mutex_);
  for (Waiter& waiter : waiters_) waiter.reply.Send(Errno(EINTR));
}

void LockWaiters::Add(NodeId node, io::LateReply reply, Attempt attempt) {
  absl::MutexLock lock(&mutex_);
  auto early = std::find(early_.begin(), early_.end(), Raw(reply.unique()));
  if (early != early_.end()) {
    *early = 0;
    reply.Send(Errno(EINTR));
    return;
  }
  // It may have become free since the first try, before anybody could wake us.
  waiters_.push_back(Waiter{.node = node,
                            .reply = std::move(reply),
                            .attempt = std::move(attempt),
                            .next = absl::InfinitePast(),
                            .pause = kFirstPause});
  if (!thread_.joinable()) {
    thread_ = std::thread([this] {
      io::ThreadDefaults::Take();
      Serve();
    });
  }
  changed_.Signal();
}

void LockWaiters::Wake(NodeId node) {
  absl::MutexLock lock(&mutex_);
  bool found = false;
  for (Waiter& waiter : waiters_) {
    if (waiter.node != node) continue;
    waiter.next = absl::InfinitePast();
    waiter.pause = kFirstPause;
    found = true;
  }
  if (found) changed_.Signal();
}

bool LockWaiters::End(Unique target) {
  for (auto it = waiters_.begin(); it != waiters_.end(); ++it) {
    if (it->reply.unique() != target) continue;
    it->reply.Send(Errno(EINTR));
    waiters_.erase(it);
    return true;
  }
  return false;
}

bool LockWaiters::Interrupt(Unique target) {
  absl::MutexLock lock(&mutex_);
  return End(target);
}

void LockWaiters::NoteEarlyInterrupt(Unique target) {
  absl::MutexLock lock(&mutex_);
  // It may have come here since it was looked for.
  if (End(target)) return;
  early_[early_next_++ % early_.size()] = Raw(target);
}

size_t LockWaiters::size() {
  absl::MutexLock lock(&mutex_);
  return waiters_.size();
}

absl::Time LockWaiters::NextTime() {
  absl::Time next = absl::InfiniteFuture();
  for (const Waiter& waiter : waiters_) next = std::min(next, waiter.next);
  return next;
}

void LockWaiters::Serve() {
  thread_start_();
  absl::MutexLock lock(&mutex_);
  while (!stopping_) {
    absl::Time next = NextTime();
    absl::Time now = absl::Now();
    if (next > now) {
      changed_.WaitWithDeadline(&mutex_, next);
      continue;
    }
    // The attempts are non-blocking system calls; the lock is held through
    // them, so that an INTERRUPT finds its request or its answer was sent.
    for (auto it = waiters_.begin(); it != waiters_.end();) {
      if (it->next > now) {
        ++it;
        continue;
      }
      Status status = it->attempt();
      if (!status.ok() && status.error() == Errno(EAGAIN)) {
        it->next = now + it->pause;
        it->pause = std::min(it->pause * 2, kLongestPause);
        ++it;
        continue;
      }
      it->reply.Send(status);
      it = waiters_.erase(it);
    }
  }
}

}  // namespace handlefs

// Threads for requests that would wait: what a reader may not do. Bounded in
// all, and for each group (a host file system) while there are several. A group
// that is alone may take every thread; half as many more are kept for others
// that come meanwhile, so that one hung file system does not hold them up.
//
// A request waits in the queue or runs; INTERRUPT reaches it in both: queued,
// it is answered EINTR as soon as it may be (MayCallOff); running, its thread
// gets a signal until the system call returns, and the host decides.
#ifndef HANDLEFS_IO_OFFLOAD_H_
#define HANDLEFS_IO_OFFLOAD_H_

#include <pthread.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "io/transport.h"

namespace handlefs::io {

// The signal that ends a system call with EINTR. It does nothing else; its
// handler is installed without SA_RESTART by the first pool.
int InterruptSignal();

class OffloadPool {
 public:
  using Work = std::function<void(Packet)>;
  // `start` runs once on each thread; `work` runs for each packet and must use
  // its token.
  OffloadPool(unsigned threads, std::function<void()> start, Work work);
  // Waits for what runs and answers EINTR to what is queued.
  ~OffloadPool();

  // Told of each queued request that is called off, before its answer. Set
  // before the first Submit.
  void OnCalledOff(std::function<void(const Packet&, Errno)> tell) {
    tell_ = std::move(tell);
  }
  // Whether a queued request that was interrupted need not be done any more:
  // asked at once and at each tick. Any may, if not set; before the first
  // Submit.
  void MayCallOff(std::function<bool(const Packet&)> may) {
    may_call_off_ = std::move(may);
  }
  // `group` tells file systems apart.
  void Submit(uint32_t group, Packet packet);
  // True if the request was found here.
  bool Interrupt(Unique target);
  // Repeats the signal to interrupted threads: it may have come just before
  // their system call began. Looks again at what is queued and interrupted.
  // Called by the watchdog.
  void Tick();
  // Waits until nothing is queued or running, at most for `timeout`.
  bool Drain(absl::Duration timeout);

 private:
  struct Queued {
    uint32_t group;
    Packet packet;
    bool interrupted = false;
  };
  struct Running {
    bool busy = false;
    Unique unique{0};
    bool interrupted = false;
    pthread_t thread{};
  };

  // Forgotten when both are 0.
  struct Group {
    unsigned queued = 0;
    unsigned running = 0;
  };

  bool MayEnd(const Queued& queued) const {
    return queued.interrupted &&
           (!may_call_off_ || may_call_off_(queued.packet));
  }
  // Takes it from the queue.
  Packet Withdraw(const std::deque<Queued>::iterator& at)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CallOff(Packet& packet) const;
  void Serve(Running& self);
  // Starts threads for what may run and has none.
  void Staff() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget(uint32_t group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  unsigned GroupLimit() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::deque<Queued>::iterator Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || Next() != queue_.end();
  }

  const unsigned limit_;
  const std::function<void()> start_;
  const Work work_;
  std::function<void(const Packet&, Errno)> tell_;
  std::function<bool(const Packet&)> may_call_off_;
  absl::Mutex mutex_;
  std::deque<Queued> queue_ ABSL_GUARDED_BY(mutex_);
  std::deque<Running> running_ ABSL_GUARDED_BY(mutex_);  // one a thread
  std::map<uint32_t, Group> groups_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  unsigned idle_ ABSL_GUARDED_BY(mutex_) = 0;  // or about to be
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_OFFLOAD_H_

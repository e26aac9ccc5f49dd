// Serving threads that give way to their clients. A reply wakes a client whose
// CPU is still taken by the thread that serves: so it is put on another CPU,
// and the next request has to follow it there, or to be waited for from there.
// That costs more than the request. A CPU that runs only threads of the class
// SCHED_IDLE counts as free: the client goes on where it was (Linux 5.4).
//
// Among threads of the normal class one of SCHED_IDLE hardly runs. So it is
// that only while requests come fast, and no longer than for a tick if it has
// to wait for its CPU (the kernel counts for how long, in schedstat).
#ifndef HANDLEFS_IO_YIELDING_H_
#define HANDLEFS_IO_YIELDING_H_

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "io/base/fd.h"

namespace handlefs::io {

enum class Scheduling { kNormal, kAuto };

// Whether so many requests come that it matters where clients wake up.
enum class Pace { kSlow, kFast };

class PaceMeter {
 public:
  // The requests of all threads in this tick.
  Pace Tick(uint64_t requests);

 private:
  int fast_ticks_ = 0;  // in a row
};

// When one thread yields. No system calls.
class YieldRule {
 public:
  // `delay`: how long the thread could have run in this tick and did not.
  // True: it shall yield in the next one.
  bool Tick(Pace pace, uint64_t requests, std::chrono::nanoseconds delay);

 private:
  bool yields_ = false;
  int lasted_ = 0;      // ticks since it began to
  int pause_ = 0;       // ticks until it may again
  int next_pause_ = 0;  // if it has to wait again
};

// How long a thread waited for its CPU: the second number of its schedstat
// (time on the CPU, time waiting for it, turns). Nothing where the kernel shows
// the file and counts nothing.
std::optional<std::chrono::nanoseconds> DelayIn(std::string_view schedstat);

// Belongs to the watchdog, but for Attach and yields().
class Yielder {
 public:
  // Why no thread of this process can yield, if so: the class could not be left
  // again, or nobody would know when it should be.
  static std::string_view WhyNot();
  // Called by the thread that is to yield, before the first Tick. Without it,
  // or with a reason not to, nothing is ever done.
  void Attach();
  // `requests`: that the thread began since the last tick.
  void Tick(Pace pace, uint64_t requests);
  void Stop();
  bool yields() const { return yields_.load(std::memory_order_relaxed); }

 private:
  bool OpenSchedstat();
  std::optional<std::chrono::nanoseconds> Delay() const;

  std::atomic<pid_t> tid_{0};  // set when the rest is
  UniqueFd schedstat_;
  std::chrono::nanoseconds delay_{};  // at the last tick
  YieldRule rule_;
  std::atomic<bool> yields_{false};
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_YIELDING_H_

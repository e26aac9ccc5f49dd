#include "io/yielding.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <thread>
#include <utility>

namespace handlefs::io {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// Requests in a tick of 10 ms: fewer are not worth it.
constexpr uint64_t kMany = 64;
constexpr uint64_t kFew = 32;
constexpr int kFastTicks = 3;

// What a client may do between two requests on the thread's CPU.
constexpr nanoseconds kThinking = microseconds(50);
// More than that of a tick spent waiting: others want the CPU.
constexpr nanoseconds kMuch = milliseconds(5);
constexpr int kFirstPause = 100;
constexpr int kLongestPause = 6400;

bool SetPolicy(pid_t tid, int policy) {
  sched_param none{};
  return sched_setscheduler(tid, policy, &none) == 0;
}

}  // namespace

Pace PaceMeter::Tick(uint64_t requests) {
  const bool was_fast = fast_ticks_ >= kFastTicks;
  fast_ticks_ = requests >= (was_fast ? kFew : kMany) ? fast_ticks_ + 1 : 0;
  return fast_ticks_ >= kFastTicks ? Pace::kFast : Pace::kSlow;
}

bool YieldRule::Tick(Pace pace, uint64_t requests, nanoseconds delay) {
  if (!yields_) {
    pause_ = std::max(pause_ - 1, 0);
    yields_ = pace == Pace::kFast && pause_ == 0;
    lasted_ = 0;
    return yields_;
  }
  if (++lasted_ >= kFirstPause) next_pause_ = 0;
  if (delay > kMuch + kThinking * requests) {
    yields_ = false;
    next_pause_ = std::clamp(next_pause_ * 2, kFirstPause, kLongestPause);
    pause_ = next_pause_;
  } else {
    yields_ = pace == Pace::kFast;
  }
  return yields_;
}

// Tried on a thread that may stay in the class.
bool Yielder::IsPossible() {
  bool can_return = false;
  if (sched_getscheduler(0) == SCHED_OTHER) {
    std::thread([&can_return] {
      can_return = SetPolicy(0, SCHED_IDLE) && SetPolicy(0, SCHED_OTHER);
    }).join();
  }
  return can_return;
}

void Yielder::Attach() {
  if (!IsPossible()) return;
  schedstat_.reset(open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC));
  if (auto delay = Delay()) {
    delay_ = *delay;
    tid_.store(gettid());
  }
}

// The second of three numbers: time on the CPU, time waiting for it, turns.
std::optional<nanoseconds> Yielder::Delay() const {
  std::array<char, 96> text;
  ssize_t n = pread(schedstat_.get(), text.data(), text.size(), 0);
  if (n <= 0) return std::nullopt;
  const char* end = text.data() + n;
  const char* space = std::find<const char*>(text.data(), end, ' ');
  if (space == end) return std::nullopt;
  int64_t delay = 0;
  if (std::from_chars(space + 1, end, delay).ec != std::errc()) {
    return std::nullopt;
  }
  return nanoseconds(delay);
}

void Yielder::Tick(Pace pace, uint64_t requests) {
  const pid_t tid = tid_.load();
  if (tid == 0 || (pace == Pace::kSlow && !yields())) return;
  const auto before = std::exchange(delay_, Delay().value_or(delay_));
  const bool yields = rule_.Tick(pace, requests, delay_ - before);
  if (yields == yields_.load()) return;
  if (SetPolicy(tid, yields ? SCHED_IDLE : SCHED_OTHER)) {
    yields_.store(yields);
  }
}

void Yielder::Stop() {
  if (yields() && SetPolicy(tid_, SCHED_OTHER)) yields_.store(false);
}

}  // namespace handlefs::io

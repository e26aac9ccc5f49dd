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
// More than that of a tick spent waiting: others want the CPU. The shorter one
// for who has little to do, and would make each of a few clients wait.
constexpr nanoseconds kMuch = milliseconds(5);
constexpr nanoseconds kMuchForFew = milliseconds(1);
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
    // Who waits as a normal thread already would wait for long.
    yields_ = pace == Pace::kFast && pause_ == 0 && delay <= kMuchForFew;
    lasted_ = 0;
    return yields_;
  }
  if (++lasted_ >= kFirstPause) next_pause_ = 0;
  const nanoseconds much = requests < kFew ? kMuchForFew : kMuch;
  if (delay > much + kThinking * requests) {
    yields_ = false;
    next_pause_ = std::clamp(next_pause_ * 2, kFirstPause, kLongestPause);
    pause_ = next_pause_;
  } else {
    yields_ = pace == Pace::kFast;
  }
  return yields_;
}

std::optional<nanoseconds> DelayIn(std::string_view schedstat) {
  std::array<int64_t, 3> numbers{};
  const char* at = schedstat.data();
  const char* const end = at + schedstat.size();
  for (int64_t& number : numbers) {
    auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc()) return std::nullopt;
    at = next == end ? end : next + 1;
  }
  // A thread that reads this has had a turn.
  if (numbers[2] == 0) return std::nullopt;
  return nanoseconds(numbers[1]);
}

std::string_view Yielder::WhyNot() {
  if (sched_getscheduler(0) != SCHED_OTHER) {
    return "the server was not started in the normal class";
  }
  std::string_view why_not;
  // On a thread that may stay in the class.
  std::thread([&why_not] {
    Yielder yielder;
    if (!SetPolicy(0, SCHED_IDLE) || !SetPolicy(0, SCHED_OTHER)) {
      why_not = "it needs CAP_SYS_NICE";
    } else if (!yielder.OpenSchedstat()) {
      why_not =
          "the kernel does not tell for how long threads wait "
          "(/proc/thread-self/schedstat)";
    }
  }).join();
  return why_not;
}

bool Yielder::OpenSchedstat() {
  schedstat_.reset(open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC));
  auto delay = Delay();
  if (delay) delay_ = *delay;
  return delay.has_value();
}

void Yielder::Attach() {
  if (WhyNot().empty() && OpenSchedstat()) tid_.store(gettid());
}

std::optional<nanoseconds> Yielder::Delay() const {
  std::array<char, 96> text;
  ssize_t n = pread(schedstat_.get(), text.data(), text.size(), 0);
  if (n <= 0) return std::nullopt;
  return DelayIn({text.data(), static_cast<size_t>(n)});
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

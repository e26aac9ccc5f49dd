// Threads that give way: when, and what becomes of them.
#include "io/yielding.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <string>
#include <thread>

#include "io/follower.h"
#include "io/thread_defaults.h"
#include "waiting.h"

namespace handlefs::test {
namespace {

using io::FollowRule;
using io::Pace;
using io::PaceMeter;
using io::Yielder;
using io::YieldRule;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr nanoseconds kNone{0};

TEST_CASE("the pace is fast after some ticks, and slow after one",
          "[yielding]") {
  PaceMeter meter;
  CHECK(meter.Tick(1000) == Pace::kSlow);
  CHECK(meter.Tick(1000) == Pace::kSlow);
  CHECK(meter.Tick(63) == Pace::kSlow);
  CHECK(meter.Tick(64) == Pace::kSlow);
  CHECK(meter.Tick(64) == Pace::kSlow);
  CHECK(meter.Tick(64) == Pace::kFast);
  CHECK(meter.Tick(32) == Pace::kFast);
  CHECK(meter.Tick(31) == Pace::kSlow);
  CHECK(meter.Tick(1000) == Pace::kSlow);
}

// Ticks until it yields again.
int PauseOf(YieldRule& rule) {
  int ticks = 1;
  while (!rule.Tick(Pace::kFast, 100, kNone) && ticks < 100'000) ++ticks;
  return ticks;
}

TEST_CASE("a thread yields while requests come fast", "[yielding]") {
  YieldRule rule;
  CHECK_FALSE(rule.Tick(Pace::kSlow, 0, kNone));
  CHECK(rule.Tick(Pace::kFast, 100, kNone));
  // Each request may have left it waiting while its client was at work.
  CHECK(rule.Tick(Pace::kFast, 100, microseconds(100 * 50)));
  CHECK_FALSE(rule.Tick(Pace::kSlow, 10, kNone));
  CHECK(rule.Tick(Pace::kFast, 100, kNone));
}

TEST_CASE("a thread that waits as it is does not begin to", "[yielding]") {
  YieldRule rule;
  CHECK_FALSE(rule.Tick(Pace::kFast, 100, microseconds(1100)));
  CHECK(rule.Tick(Pace::kFast, 100, microseconds(1000)));
}

TEST_CASE("a thread with few requests may not wait for long", "[yielding]") {
  YieldRule rule;
  REQUIRE(rule.Tick(Pace::kFast, 1, kNone));
  CHECK(rule.Tick(Pace::kFast, 1, microseconds(1000)));
  CHECK(rule.Tick(Pace::kFast, 32, microseconds(5000)));
  CHECK_FALSE(rule.Tick(Pace::kFast, 1, microseconds(1100)));
}

TEST_CASE("a thread that had to wait yields no more for a while",
          "[yielding]") {
  YieldRule rule;
  REQUIRE(rule.Tick(Pace::kFast, 100, kNone));
  CHECK_FALSE(rule.Tick(Pace::kFast, 10, milliseconds(9)));
  CHECK(PauseOf(rule) == 100);
  SECTION("for longer each time, up to a minute") {
    for (int pause : {200, 400, 800, 1600, 3200, 6400, 6400}) {
      CHECK_FALSE(rule.Tick(Pace::kFast, 10, milliseconds(9)));
      CHECK(PauseOf(rule) == pause);
    }
  }
  SECTION("unless it went well for a second") {
    for (int i = 0; i < 100; ++i) CHECK(rule.Tick(Pace::kFast, 100, kNone));
    CHECK_FALSE(rule.Tick(Pace::kFast, 10, milliseconds(9)));
    CHECK(PauseOf(rule) == 100);
  }
  SECTION("also if requests stopped meanwhile") {
    CHECK_FALSE(rule.Tick(Pace::kFast, 10, milliseconds(9)));
    for (int i = 0; i < 50; ++i) rule.Tick(Pace::kSlow, 0, kNone);
    CHECK(PauseOf(rule) == 150);
  }
}

cpu_set_t Only(size_t cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return set;
}

size_t FirstCpu() {
  cpu_set_t cpus;
  sched_getaffinity(0, sizeof(cpus), &cpus);
  size_t first = 0;
  while (!CPU_ISSET(first, &cpus)) ++first;
  return first;
}

TEST_CASE("the delay in schedstat", "[yielding]") {
  using io::DelayIn;
  CHECK(DelayIn("12 345 6\n") == nanoseconds(345));
  CHECK(DelayIn("12 0 1\n") == kNone);
  CHECK_FALSE(DelayIn("0 0 0\n"));
  CHECK_FALSE(DelayIn("12 345\n"));
  CHECK_FALSE(DelayIn("12 345 "));
  CHECK_FALSE(DelayIn("12"));
  CHECK_FALSE(DelayIn("x 1 1"));
  CHECK_FALSE(DelayIn(""));
}

TEST_CASE("a server of another class is left as it is", "[yielding]") {
  std::string_view why;
  Yielder yielder;
  std::thread([&] {
    const sched_param none{};
    REQUIRE(sched_setscheduler(0, SCHED_BATCH, &none) == 0);
    why = Yielder::WhyNot();
    yielder.Attach();
    yielder.Tick(Pace::kFast, 100);
  }).join();
  CHECK(why.find("normal class") != why.npos);
  CHECK_FALSE(yielder.yields());
}

// A thread that never sleeps, on the first CPU that there is for this process.
class Spinner {
 public:
  explicit Spinner(Yielder* yielder = nullptr) {
    thread_ = std::thread([this, yielder] {
      const cpu_set_t first = Only(FirstCpu());
      sched_setaffinity(0, sizeof(first), &first);
      if (yielder != nullptr) yielder->Attach();
      tid_ = gettid();
      while (!stop_.load(std::memory_order_relaxed)) {
      }
    });
    while (tid_ == 0) std::this_thread::yield();
  }
  ~Spinner() {
    stop_ = true;
    thread_.join();
  }
  int policy() const { return sched_getscheduler(tid_) & ~SCHED_RESET_ON_FORK; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<pid_t> tid_{0};
  std::thread thread_;
};

// In a container, say, it may not be possible.
bool CanYield() {
  const std::string why(Yielder::WhyNot());
  if (!why.empty()) WARN("not tried: " << why);
  return why.empty();
}

TEST_CASE("the class of a thread changes and comes back", "[yielding]") {
  if (!CanYield()) return;
  Yielder yielder;
  Spinner spinner(&yielder);
  CHECK(spinner.policy() == SCHED_OTHER);
  yielder.Tick(Pace::kSlow, 0);
  CHECK(spinner.policy() == SCHED_OTHER);
  // So many requests that no delay on a busy machine is too long.
  constexpr uint64_t kMany = 1'000'000;
  yielder.Tick(Pace::kFast, kMany);
  CHECK(yielder.yields());
  CHECK(spinner.policy() == SCHED_IDLE);
  SECTION("when requests come slowly") { yielder.Tick(Pace::kSlow, kMany); }
  SECTION("when the watchdog ends") { yielder.Stop(); }
  CHECK_FALSE(yielder.yields());
  CHECK(spinner.policy() == SCHED_OTHER);
}

TEST_CASE("a thread that is starved is normal again", "[yielding]") {
  if (!CanYield()) return;
  Yielder yielder;
  Spinner spinner(&yielder);
  Spinner hog;
  yielder.Tick(Pace::kFast, 100);
  REQUIRE(spinner.policy() == SCHED_IDLE);
  CHECK(Eventually([&] {
    yielder.Tick(Pace::kFast, 1);
    return spinner.policy() == SCHED_OTHER;
  }));
  CHECK_FALSE(yielder.yields());
}

TEST_CASE("threads of a thread that yields are normal ones", "[yielding]") {
  if (!CanYield()) return;
  io::ThreadDefaults::Remember();
  cpu_set_t home, cpus;
  REQUIRE(sched_getaffinity(0, sizeof(home), &home) == 0);
  int inherited = -1, taken = -1;
  std::thread([&] {
    const cpu_set_t here = Only(FirstCpu());
    sched_setaffinity(0, sizeof(here), &here);
    Yielder yielder;
    yielder.Attach();
    yielder.Tick(Pace::kFast, 100);
    std::thread([&] {
      inherited = sched_getscheduler(0);
      io::ThreadDefaults::Take();
      taken = sched_getscheduler(0);
      sched_getaffinity(0, sizeof(cpus), &cpus);
    }).join();
  }).join();
  CHECK(inherited == SCHED_IDLE);
  CHECK(taken == SCHED_OTHER);
  CHECK(CPU_EQUAL(&cpus, &home));
}

TEST_CASE("a thread that did not attach is left alone", "[yielding]") {
  Yielder yielder;
  Spinner spinner;
  yielder.Tick(Pace::kFast, 100);
  CHECK_FALSE(yielder.yields());
  CHECK(spinner.policy() == SCHED_OTHER);
}

TEST_CASE("the CPU in /proc/PID/stat", "[yielding]") {
  using io::CpuInStat;
  const std::string head = "12 (a b) c) R";
  auto fields = [&](int count, const std::string& last) {
    std::string text = head;
    for (int i = 0; i < count; ++i) text += " " + std::to_string(100 + i);
    return text + " " + last + " 0 0\n";
  };
  CHECK(CpuInStat(fields(35, "7")) == 7);
  CHECK(CpuInStat(fields(35, "0")) == 0);
  CHECK_FALSE(CpuInStat(fields(35, "-1")));
  CHECK_FALSE(CpuInStat(fields(35, "99999")));
  CHECK_FALSE(CpuInStat(head));
  CHECK_FALSE(CpuInStat("12 (name)"));
  CHECK_FALSE(CpuInStat(""));

  // This thread's own, where it can only be one.
  cpu_set_t home, one;
  REQUIRE(sched_getaffinity(0, sizeof(home), &home) == 0);
  size_t last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(last, &home)) --last;
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  REQUIRE(sched_setaffinity(0, sizeof(one), &one) == 0);
  std::ifstream file("/proc/thread-self/stat");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  sched_setaffinity(0, sizeof(home), &home);
  CHECK(CpuInStat(text) == static_cast<int>(last));
}

TEST_CASE("a client is looked for when it is alone and far", "[yielding]") {
  FollowRule rule;
  FollowRule::Clock::time_point now{};
  auto ask = [&](uint32_t client, microseconds since) {
    return rule.OnRequest(client, now += since);
  };
  constexpr microseconds kNear(10), kFar(40);
  for (int i = 0; i < 32; ++i) REQUIRE_FALSE(ask(7, kFar));
  CHECK_FALSE(ask(7, kNear));
  CHECK(ask(7, kFar));
  SECTION("less and less often if it is here all the same") {
    for (int skipped : {1, 3, 7, 15, 31, 63, 64, 64}) {
      rule.FoundHere();
      for (int i = 0; i < skipped; ++i) REQUIRE_FALSE(ask(7, kFar));
      REQUIRE(ask(7, kFar));
    }
  }
  SECTION("soon again if it was not") {
    rule.FoundElsewhere();
    for (int i = 0; i < 8; ++i) REQUIRE_FALSE(ask(7, kFar));
    CHECK(ask(7, kFar));
  }
  SECTION("not with another one beside it") {
    CHECK_FALSE(ask(8, kFar));
    for (int i = 0; i < 32; ++i) REQUIRE_FALSE(ask(7, kFar));
    CHECK(ask(7, kFar));
  }
}

TEST_CASE("a thread follows its client, and is released", "[yielding]") {
  cpu_set_t home;
  REQUIRE(sched_getaffinity(0, sizeof(home), &home) == 0);
  const size_t first = FirstCpu();
  size_t last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(last, &home)) --last;
  if (first == last) {
    WARN("not tried: there is one CPU, and nobody to follow");
    return;
  }
  const cpu_set_t here = Only(first), there = Only(last);
  std::atomic<pid_t> client{0};
  std::atomic<bool> stop{false};
  std::thread other([&] {
    sched_setaffinity(0, sizeof(there), &there);
    client = gettid();
    while (!stop) std::this_thread::sleep_for(milliseconds(1));
  });
  while (client == 0) std::this_thread::yield();
  bool followed = false;
  cpu_set_t after;
  std::thread([&] {
    io::Follower follower;
    follower.Attach();
    sched_setaffinity(0, sizeof(here), &here);
    followed = Eventually([&] {
      follower.OnRequest(static_cast<uint32_t>(client.load()));
      cpu_set_t now;
      sched_getaffinity(0, sizeof(now), &now);
      return CPU_EQUAL(&now, &there) != 0;
    });
    follower.Release();
    sched_getaffinity(0, sizeof(after), &after);
  }).join();
  stop = true;
  other.join();
  CHECK(followed);
  CHECK(CPU_EQUAL(&after, &home));
}

}  // namespace
}  // namespace handlefs::test

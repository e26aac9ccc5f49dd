// The pool for requests that wait.
#include "io/offload.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "fakes.h"
#include "waiting.h"

namespace handlefs::test {
namespace {

using io::OffloadPool;
using io::Packet;

void Nothing() {}

// Work that waits at a gate if its unique says so, and knows who runs.
class Workshop {
 public:
  // Requests from here on wait until Release.
  static constexpr uint64_t kWaits = 1000;

  void operator()(Packet packet) {
    const uint64_t unique = Raw(packet.token.unique());
    {
      std::lock_guard lock(mutex_);
      running_.insert(unique);
      most_ = std::max(most_, running_.size());
      threads_.insert(std::this_thread::get_id());
    }
    if (unique >= kWaits) gate_.Wait();
    {
      std::lock_guard lock(mutex_);
      running_.erase(unique);
    }
    packet.token.Reply(0);
  }
  void Release() { gate_.Open(); }
  bool Runs(uint64_t unique) {
    std::lock_guard lock(mutex_);
    return running_.contains(unique);
  }
  size_t Running() {
    std::lock_guard lock(mutex_);
    return running_.size();
  }
  size_t MostAtOnce() {
    std::lock_guard lock(mutex_);
    return most_;
  }
  size_t Threads() {
    std::lock_guard lock(mutex_);
    return threads_.size();
  }
  OffloadPool::Work work() {
    return [this](Packet packet) { (*this)(std::move(packet)); };
  }

 private:
  std::mutex mutex_;
  std::set<uint64_t> running_;
  std::set<std::thread::id> threads_;
  size_t most_ = 0;
  Gate gate_;
};

TEST_CASE("everything that is submitted runs once", "[offload]") {
  Answers answers;
  Workshop shop;
  std::atomic<size_t> started{0};
  OffloadPool pool(
      4, [&] { started.fetch_add(1); }, shop.work());
  for (uint64_t unique = 2; unique <= 600; unique += 2) {
    pool.Submit(static_cast<uint32_t>(unique % 3), answers.MakePacket(unique));
  }
  CHECK(Eventually([&] { return answers.size() == 300; }));
  CHECK(pool.Drain(absl::InfiniteDuration()));
  CHECK(answers.twice() == 0);
  CHECK(answers.Of(600) == 0);
  // Half as many again for several groups.
  CHECK(shop.MostAtOnce() <= 6);
  CHECK(started >= shop.Threads());
  CHECK(started <= 6);
}

TEST_CASE("a full pool lets the rest wait", "[offload]") {
  Answers answers;
  Workshop shop;
  OffloadPool pool(2, Nothing, shop.work());
  for (uint64_t i = 0; i < 6; ++i) {
    pool.Submit(0, answers.MakePacket(Workshop::kWaits + i));
  }
  CHECK(Eventually([&] { return shop.Running() == 2; }));
  CHECK(answers.size() == 0);
  CHECK_FALSE(pool.Drain(absl::ZeroDuration()));
  shop.Release();
  CHECK(pool.Drain(absl::InfiniteDuration()));
  CHECK(answers.size() == 6);
  CHECK(shop.MostAtOnce() == 2);
}

TEST_CASE("one idle thread is not enough for two requests", "[offload]") {
  // The first of a burst waits for the second: both must get a thread.
  Answers answers;
  Gate second;
  std::atomic<bool> met{false};
  OffloadPool pool(4, Nothing, [&](Packet packet) {
    if (packet.token.unique() == Unique{4}) met = second.Wait();
    if (packet.token.unique() == Unique{6}) second.Open();
    packet.token.Reply(0);
  });
  pool.Submit(0, answers.MakePacket(2));
  CHECK(pool.Drain(absl::InfiniteDuration()));
  pool.Submit(0, answers.MakePacket(4));
  pool.Submit(0, answers.MakePacket(6));
  CHECK(pool.Drain(absl::InfiniteDuration()));
  CHECK(met);
}

TEST_CASE("a group that takes every thread does not hold up others",
          "[offload]") {
  Answers answers;
  Workshop shop;
  OffloadPool pool(4, Nothing, shop.work());
  for (uint64_t i = 0; i < 8; ++i) {
    pool.Submit(7, answers.MakePacket(Workshop::kWaits + i));
  }
  CHECK(Eventually([&] { return shop.Running() == 4; }));
  // Behind all of those, and not held up by them.
  pool.Submit(1, answers.MakePacket(2));
  CHECK(Eventually([&] { return answers.Of(2).has_value(); }));
  CHECK(answers.size() == 1);
  CHECK(shop.Running() == 4);
  shop.Release();
  CHECK(pool.Drain(absl::InfiniteDuration()));
  CHECK(answers.size() == 9);
  CHECK(shop.MostAtOnce() <= 6);
}

TEST_CASE("groups share the threads while they are several", "[offload]") {
  Answers answers;
  Workshop shop;
  Gate other;
  OffloadPool pool(4, Nothing, [&](Packet packet) {
    if (packet.token.unique() == Unique{2}) other.Wait();
    shop(std::move(packet));
  });
  pool.Submit(1, answers.MakePacket(2));
  for (uint64_t i = 0; i < 4; ++i) {
    pool.Submit(7, answers.MakePacket(Workshop::kWaits + i));
  }
  CHECK(Eventually([&] { return shop.Running() == 2; }));
  // A thread is free, and not for them.
  pool.Submit(1, answers.MakePacket(4));
  CHECK(Eventually([&] { return answers.Of(4).has_value(); }));
  CHECK(shop.Running() == 2);

  // The other one has nothing to do any more: it does not count.
  other.Open();
  CHECK(Eventually([&] { return shop.Running() == 4; }));
  shop.Release();
  CHECK(pool.Drain(absl::InfiniteDuration()));
  CHECK(answers.size() == 6);
}

TEST_CASE("a group whose last request is called off is forgotten",
          "[offload]") {
  Answers answers;
  Workshop shop;
  OffloadPool pool(1, Nothing, shop.work());
  pool.Submit(7, answers.MakePacket(Workshop::kWaits));
  pool.Submit(7, answers.MakePacket(Workshop::kWaits + 1));
  // Found in the queue or at work: one of them runs.
  CHECK(Eventually([&] { return shop.Running() == 1; }));
  CHECK(pool.Interrupt(Unique{Workshop::kWaits + 1}));
  shop.Release();
  CHECK(pool.Drain(absl::InfiniteDuration()));
  pool.Submit(1, answers.MakePacket(2));
  CHECK(pool.Drain(absl::InfiniteDuration()));
  CHECK(answers.Of(2) == 0);
  CHECK(answers.twice() == 0);
}

TEST_CASE("INTERRUPT of a queued request answers it", "[offload]") {
  Answers answers;
  Workshop shop;
  OffloadPool pool(1, Nothing, shop.work());
  std::vector<uint64_t> called_off;
  pool.OnCalledOff([&](const Packet& packet, Errno error) {
    CHECK(error == Errno(EINTR));
    CHECK_FALSE(answers.Of(Raw(packet.token.unique())));
    called_off.push_back(Raw(packet.token.unique()));
  });
  pool.Submit(0, answers.MakePacket(Workshop::kWaits));
  CHECK(Eventually([&] { return shop.Runs(Workshop::kWaits); }));
  pool.Submit(0, answers.MakePacket(2));
  pool.Submit(0, answers.MakePacket(4));
  CHECK(pool.Interrupt(Unique{4}));
  CHECK(answers.Of(4) == EINTR);
  CHECK(called_off == std::vector<uint64_t>{4});
  CHECK_FALSE(answers.Of(2));
  shop.Release();
  CHECK(pool.Drain(absl::InfiniteDuration()));
  CHECK(answers.Of(2) == 0);
  CHECK(answers.twice() == 0);
}

TEST_CASE("what must not be called off is done after INTERRUPT", "[offload]") {
  Answers answers;
  Workshop shop;
  std::atomic<uint64_t> dying{0};
  OffloadPool pool(1, Nothing, shop.work());
  pool.MayCallOff([&](const Packet& packet) {
    return Raw(packet.token.unique()) == dying;
  });
  pool.Submit(0, answers.MakePacket(Workshop::kWaits));
  CHECK(Eventually([&] { return shop.Runs(Workshop::kWaits); }));
  pool.Submit(0, answers.MakePacket(2));
  pool.Submit(0, answers.MakePacket(4));
  pool.Submit(0, answers.MakePacket(6));
  CHECK(pool.Interrupt(Unique{2}));
  CHECK(pool.Interrupt(Unique{4}));
  pool.Tick();
  CHECK_FALSE(answers.Of(2));
  CHECK_FALSE(answers.Of(4));
  // Nobody sends a second INTERRUPT when the client is killed at last.
  dying = 6;
  pool.Tick();
  CHECK_FALSE(answers.Of(6));  // nobody called it off
  dying = 4;
  pool.Tick();
  CHECK(answers.Of(4) == EINTR);
  CHECK_FALSE(answers.Of(2));
  shop.Release();
  CHECK(pool.Drain(absl::InfiniteDuration()));
  CHECK(answers.Of(2) == 0);
  CHECK(answers.Of(6) == 0);
  CHECK(answers.twice() == 0);
}

TEST_CASE("INTERRUPT of what is not here finds nothing", "[offload]") {
  Answers answers;
  Workshop shop;
  OffloadPool pool(2, Nothing, shop.work());
  CHECK_FALSE(pool.Interrupt(Unique{2}));
  pool.Submit(0, answers.MakePacket(2));
  CHECK(pool.Drain(absl::InfiniteDuration()));
  CHECK_FALSE(pool.Interrupt(Unique{2}));
  pool.Tick();
}

struct BlockedRead {
  BlockedRead() {
    int fds[2];
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    out = UniqueFd(fds[0]);
    in = UniqueFd(fds[1]);
  }
  void operator()(Packet packet) {
    tid = gettid();
    if (before) before->Wait();
    char byte;
    ssize_t n = read(out.get(), &byte, 1);
    if (n == 1) {
      packet.token.Reply(0);
    } else {
      packet.token.ReplyError(LastErrno());
    }
  }
  OffloadPool::Work work() {
    return [this](Packet packet) { (*this)(std::move(packet)); };
  }

  UniqueFd out, in;
  std::atomic<pid_t> tid{0};
  Gate* before = nullptr;
};

TEST_CASE("INTERRUPT ends a system call that waits", "[offload]") {
  Answers answers;
  BlockedRead blocked;
  OffloadPool pool(1, Nothing, blocked.work());
  pool.Submit(0, answers.MakePacket(2));
  CHECK(Eventually(
      [&] { return blocked.tid != 0 && SleepsIn(blocked.tid, SYS_read); }));
  CHECK(pool.Interrupt(Unique{2}));
  CHECK(pool.Drain(absl::Minutes(1)));
  CHECK(answers.Of(2) == EINTR);

  // The next request on that thread is not touched by it.
  pool.Submit(0, answers.MakePacket(4));
  CHECK(Eventually([&] { return SleepsIn(blocked.tid, SYS_read); }));
  pool.Tick();
  CHECK_FALSE(pool.Interrupt(Unique{2}));
  CHECK(write(blocked.in.get(), "x", 1) == 1);
  CHECK(pool.Drain(absl::InfiniteDuration()));
  CHECK(answers.Of(4) == 0);
}

TEST_CASE("an INTERRUPT that comes too early is repeated", "[offload]") {
  Answers answers;
  BlockedRead blocked;
  Gate gate;
  blocked.before = &gate;
  OffloadPool pool(1, Nothing, blocked.work());
  pool.Submit(0, answers.MakePacket(2));
  CHECK(Eventually([&] { return blocked.tid != 0; }));
  CHECK(pool.Interrupt(Unique{2}));
  gate.Open();
  CHECK(Eventually([&] {
    return SleepsIn(blocked.tid, SYS_read) || answers.Of(2).has_value();
  }));
  CHECK(Eventually([&] {
    pool.Tick();
    return answers.Of(2).has_value();
  }));
  CHECK(answers.Of(2) == EINTR);
}

TEST_CASE("the end waits for what runs and calls off the rest", "[offload]") {
  Answers answers;
  Workshop shop;
  auto pool = std::make_unique<OffloadPool>(1, Nothing, shop.work());
  pool->Submit(0, answers.MakePacket(Workshop::kWaits));
  CHECK(Eventually([&] { return shop.Runs(Workshop::kWaits); }));
  pool->Submit(0, answers.MakePacket(2));
  pool->Submit(0, answers.MakePacket(4));
  std::thread end([&] { pool.reset(); });
  CHECK(Eventually([&] { return answers.size() == 2; }));
  CHECK(answers.Of(2) == EINTR);
  CHECK(answers.Of(4) == EINTR);
  CHECK_FALSE(answers.Of(Workshop::kWaits));
  shop.Release();
  end.join();
  CHECK(answers.Of(Workshop::kWaits) == 0);
  CHECK(answers.twice() == 0);
}

TEST_CASE("a pool without work ends", "[offload]") {
  OffloadPool unused(8, Nothing, [](Packet packet) { packet.token.Reply(0); });
  CHECK(unused.Drain(absl::ZeroDuration()));
}

}  // namespace
}  // namespace handlefs::test

// Requests that wait for a lock.
#include "daemon/lock_waiters.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>

#include "fakes.h"
#include "waiting.h"

namespace handlefs::test {
namespace {

constexpr NodeId kNode{10}, kOther{20};
void Nothing() {}

// A lock that is held until the test lets go.
struct FakeLock {
  LockWaiters::Attempt attempt() {
    return [this]() -> Status {
      tries.fetch_add(1);
      if (held) return Errno(EAGAIN);
      if (int error = result) return Errno(error);
      return Ok();
    };
  }
  std::atomic<bool> held{true};
  std::atomic<int> result{0};
  std::atomic<int> tries{0};
};

TEST_CASE("a lock that became free meanwhile is had at once", "[locks]") {
  Answers answers;
  FakeLock lock;
  lock.held = false;
  LockWaiters waiters(Nothing);
  waiters.Add(kNode, answers.MakeLateReply(2), lock.attempt());
  CHECK(Eventually([&] { return answers.Of(2).has_value(); }));
  CHECK(answers.Of(2) == 0);
  CHECK(Eventually([&] { return waiters.size() == 0; }));
  CHECK(lock.tries == 1);
}

TEST_CASE("a waiter is tried again without being woken", "[locks]") {
  // The holder may be a host process: nobody tells.
  Answers answers;
  FakeLock lock;
  LockWaiters waiters(Nothing);
  waiters.Add(kNode, answers.MakeLateReply(2), lock.attempt());
  CHECK(Eventually([&] { return lock.tries > 5; }));
  CHECK_FALSE(answers.Of(2));
  CHECK(waiters.size() == 1);
  lock.held = false;
  CHECK(Eventually([&] { return answers.Of(2) == 0; }));
}

TEST_CASE("an INTERRUPT meets a request on its way here", "[locks]") {
  Answers answers;
  FakeLock lock;
  LockWaiters waiters(Nothing);
  waiters.NoteEarlyInterrupt(Unique{2});
  waiters.Add(kNode, answers.MakeLateReply(2), lock.attempt());
  CHECK(answers.Of(2) == EINTR);
  // Looked for before it came, noted when it was there.
  CHECK_FALSE(waiters.Interrupt(Unique{4}));
  waiters.Add(kNode, answers.MakeLateReply(4), lock.attempt());
  waiters.NoteEarlyInterrupt(Unique{4});
  CHECK(answers.Of(4) == EINTR);
  CHECK(waiters.size() == 0);
}

TEST_CASE("an error ends the wait", "[locks]") {
  Answers answers;
  FakeLock lock;
  LockWaiters waiters(Nothing);
  waiters.Add(kNode, answers.MakeLateReply(2), lock.attempt());
  CHECK(Eventually([&] { return lock.tries > 0; }));
  lock.result = ENOLCK;
  lock.held = false;
  CHECK(Eventually([&] { return answers.Of(2) == ENOLCK; }));
  CHECK(Eventually([&] { return waiters.size() == 0; }));
}

TEST_CASE("one who got the lock keeps it from the others", "[locks]") {
  Answers answers;
  LockWaiters waiters(Nothing);
  std::atomic<bool> held{true};
  for (uint64_t unique = 2; unique <= 10; unique += 2) {
    waiters.Add(kNode, answers.MakeLateReply(unique), [&]() -> Status {
      if (held.exchange(true)) return Errno(EAGAIN);
      return Ok();
    });
  }
  for (size_t got = 1; got <= 5; ++got) {
    held = false;
    waiters.Wake(kNode);
    CHECK(Eventually([&] { return answers.size() == got; }));
    CHECK(Eventually([&] { return waiters.size() == 5 - got; }));
  }
  CHECK(answers.twice() == 0);
}

TEST_CASE("waking one node answers its waiters", "[locks]") {
  Answers answers;
  FakeLock mine, other;
  LockWaiters waiters(Nothing);
  waiters.Add(kNode, answers.MakeLateReply(2), mine.attempt());
  waiters.Add(kOther, answers.MakeLateReply(4), other.attempt());
  mine.held = false;
  waiters.Wake(kNode);
  CHECK(Eventually([&] { return answers.Of(2) == 0; }));
  CHECK_FALSE(answers.Of(4));
  CHECK(waiters.size() == 1);
  waiters.Wake(NodeId{999});
}

TEST_CASE("an INTERRUPT answers EINTR, once", "[locks]") {
  Answers answers;
  FakeLock lock;
  LockWaiters waiters(Nothing);
  waiters.Add(kNode, answers.MakeLateReply(2), lock.attempt());
  waiters.Add(kNode, answers.MakeLateReply(4), lock.attempt());
  CHECK_FALSE(waiters.Interrupt(Unique{6}));
  CHECK(waiters.Interrupt(Unique{2}));
  CHECK(answers.Of(2) == EINTR);
  CHECK_FALSE(waiters.Interrupt(Unique{2}));
  CHECK(waiters.size() == 1);
  lock.held = false;
  CHECK(Eventually([&] { return answers.Of(4) == 0; }));
  CHECK_FALSE(waiters.Interrupt(Unique{4}));
  CHECK(answers.twice() == 0);
}

TEST_CASE("an INTERRUPT may come before its request", "[locks]") {
  Answers answers;
  FakeLock lock;
  LockWaiters waiters(Nothing);
  waiters.NoteEarlyInterrupt(Unique{4});
  waiters.Add(kNode, answers.MakeLateReply(2), lock.attempt());
  CHECK_FALSE(answers.Of(2));
  waiters.Add(kNode, answers.MakeLateReply(4), lock.attempt());
  CHECK(answers.Of(4) == EINTR);
  CHECK(waiters.size() == 1);
  // It counts for one request.
  waiters.Add(kNode, answers.MakeLateReply(4 + 2), lock.attempt());
  CHECK(waiters.size() == 2);
  // Only so many are remembered.
  for (uint64_t i = 0; i < 100; ++i)
    waiters.NoteEarlyInterrupt(Unique{100 + i});
  waiters.Add(kNode, answers.MakeLateReply(199), lock.attempt());
  CHECK(answers.Of(199) == EINTR);
}

TEST_CASE("the end answers EINTR to all", "[locks]") {
  Answers answers;
  FakeLock lock;
  auto waiters = std::make_unique<LockWaiters>(Nothing);
  for (uint64_t unique = 2; unique <= 20; unique += 2) {
    waiters->Add(kNode, answers.MakeLateReply(unique), lock.attempt());
  }
  waiters.reset();
  for (uint64_t unique = 2; unique <= 20; unique += 2) {
    CHECK(answers.Of(unique) == EINTR);
  }
  CHECK(answers.twice() == 0);
}

TEST_CASE("the thread comes with the first waiter", "[locks]") {
  Answers answers;
  FakeLock lock;
  std::atomic<int> starts{0};
  {
    LockWaiters unused([&] { ++starts; });
    unused.Wake(kNode);
  }
  CHECK(starts == 0);
  LockWaiters waiters([&] { ++starts; });
  waiters.Add(kNode, answers.MakeLateReply(2), lock.attempt());
  waiters.Add(kNode, answers.MakeLateReply(4), lock.attempt());
  CHECK(Eventually([&] { return lock.tries >= 2; }));
  CHECK(starts == 1);
}

}  // namespace
}  // namespace handlefs::test

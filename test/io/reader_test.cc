// One reader: what it does about orders while requests come.
#include "io/reader.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "link.h"
#include "waiting.h"

namespace handlefs::test {
namespace {

using io::Packet;
using io::Reader;
using io::StopReason;

Engine AnyEngine() { return GENERATE(Engine::kRing, Engine::kPlain); }

struct Reading {
  explicit Reading(Link& link, io::PacketHandler& handler)
      : reader({.device = link.device,
                .kind = io::DeviceKind::kSocket,
                .pool = &pool,
                .handler = &handler,
                .setxattr_size = &setxattr_size}) {}
  ~Reading() { Stop(); }
  void Start(Engine engine) {
    thread = std::thread([this, engine] {
      tid = gettid();
      if (engine == Engine::kPlain && !ForbidIoUring()) return;
      reason = reader.Serve();
    });
  }
  StopReason Stop() {
    reader.Stop();
    return End();
  }
  StopReason End() {
    if (thread.joinable()) thread.join();
    return reason;
  }
  bool Sleeps() const {
    // Either way of waiting for the next request.
    return SleepsIn(tid, SYS_io_uring_enter) || SleepsIn(tid, SYS_poll);
  }

  io::SlotPool pool{4096};
  std::atomic<size_t> setxattr_size{16};
  Reader reader;
  std::thread thread;
  std::atomic<pid_t> tid{0};
  StopReason reason = StopReason::kReadError;
};

// A request with this number gives an order from within the reader.
constexpr uint64_t kOrder = 1000;

bool HasInput(const Link& link) {
  pollfd fd{link.device.get(), POLLIN, 0};
  return poll(&fd, 1, 0) == 1;
}

TEST_CASE("a parked reader reads nothing", "[reader]") {
  Engine engine = AnyEngine();
  Link link;
  Reader* parks = nullptr;
  Handler handler([&](Packet packet) {
    if (packet.raw.header.unique == kOrder) parks->Park();
    Handler::Echo(std::move(packet));
  });
  Reading first(link, handler), second(link, handler);
  parks = &first.reader;
  first.Start(engine);
  REQUIRE(link.peer.Send(EchoMessage(kOrder, "")));
  // The reply does not wait for the end of the rest.
  CHECK(link.peer.Receive().unique == kOrder);
  CHECK(first.reader.parked());
  REQUIRE(link.peer.Send(EchoMessage(2, "")));
  CHECK(HasInput(link));

  SECTION("and another one can have it") {
    second.Start(engine);
    CHECK(link.peer.Receive().unique == 2);
    CHECK(second.Stop() == StopReason::kStopped);
    CHECK(HasInput(link) == false);
    CHECK(first.Stop() == StopReason::kStopped);
  }
  SECTION("until it may again") {
    first.reader.Unpark();
    CHECK_FALSE(first.reader.parked());
    CHECK(link.peer.Receive().unique == 2);
    REQUIRE(link.peer.Send(EchoMessage(4, "")));
    CHECK(link.peer.Receive().unique == 4);
    CHECK(first.Stop() == StopReason::kStopped);
  }
  SECTION("and can be stopped") {
    CHECK(first.Stop() == StopReason::kStopped);
    CHECK(HasInput(link));
  }
}

TEST_CASE("an idle reader obeys, too", "[reader]") {
  Engine engine = AnyEngine();
  Link link;
  Handler handler;
  Reading reading(link, handler);
  reading.Start(engine);
  uint64_t unique = 2;
  for (int round = 0; round < 50; ++round) {
    reading.reader.Park();
    REQUIRE(link.peer.Send(EchoMessage(unique, "")));
    reading.reader.Unpark();
    // Read before the order or after it, but read once.
    CHECK(link.peer.Receive().unique == unique);
    unique += 2;
  }
  CHECK(link.peer.Quiet());
  CHECK(reading.Stop() == StopReason::kStopped);
}

TEST_CASE("an order that was taken back leaves no trace", "[reader]") {
  // A reader that is parked and called back within one request waits for the
  // next request as always: it sleeps.
  Engine engine = AnyEngine();
  Link link;
  Reader* reader = nullptr;
  Handler handler([&](Packet packet) {
    if (packet.raw.header.unique == kOrder) {
      reader->Park();
      reader->Unpark();
    }
    Handler::Echo(std::move(packet));
  });
  Reading reading(link, handler);
  reader = &reading.reader;
  reading.Start(engine);
  REQUIRE(link.peer.Send(EchoMessage(kOrder, "")));
  CHECK(link.peer.Receive().unique == kOrder);
  int asleep = 0;
  CHECK(Eventually([&] {
    asleep = reading.Sleeps() ? asleep + 1 : 0;
    return asleep == 50;
  }));
  REQUIRE(link.peer.Send(EchoMessage(2, "")));
  CHECK(link.peer.Receive().unique == 2);
  CHECK(reading.Stop() == StopReason::kStopped);
}

TEST_CASE("Stop before Serve is not forgotten", "[reader]") {
  Engine engine = AnyEngine();
  Link link;
  Handler handler;
  Reading reading(link, handler);
  reading.reader.Stop();
  reading.Start(engine);
  CHECK(reading.End() == StopReason::kStopped);
  CHECK(reading.reader.uses_io_uring() == (engine == Engine::kRing));
}

TEST_CASE("the pulse tells whether a request is worked on", "[reader]") {
  Engine engine = AnyEngine();
  Link link;
  std::atomic<uint64_t> during{0};
  Reader* reader = nullptr;
  Handler handler([&](Packet packet) {
    during = reader->pulse();
    Handler::Echo(std::move(packet));
  });
  Reading reading(link, handler);
  reader = &reading.reader;
  CHECK(reader->pulse() == 0);
  reading.Start(engine);
  for (uint64_t unique = 2; unique <= 10; unique += 2) {
    const uint64_t before = reader->pulse();
    REQUIRE(link.peer.Send(EchoMessage(unique, "")));
    CHECK(link.peer.Receive().unique == unique);
    CHECK(during % 2 == 1);
    CHECK(during > before);
    CHECK(Eventually([&] { return reader->pulse() == during + 1; }));
  }
  CHECK(reading.Stop() == StopReason::kStopped);
}

TEST_CASE("two readers may share a socket", "[reader]") {
  Engine engine = AnyEngine();
  Link link;
  Handler handler;
  Reading first(link, handler), second(link, handler);
  first.Start(engine);
  second.Start(engine);
  constexpr uint64_t kMany = 500;
  std::thread sender([&] {
    for (uint64_t i = 1; i <= kMany; ++i) {
      if (!link.peer.Send(EchoMessage(2 * i, "x"))) return;
    }
  });
  std::vector<bool> seen(kMany + 1);
  uint64_t good = 0;
  for (uint64_t i = 1; i <= kMany; ++i) {
    uint64_t n = link.peer.Receive().unique / 2;
    if (n == 0 || n > kMany || seen[n]) break;
    seen[n] = true;
    ++good;
  }
  sender.join();
  CHECK(good == kMany);
  // Neither of them sits in a read for a request that the other one got.
  CHECK(first.Stop() == StopReason::kStopped);
  CHECK(second.Stop() == StopReason::kStopped);
}

TEST_CASE("a reader sees the peer's end", "[reader]") {
  Engine engine = AnyEngine();
  Link link;
  Handler handler;
  Reading reading(link, handler);
  reading.Start(engine);
  link.peer.Close();
  CHECK(reading.End() == StopReason::kPeerClosed);
}

}  // namespace
}  // namespace handlefs::test

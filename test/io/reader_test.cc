// One reader: what it does about orders while requests come.
#include "io/reader.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <thread>

#include "link.h"
#include "proto/flags.h"
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
                .setxattr_size = &setxattr_size,
                .gather_ms = &gather_ms}) {}
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
  std::atomic<int> gather_ms{0};
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

Message Forget(uint64_t unique) {
  return Message(proto::Opcode::kForget, 1)
      .Put(abi::ForgetIn{.nlookup = 1})
      .WithUnique(unique);
}

TEST_CASE("FORGETs gather where nothing else is expected", "[reader]") {
  Engine engine = AnyEngine();
  Link link;
  Handler handler([](Packet packet) {
    if (packet.raw.header.opcode == kEchoOpcode) {
      Handler::Echo(std::move(packet));
    } else {
      packet.token.NoReply();
    }
  });
  Reading reading(link, handler);
  uint64_t unique = 2;
  int sent = 0;
  auto forget = [&](int times) {
    for (int i = 0; i < times; ++i, unique += 2, ++sent) {
      REQUIRE(link.peer.Send(Forget(unique)));
    }
  };
  auto all_read = [&] {
    return Eventually([&] { return handler.packets == sent; });
  };
  constexpr int kFew = 15, kMany = 100;

  SECTION("each is read at once") {
    reading.Start(engine);
    forget(kMany);
    CHECK(all_read());
  }
  SECTION("after some in a row the reader lets them wait") {
    reading.gather_ms = 10 * 60 * 1000;
    reading.Start(engine);
    forget(kFew);
    CHECK(all_read());
    // Whoever waits for an answer shows that others are expected.
    REQUIRE(link.peer.Send(EchoMessage(unique, "")));
    CHECK(link.peer.Receive().unique == unique);
    unique += 2;
    ++sent;
    forget(kFew);
    CHECK(all_read());
    forget(1);
    CHECK(all_read());
    forget(1);
    CHECK(Eventually([&] { return SleepsIn(reading.tid, SYS_poll); }));
    CHECK(HasInput(link));
    CHECK(handler.packets == sent - 1);
  }
  SECTION("a pause ends") {
    reading.gather_ms = 1;
    reading.Start(engine);
    forget(kMany);
    CHECK(all_read());
  }
  CHECK(reading.Stop() == StopReason::kStopped);
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

// On a real /dev/fuse: a file system that is mounted nowhere.

// Knows INIT, and no name.
void AnswerNothing(Packet packet) {
  if (packet.raw.header.opcode == static_cast<uint32_t>(proto::Opcode::kInit)) {
    abi::InitOut out{};
    out.major = 7;
    out.minor = 31;
    out.max_write = 4096;
    std::memcpy(packet.token.payload().data(), &out, sizeof(out));
    packet.token.Reply(sizeof(out));
  } else {
    packet.token.ReplyError(Errno(ENOENT));
  }
}

// Gone with the descriptor.
UniqueFd MountNowhere(BorrowedFd device) {
  UniqueFd context(fsopen("fuse", FSOPEN_CLOEXEC));
  REQUIRE(context);
  auto set = [&](const char* key, const std::string& value) {
    REQUIRE(fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(),
                     0) == 0);
  };
  set("fd", std::to_string(device.get()));
  set("rootmode", "40000");
  set("user_id", "0");
  set("group_id", "0");
  REQUIRE(fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) ==
          0);
  UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  REQUIRE(mount);
  return mount;
}

UniqueFd OpenDevice() {
  UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  REQUIRE(device);
  return device;
}

UniqueFd Clone(BorrowedFd device) {
  UniqueFd clone = OpenDevice();
  auto source = static_cast<uint32_t>(device.get());
  REQUIRE(ioctl(clone.get(), proto::kIocClone, &source) == 0);
  return clone;
}

struct DeviceReading {
  explicit DeviceReading(BorrowedFd device)
      : reader({.device = device,
                .kind = io::DeviceKind::kFuse,
                .pool = &pool,
                .handler = &handler,
                .setxattr_size = &setxattr_size,
                .gather_ms = &gather_ms}) {}
  void Start(Engine engine) {
    thread = std::thread([this, engine] {
      tid = gettid();
      if (engine == Engine::kPlain && !ForbidIoUring()) return;
      reason = reader.Serve();
    });
  }
  bool Sleeps() const {
    return SleepsIn(tid, SYS_io_uring_enter) || SleepsIn(tid, SYS_poll);
  }
  StopReason Stop() {
    reader.Stop();
    thread.join();
    return reason;
  }

  io::SlotPool pool{4096};
  Handler handler{&AnswerNothing};
  std::atomic<size_t> setxattr_size{16};
  std::atomic<int> gather_ms{0};
  Reader reader;
  std::thread thread;
  std::atomic<pid_t> tid{0};
  StopReason reason = StopReason::kReadError;
};

bool LooksUp(BorrowedFd mount) {
  struct stat st;
  return fstatat(mount.get(), "x", &st, 0) != 0 && errno == ENOENT;
}

TEST_CASE("a reader never waits for a request that another one got",
          "[reader]") {
  Engine engine = GENERATE(Engine::kRing, Engine::kPlain);
  UniqueFd device = OpenDevice();
  UniqueFd mount = MountNowhere(device);
  UniqueFd clone = Clone(device);
  DeviceReading first(device), second(clone);
  first.Start(engine);
  second.Start(engine);
  int good = 0, calm = 0;
  for (int i = 0; i < 300; ++i) {
    good += LooksUp(mount);
    // Where orders reach it.
    calm += Eventually([&] { return first.Sleeps() && second.Sleeps(); });
    if (calm != i + 1) break;
  }
  CHECK(good == 300);
  CHECK(calm == 300);
  CHECK(first.reader.uses_io_uring() == (engine == Engine::kRing));
  for (const UniqueFd* fd : {&device, &clone}) {
    CHECK((fcntl(fd->get(), F_GETFL) & O_NONBLOCK) != 0);
  }
  if (calm != 300) mount.reset();  // wakes whoever sits in a read
  CHECK(first.Stop() == StopReason::kStopped);
  CHECK(second.Stop() == StopReason::kStopped);
}

TEST_CASE("a reader sleeps on a descriptor that does not block", "[reader]") {
  UniqueFd device = OpenDevice();
  REQUIRE(fcntl(device.get(), F_SETFL, O_NONBLOCK) == 0);
  UniqueFd mount = MountNowhere(device);
  DeviceReading reading(device);
  reading.Start(GENERATE(Engine::kRing, Engine::kPlain));
  CHECK(LooksUp(mount));
  int asleep = 0;
  CHECK(Eventually([&] {
    asleep = reading.Sleeps() ? asleep + 1 : 0;
    return asleep == 50;
  }));
  CHECK(LooksUp(mount));
  // Orders are obeyed.
  reading.reader.Park();
  CHECK(Eventually([&] { return SleepsIn(reading.tid, SYS_futex); }));
  reading.reader.Unpark();
  CHECK(LooksUp(mount));
  CHECK(reading.Stop() == StopReason::kStopped);
}

TEST_CASE("a reader sees the end of the mount", "[reader]") {
  UniqueFd device = OpenDevice();
  UniqueFd mount = MountNowhere(device);
  DeviceReading reading(device);
  reading.Start(GENERATE(Engine::kRing, Engine::kPlain));
  CHECK(LooksUp(mount));
  mount.reset();
  reading.thread.join();
  CHECK(reading.reason == StopReason::kUnmounted);
}

}  // namespace
}  // namespace handlefs::test

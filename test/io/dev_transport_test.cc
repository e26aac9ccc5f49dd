// The whole `dev` transport over a socket, with io_uring and without.
#include "io/dev_transport.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "link.h"
#include "proto/flags.h"
#include "proto/notify.h"
#include "waiting.h"

namespace handlefs::test {
namespace {

using io::DevTransport;
using io::Packet;
using io::StopReason;
using proto::Opcode;

Engine AnyEngine() { return GENERATE(Engine::kRing, Engine::kPlain); }

TEST_CASE("only a device or a SOCK_SEQPACKET socket will do", "[dev]") {
  auto refused = [](int fd) {
    auto transport = DevTransport::Create(UniqueFd(fd), {});
    return absl::IsInvalidArgument(transport.status());
  };
  int fds[2];
  REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
  CHECK(refused(fds[0]));
  CHECK(refused(fds[1]));
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  CHECK(refused(fds[0]));
  CHECK(refused(fds[1]));
  CHECK(refused(open("/dev/null", O_RDWR | O_CLOEXEC)));
  CHECK(refused(open("/", O_RDONLY | O_CLOEXEC)));
  CHECK(refused(-1));

  Link link;
  auto good = DevTransport::Create(std::move(link.device), {});
  REQUIRE(good.ok());
  CHECK((*good)->kind() == io::DeviceKind::kSocket);
}

TEST_CASE("a request gets its reply", "[dev]") {
  Engine engine = AnyEngine();
  Handler handler;
  Serving serving(engine, handler);
  REQUIRE(serving.peer().Send(EchoMessage(2, "hello")));
  Answer answer = serving.peer().Receive();
  CHECK(answer.unique == 2);
  CHECK(answer.error == 0);
  CHECK(answer.payload == "hello");
  // Which engine it is shows by now.
  CHECK(serving.transport().uses_io_uring() == (engine == Engine::kRing));
  // The reader and the watchdog.
  CHECK(Eventually([&] { return handler.threads == 2; }));
}

TEST_CASE("many requests are answered in order", "[dev]") {
  constexpr uint64_t kMany = 3000;
  Engine engine = AnyEngine();
  Handler handler;
  Serving serving(engine, handler);
  std::thread sender([&] {
    for (uint64_t i = 1; i <= kMany; ++i) {
      if (!serving.peer().Send(EchoMessage(2 * i, std::to_string(i)))) return;
    }
  });
  uint64_t good = 0;
  for (uint64_t i = 1; i <= kMany; ++i) {
    Answer answer = serving.peer().Receive();
    if (answer.unique != 2 * i || answer.payload != std::to_string(i)) break;
    ++good;
  }
  sender.join();
  CHECK(good == kMany);
  CHECK(serving.peer().Quiet());
}

TEST_CASE("the largest messages go through", "[dev]") {
  Engine engine = AnyEngine();
  size_t size = GENERATE(4096u, 131072u, 1u << 20);
  Handler handler([](Packet packet) {
    // Data of a WRITE can go to O_DIRECT as it lies.
    bool aligned =
        reinterpret_cast<uintptr_t>(packet.raw.tail.data()) % 4096 == 0;
    if (!aligned) return packet.token.ReplyError(Errno(EINVAL));
    Handler::Echo(std::move(packet));
  });
  Serving serving(engine, handler, {.max_write = 1 << 20});
  std::string data(size, '\0');
  for (size_t i = 0; i < size; ++i)
    data[i] = static_cast<char>(i * 7 + i / 256);
  for (uint64_t unique : {2, 4, 6}) {
    abi::WriteIn in{};
    in.size = static_cast<uint32_t>(size);
    REQUIRE(serving.peer().Send(
        Message(Opcode::kWrite, 1).Put(in).Data(data).WithUnique(unique)));
    Answer answer = serving.peer().Receive();
    CHECK(answer.unique == unique);
    CHECK(answer.error == 0);
    CHECK(answer.payload == data);
  }
}

TEST_CASE("what needs no answer gets none", "[dev]") {
  Engine engine = AnyEngine();
  Handler handler([](Packet packet) {
    if (packet.raw.header.opcode == kEchoOpcode) {
      Handler::Echo(std::move(packet));
    } else {
      packet.token.NoReply();
    }
  });
  Serving serving(engine, handler);
  for (uint64_t unique = 2; unique <= 20; unique += 2) {
    REQUIRE(serving.peer().Send(Message(Opcode::kForget, 1)
                                    .Put(abi::ForgetIn{.nlookup = 1})
                                    .WithUnique(unique)));
  }
  REQUIRE(serving.peer().Send(EchoMessage(30, "")));
  CHECK(serving.peer().Receive().unique == 30);
  CHECK(serving.peer().Quiet());
}

// Packets that wait for another thread.
class Elsewhere {
 public:
  explicit Elsewhere(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
  }
  ~Elsewhere() {
    {
      std::lock_guard lock(mutex_);
      end_ = true;
      changed_.notify_all();
    }
    for (std::thread& thread : threads_) thread.join();
  }
  void Add(Packet packet) {
    std::lock_guard lock(mutex_);
    packets_.push_back(std::move(packet));
    changed_.notify_one();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return end_ || !packets_.empty(); });
      if (packets_.empty()) return;
      Packet packet = std::move(packets_.front());
      packets_.pop_front();
      lock.unlock();
      Handler::Echo(std::move(packet));
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Packet> packets_;
  bool end_ = false;
  std::vector<std::thread> threads_;
};

TEST_CASE("other threads may answer", "[dev]") {
  constexpr uint64_t kMany = 2000;
  Engine engine = AnyEngine();
  std::atomic<Elsewhere*> elsewhere = nullptr;
  // Every other one is answered by the reader itself.
  Handler handler([&](Packet packet) {
    if (packet.raw.header.unique % 4 == 0) {
      elsewhere.load()->Add(std::move(packet));
    } else {
      Handler::Echo(std::move(packet));
    }
  });
  Serving serving(engine, handler);
  Elsewhere threads(3);  // ends before the transport does
  elsewhere = &threads;
  std::thread sender([&] {
    for (uint64_t i = 1; i <= kMany; ++i) {
      if (!serving.peer().Send(EchoMessage(2 * i, std::to_string(i)))) return;
    }
  });
  std::vector<bool> seen(kMany + 1);
  uint64_t good = 0;
  for (uint64_t i = 1; i <= kMany; ++i) {
    Answer answer = serving.peer().Receive();
    uint64_t n = answer.unique / 2;
    if (n == 0 || n > kMany || seen[n] || answer.payload != std::to_string(n)) {
      break;
    }
    seen[n] = true;
    ++good;
  }
  sender.join();
  CHECK(good == kMany);
  CHECK(serving.peer().Quiet());
}

TEST_CASE("deferred requests are answered in any order", "[dev]") {
  Engine engine = AnyEngine();
  std::mutex mutex;
  std::vector<io::LateReply> late;
  Handler handler([&](Packet packet) {
    std::lock_guard lock(mutex);
    late.push_back(packet.token.Defer());
  });
  Serving serving(engine, handler);
  for (uint64_t unique = 2; unique <= 400; unique += 2) {
    REQUIRE(serving.peer().Send(EchoMessage(unique, "")));
  }
  CHECK(Eventually([&] {
    std::lock_guard lock(mutex);
    return late.size() == 200;
  }));
  CHECK(serving.peer().Quiet());
  std::lock_guard lock(mutex);
  for (size_t i = late.size(); i > 0; --i) {
    late[i - 1].Send(i % 2 == 0 ? Ok() : Status(Errno(EDEADLK)));
    Answer answer = serving.peer().Receive();
    CHECK(answer.unique == 2 * i);
    CHECK(answer.error == (i % 2 == 0 ? 0 : EDEADLK));
  }
}

TEST_CASE("a late reply may come after the end of Run", "[dev]") {
  Engine engine = AnyEngine();
  io::LateReply late;
  std::optional<Packet> kept;
  Handler handler([&](Packet packet) {
    if (packet.raw.header.unique == 2) {
      late = packet.token.Defer();
    } else {
      kept.emplace(std::move(packet));
    }
  });
  Serving serving(engine, handler);
  REQUIRE(serving.peer().Send(EchoMessage(2, "")));
  REQUIRE(serving.peer().Send(EchoMessage(4, "kept")));
  CHECK(Eventually([&] { return handler.packets == 2; }));
  serving.transport().Stop();
  CHECK(serving.End().reason == StopReason::kStopped);
  late.Send(Ok());
  CHECK(serving.peer().Receive().unique == 2);
  Handler::Echo(std::move(*kept));
  kept.reset();
  Answer answer = serving.peer().Receive();
  CHECK(answer.unique == 4);
  CHECK(answer.payload == "kept");
}

TEST_CASE("a dropped token is answered EIO", "[dev]") {
  Engine engine = AnyEngine();
  Handler handler([](Packet) {});
  Serving serving(engine, handler);
  const uint64_t before = io::Token::dropped();
  REQUIRE(serving.peer().Send(EchoMessage(2, "x")));
  Answer answer = serving.peer().Receive();
  CHECK(answer.unique == 2);
  CHECK(answer.error == EIO);
  CHECK(io::Token::dropped() == before + 1);
}

TEST_CASE("a message that does not fit is answered EIO", "[dev]") {
  Engine engine = AnyEngine();
  Handler handler;
  Serving serving(engine, handler, {.max_write = 4096});
  std::string big(200000, 'x');
  REQUIRE(serving.peer().Send(EchoMessage(2, big)));
  Answer answer = serving.peer().Receive();
  CHECK(answer.unique == 2);
  CHECK(answer.error == EIO);
  CHECK(handler.malformed == 1);
  CHECK(handler.malformed_size == big.size() + sizeof(abi::InHeader));
  // The next one is a message of its own.
  REQUIRE(serving.peer().Send(EchoMessage(4, "next")));
  CHECK(serving.peer().Receive().payload == "next");
}

TEST_CASE("a message that lies about its length is answered EINVAL", "[dev]") {
  Engine engine = AnyEngine();
  Handler handler;
  Serving serving(engine, handler);
  uint32_t length = GENERATE(0u, 39u, 44u, 46u, 0xffffffffu);
  REQUIRE(serving.peer().Send(EchoMessage(2, "12345").SayLength(length)));
  Answer answer = serving.peer().Receive();
  CHECK(answer.unique == 2);
  CHECK(answer.error == EINVAL);
  // Nobody waits for the answer to a FORGET.
  REQUIRE(serving.peer().Send(
      Message(Opcode::kForget, 1).WithUnique(4).SayLength(length)));
  REQUIRE(serving.peer().Send(EchoMessage(6, "")));
  CHECK(serving.peer().Receive().unique == 6);
  CHECK(handler.malformed == 2);
}

TEST_CASE("a message without a whole header is only counted", "[dev]") {
  Engine engine = AnyEngine();
  Handler handler;
  Serving serving(engine, handler);
  for (size_t size : {1u, 8u, 39u}) {
    REQUIRE(serving.peer().SendBytes(std::string(size, '\1')));
  }
  REQUIRE(serving.peer().Send(EchoMessage(6, "")));
  CHECK(serving.peer().Receive().unique == 6);
  CHECK(serving.peer().Quiet());
  CHECK(handler.malformed == 3);
  CHECK(handler.malformed_size == 39);
}

TEST_CASE("the size of SETXATTR's head is the connection's", "[dev]") {
  Engine engine = AnyEngine();
  Handler handler([](Packet packet) {
    size_t fixed = packet.raw.fixed.size();
    packet.token.payload()[0] = static_cast<std::byte>(fixed);
    packet.token.Reply(1);
  });
  Serving serving(engine, handler);
  auto fixed_size = [&](uint64_t unique) {
    Message message(Opcode::kSetxattr, 1);
    message.Data(std::string(32, 'v')).WithUnique(unique);
    REQUIRE(serving.peer().Send(message));
    Answer answer = serving.peer().Receive();
    return answer.payload.empty() ? -1 : answer.payload[0];
  };
  CHECK(fixed_size(2) == 16);
  serving.transport().SetSetxattrSize(8);
  CHECK(fixed_size(4) == 8);
  serving.transport().SetSetxattrSize(16);
  CHECK(fixed_size(6) == 16);
}

TEST_CASE("the peer's end is the end", "[dev]") {
  Engine engine = AnyEngine();
  Handler handler;
  Serving serving(engine, handler);
  REQUIRE(serving.peer().Send(EchoMessage(2, "")));
  CHECK(serving.peer().Receive().unique == 2);
  serving.peer().Close();
  CHECK(serving.End().reason == StopReason::kPeerClosed);
}

TEST_CASE("requests that came before the peer closed are served", "[dev]") {
  Engine engine = AnyEngine();
  std::atomic<int> served{0};
  const uint64_t refused = io::DevPort::refused();
  Handler handler([&](Packet packet) {
    ++served;
    Handler::Echo(std::move(packet));
  });
  Serving serving(engine, handler);
  for (uint64_t unique = 2; unique <= 20; unique += 2) {
    REQUIRE(serving.peer().Send(EchoMessage(unique, "x")));
  }
  REQUIRE(shutdown(serving.peer().fd().get(), SHUT_WR) == 0);
  CHECK(serving.End().reason == StopReason::kPeerClosed);
  CHECK(served == 10);
  CHECK(io::DevPort::refused() == refused);
}

TEST_CASE("Stop ends an idle transport", "[dev]") {
  Engine engine = AnyEngine();
  Handler handler;
  Serving serving(engine, handler);
  SECTION("at once") {}
  SECTION("while it serves") {
    REQUIRE(serving.peer().Send(EchoMessage(2, "")));
    CHECK(serving.peer().Receive().unique == 2);
  }
  serving.transport().Stop();
  CHECK(serving.End().reason == StopReason::kStopped);
}

TEST_CASE("Stop lets the request that is worked on be answered", "[dev]") {
  Engine engine = AnyEngine();
  std::atomic<io::DevTransport*> transport = nullptr;
  Handler handler([&](Packet packet) {
    transport.load()->Stop();
    Handler::Echo(std::move(packet));
  });
  Serving serving(engine, handler);
  transport = &serving.transport();
  REQUIRE(serving.peer().Send(EchoMessage(2, "last")));
  CHECK(serving.End().reason == StopReason::kStopped);
  Answer answer = serving.peer().Receive();
  CHECK(answer.unique == 2);
  CHECK(answer.payload == "last");
}

TEST_CASE("a reader that waits gets help", "[dev]") {
  Engine engine = AnyEngine();
  Gate helped;
  Handler handler([&](Packet packet) {
    uint64_t unique = packet.raw.header.unique;
    if (unique == 4) helped.Open();
    if (unique == 2 && !helped.Wait()) {
      packet.token.ReplyError(Errno(ETIMEDOUT));
      return;
    }
    Handler::Echo(std::move(packet));
  });
  Serving serving(engine, handler, {.max_readers = 2});
  REQUIRE(serving.peer().Send(EchoMessage(2, "")));
  REQUIRE(serving.peer().Send(EchoMessage(4, "")));
  Answer a = serving.peer().Receive(), b = serving.peer().Receive();
  CHECK(a.error == 0);
  CHECK(b.error == 0);
  CHECK(a.unique + b.unique == 6);
  // Both readers and the watchdog.
  CHECK(handler.threads == 3);
  // All of them stop.
  serving.transport().Stop();
  CHECK(serving.End().reason == StopReason::kStopped);
}

TEST_CASE("the watchdog ticks", "[dev]") {
  Link link;
  auto transport = DevTransport::Create(std::move(link.device), {});
  REQUIRE(transport.ok());
  std::atomic<int> ticks{0};
  (*transport)->SetTick([&] {
    ++ticks;
    return io::Activity::kIdle;
  });
  Handler handler;
  std::thread thread([&] { (*transport)->Run(handler); });
  CHECK(Eventually([&] { return ticks >= 3; }));
  (*transport)->Stop();
  thread.join();
}

TEST_CASE("notifications go out as they are", "[dev]") {
  Handler handler;
  Serving serving(Engine::kRing, handler);
  io::Connection& transport = serving.transport();
  auto text = [](std::span<const std::byte> bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()),
                       bytes.size());
  };
  auto head = proto::InvalAttributes(NodeId{5});
  CHECK(transport.Notify(head).ok());
  CHECK(serving.peer().ReceiveBytes() == text(head.bytes()));
  auto store = proto::Store(NodeId{5}, 0, 4);
  std::string data = "data";
  CHECK(transport.Notify(store, std::as_bytes(std::span(data))).ok());
  CHECK(serving.peer().ReceiveBytes() == text(store.bytes()) + "data");
  serving.peer().Close();
  CHECK(serving.End().reason == StopReason::kPeerClosed);
  auto late = transport.Notify(head);
  REQUIRE_FALSE(late.ok());
  CHECK(late.error() == Errno(EPIPE));
}

TEST_CASE("a socket has no passthrough", "[dev]") {
  Link link;
  UniqueFd file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto transport = DevTransport::Create(std::move(link.device), {});
  REQUIRE(transport.ok());
  auto id = (*transport)->OpenBacking(file);
  REQUIRE_FALSE(id.ok());
  CHECK(id.error() == Errno(EOPNOTSUPP));
  CHECK_FALSE((*transport)->CloseBacking(BackingId{1}).ok());
}

}  // namespace
}  // namespace handlefs::test

// Writing replies to the descriptor that the request came from.
#include "io/dev_port.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <thread>
#include <vector>

#include "io/slot.h"
#include "link.h"
#include "waiting.h"

namespace handlefs::test {
namespace {

using io::DevPort;

abi::OutHeader Header(uint64_t unique) {
  return proto::MakeOutHeader(Unique{unique}, 0);
}

TEST_CASE("a message is written in one piece", "[port]") {
  Link link;
  DevPort port(link.device);
  std::vector<std::byte> message(5000, std::byte{7});
  port.Write(message);
  auto got = link.peer.ReceiveBytes();
  REQUIRE(got);
  CHECK(*got == std::string(5000, '\7'));
}

TEST_CASE("a bare header is a message", "[port]") {
  Link link;
  DevPort port(link.device);
  port.SendHeader(Header(8));
  Answer answer = link.peer.Receive();
  CHECK(answer.unique == 8);
  CHECK(answer.payload.empty());
}

TEST_CASE("a refusal because nobody waits any more is no bug", "[port]") {
  const uint64_t before = DevPort::refused();
  SECTION("the request is gone") { DevPort::CountRefused(ENOENT); }
  SECTION("the mount is gone") { DevPort::CountRefused(ENODEV); }
  SECTION("the connection was aborted") { DevPort::CountRefused(ECONNABORTED); }
  SECTION("the peer has gone") {
    Link link;
    DevPort port(link.device);
    link.peer.Close();
    port.SendHeader(Header(8));
  }
  SECTION("the peer was reset") { DevPort::CountRefused(ECONNRESET); }
  CHECK(DevPort::refused() == before);
}

TEST_CASE("any other refusal is counted", "[port]") {
  const uint64_t before = DevPort::refused();
  int error = GENERATE(EINVAL, EIO, EMSGSIZE, EPERM, ENOMEM);
  DevPort::CountRefused(error);
  CHECK(DevPort::refused() == before + 1);
}

TEST_CASE("a failed write is counted by its errno", "[port]") {
  const uint64_t before = DevPort::refused();
  DevPort port{BorrowedFd(-1)};
  port.SendHeader(Header(8));
  CHECK(DevPort::refused() == before + 1);
}

std::atomic<int> signals_seen{0};

TEST_CASE("a signal does not lose a reply", "[port]") {
  struct sigaction action {
  }, old{};
  action.sa_handler = [](int) { signals_seen.fetch_add(1); };
  REQUIRE(sigaction(SIGUSR1, &action, &old) == 0);
  signals_seen = 0;
  int fds[2];
  REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
  UniqueFd out(fds[0]), in(fds[1]);
  REQUIRE(fcntl(in.get(), F_SETPIPE_SZ, 4096) == 4096);
  const std::vector<std::byte> filling(4096, std::byte{1});
  REQUIRE(write(in.get(), filling.data(), filling.size()) == 4096);

  const uint64_t before = DevPort::refused();
  DevPort port(in);
  std::atomic<pid_t> tid{0};
  std::thread writer([&] {
    tid = gettid();
    port.SendHeader(Header(77));
  });
  bool sleeps =
      Eventually([&] { return tid != 0 && SleepsIn(tid, SYS_write); });
  pthread_kill(writer.native_handle(), SIGUSR1);
  bool seen = Eventually([] { return signals_seen > 0; });
  std::vector<std::byte> got(4096);
  ssize_t n = read(out.get(), got.data(), got.size());
  writer.join();
  CHECK(sleeps);
  CHECK(seen);
  CHECK(n == 4096);
  abi::OutHeader header{};
  CHECK(read(out.get(), &header, sizeof(header)) == sizeof(header));
  CHECK(header.unique == 77);
  CHECK(DevPort::refused() == before);
  sigaction(SIGUSR1, &old, nullptr);
}

TEST_CASE("only the reader takes its own slot back", "[port]") {
  Link link;
  DevPort port(link.device);
  io::SlotPool pool(4096);
  io::Slot* mine = pool.Take();
  io::Slot* other = pool.Take();
  using Outcome = DevPort::Outcome;

  CHECK_FALSE(port.TakeBack(mine, Outcome::kReply));
  port.Begin(mine);
  CHECK_FALSE(port.TakeBack(other, Outcome::kReply));
  bool elsewhere = true;
  std::thread([&] { elsewhere = port.TakeBack(mine, Outcome::kReply); }).join();
  CHECK_FALSE(elsewhere);
  CHECK(port.End() == Outcome::kAway);

  port.Begin(mine);
  CHECK(port.TakeBack(mine, Outcome::kSilent));
  CHECK(port.End() == Outcome::kSilent);
  CHECK_FALSE(port.TakeBack(mine, Outcome::kReply));

  // The outcome of one request is not that of the next.
  port.Begin(mine);
  CHECK(port.End() == Outcome::kAway);
}

}  // namespace
}  // namespace handlefs::test

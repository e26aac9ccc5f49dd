// Locks: conflicts between owners, waiting, and being called off.
#include <fcntl.h>
#include <sys/file.h>

#include "served.h"

namespace handlefs::test {
namespace {

constexpr uint64_t kAlice = 0xa11ce, kBob = 0xb0b;

struct LockedFile : Served {
  explicit LockedFile(std::vector<std::string> options = {})
      : Served(std::move(options)) {
    tree.Write("a", "0123456789");
    node = kernel.Node(kRoot, "a");
    alice = kernel.OpenFh(node, O_RDWR);
    bob = kernel.OpenFh(node, O_RDWR);
  }
  Message Ask(Opcode op, uint64_t owner, uint32_t type, uint64_t start,
              uint64_t end, uint32_t flags = 0) {
    abi::FileLock lock{.start = start,
                       .end = end,
                       .type = type,
                       .pid = owner == kAlice ? 111u : 222u};
    return kernel.LockMessage(op, node, owner == kAlice ? alice : bob, owner,
                              lock, flags);
  }
  int Set(uint64_t owner, uint32_t type, uint64_t start, uint64_t end) {
    return ErrorOf(kernel.Call(Ask(Opcode::kSetlk, owner, type, start, end)));
  }
  int Flock(uint64_t owner, uint32_t type) {
    return ErrorOf(kernel.Call(
        Ask(Opcode::kSetlk, owner, type, 0, INT64_MAX, proto::kLkFlock)));
  }
  bool Posix() { return kernel.granted().Has(proto::init::kPosixLocks); }

  uint64_t node, alice, bob;
};

TEST_CASE("owners conflict where they overlap", "[locks]") {
  LockedFile f;
  if (!f.Posix()) return;
  CHECK(f.Set(kAlice, F_WRLCK, 0, 4) == 0);
  CHECK(f.Set(kBob, F_WRLCK, 4, 9) == EAGAIN);
  CHECK(f.Set(kBob, F_RDLCK, 0, 0) == EAGAIN);
  CHECK(f.Set(kBob, F_WRLCK, 5, 9) == 0);
  CHECK(f.Set(kAlice, F_WRLCK, 0, INT64_MAX) == EAGAIN);
  CHECK(f.Set(kAlice, F_UNLCK, 0, 4) == 0);
  CHECK(f.Set(kBob, F_WRLCK, 0, 9) == 0);
}

TEST_CASE("GETLK says who is in the way", "[locks]") {
  LockedFile f;
  if (!f.Posix()) return;
  REQUIRE(f.Set(kAlice, F_WRLCK, 2, 4) == 0);
  Answer answer = f.kernel.Call(f.Ask(Opcode::kGetlk, kBob, F_RDLCK, 0, 9));
  REQUIRE(answer.ok());
  auto lock = answer.Get<abi::LkOut>().lk;
  CHECK(lock.type == F_WRLCK);
  CHECK(lock.start == 2);
  CHECK(lock.end == 4);
  CHECK(lock.pid == 111);
  // Nobody is in the way of the owner, nor beside the range.
  answer = f.kernel.Call(f.Ask(Opcode::kGetlk, kAlice, F_WRLCK, 0, 9));
  REQUIRE(answer.ok());
  CHECK(answer.Get<abi::LkOut>().lk.type == F_UNLCK);
  answer = f.kernel.Call(f.Ask(Opcode::kGetlk, kBob, F_WRLCK, 5, 9));
  REQUIRE(answer.ok());
  CHECK(answer.Get<abi::LkOut>().lk.type == F_UNLCK);
}

TEST_CASE("SETLKW waits until the lock is free", "[locks]") {
  LockedFile f;
  if (!f.Posix()) return;
  REQUIRE(f.Set(kAlice, F_WRLCK, 0, 9) == 0);
  uint64_t waits = f.kernel.Send(f.Ask(Opcode::kSetlkw, kBob, F_WRLCK, 0, 9));
  f.kernel.Barrier();
  f.kernel.Barrier();
  CHECK_FALSE(f.kernel.Answered(waits));
  REQUIRE(f.Set(kAlice, F_UNLCK, 0, 9) == 0);
  CHECK(f.kernel.Receive(waits).ok());
  CHECK(f.Set(kAlice, F_WRLCK, 0, 9) == EAGAIN);
}

TEST_CASE("SETLKW that is interrupted fails with EINTR, once", "[locks]") {
  LockedFile f;
  if (!f.Posix()) return;
  REQUIRE(f.Set(kAlice, F_WRLCK, 0, 9) == 0);
  for (int i = 0; i < 3; ++i) {
    uint64_t waits = f.kernel.Send(f.Ask(Opcode::kSetlkw, kBob, F_WRLCK, 0, 9));
    if (i > 0) f.kernel.Barrier();
    Message interrupt = Message(Opcode::kInterrupt, 0)
                            .Put(abi::InterruptIn{.unique = waits})
                            .WithUnique(waits | 1);
    f.kernel.Send(interrupt);
    f.kernel.Send(interrupt);
    CHECK(f.kernel.Receive(waits).error == EINTR);
    // One that comes too late.
    f.kernel.Send(interrupt);
    f.kernel.Barrier();
  }
  // Bob got nothing.
  REQUIRE(f.Set(kAlice, F_UNLCK, 0, 9) == 0);
  CHECK(f.Set(kAlice, F_WRLCK, 0, 9) == 0);
}

TEST_CASE("other requests are served while one waits", "[locks]") {
  LockedFile f;
  if (!f.Posix()) return;
  REQUIRE(f.Set(kAlice, F_WRLCK, 0, 9) == 0);
  std::vector<uint64_t> waiting;
  for (uint64_t i = 0; i < 20; ++i) {
    waiting.push_back(
        f.kernel.Send(f.Ask(Opcode::kSetlkw, kBob, F_WRLCK, 0, 9)));
  }
  for (int i = 0; i < 50; ++i) f.kernel.Barrier();
  CHECK(f.kernel.Read(f.node, f.alice, 0, 10).payload == "0123456789");
  REQUIRE(f.Set(kAlice, F_UNLCK, 0, 9) == 0);
  for (uint64_t unique : waiting) CHECK(f.kernel.Receive(unique).ok());
}

TEST_CASE("FLUSH drops its owner's locks", "[locks]") {
  LockedFile f;
  if (!f.Posix()) return;
  REQUIRE(f.Set(kAlice, F_WRLCK, 0, 9) == 0);
  abi::FlushIn flush{};
  flush.fh = f.bob;
  flush.lock_owner = kBob;
  CHECK(f.kernel.Call(Message(Opcode::kFlush, f.node).Put(flush)).ok());
  CHECK(f.Set(kBob, F_WRLCK, 0, 9) == EAGAIN);
  flush.fh = f.alice;
  flush.lock_owner = kAlice;
  CHECK(f.kernel.Call(Message(Opcode::kFlush, f.node).Put(flush)).ok());
  CHECK(f.Set(kBob, F_WRLCK, 0, 9) == 0);
}

TEST_CASE("flock", "[locks]") {
  LockedFile f;
  if (!f.kernel.granted().Has(proto::init::kFlockLocks)) return;
  CHECK(f.Flock(kAlice, F_RDLCK) == 0);
  CHECK(f.Flock(kBob, F_RDLCK) == 0);
  CHECK(f.Flock(kBob, F_WRLCK) == EAGAIN);
  CHECK(f.Flock(kAlice, F_UNLCK) == 0);
  CHECK(f.Flock(kBob, F_WRLCK) == 0);
  CHECK(f.Flock(kAlice, F_RDLCK) == EAGAIN);
  abi::ReleaseIn release{};
  release.fh = f.bob;
  release.release_flags = proto::kReleaseFlockUnlock;
  release.lock_owner = kBob;
  CHECK(f.kernel.Call(Message(Opcode::kRelease, f.node).Put(release)).ok());
  CHECK(f.Flock(kAlice, F_RDLCK) == 0);
}

TEST_CASE("locks are seen on the host", "[locks]") {
  LockedFile f;
  if (!f.Posix()) return;
  REQUIRE(f.Set(kAlice, F_WRLCK, 0, 4) == 0);
  UniqueFd host(open(f.tree.Path("a").c_str(), O_RDWR | O_CLOEXEC));
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_len = 5;
  CHECK(fcntl(host.get(), F_SETLK, &lock) == -1);
  CHECK((errno == EAGAIN || errno == EACCES));
  lock.l_start = 5;
  CHECK(fcntl(host.get(), F_SETLK, &lock) == 0);
  CHECK(f.Set(kBob, F_WRLCK, 5, 9) == EAGAIN);
}

TEST_CASE("locks that make no sense", "[locks]") {
  LockedFile f;
  if (!f.Posix()) return;
  CHECK_FALSE(f.Set(kAlice, 99, 0, 9) == 0);
  CHECK_FALSE(f.Set(kAlice, F_WRLCK, 9, 0) == 0);
  CHECK_FALSE(f.Set(kAlice, F_WRLCK, ~uint64_t{0}, ~uint64_t{0}) == 0);
  abi::FileLock lock{.start = 0, .end = 9, .type = F_WRLCK, .pid = 1};
  for (Opcode op : {Opcode::kGetlk, Opcode::kSetlk, Opcode::kSetlkw}) {
    for (uint64_t fh : UnknownFiles(f.bob)) {
      Answer answer =
          f.kernel.Call(f.kernel.LockMessage(op, f.node, fh, kAlice, lock));
      CHECK(ErrorOf(answer) == EBADF);
    }
  }
}

TEST_CASE("a connection may end while somebody waits", "[locks]") {
  LockedFile f;
  if (!f.Posix()) return;
  REQUIRE(f.Set(kAlice, F_WRLCK, 0, 9) == 0);
  f.kernel.Send(f.Ask(Opcode::kSetlkw, kBob, F_WRLCK, 0, 9));
  f.kernel.Barrier();
}

TEST_CASE("the trace has late replies, too", "[locks]") {
  LockedFile f({"-d"});
  if (!f.Posix()) return;
  auto traced = [&](uint64_t unique, std::string_view result) {
    return f.kernel.process().Stderr().find("tx " + std::to_string(unique) +
                                            " SETLKW " + std::string(result) +
                                            "\n") != std::string::npos;
  };
  REQUIRE(f.Set(kAlice, F_WRLCK, 0, 9) == 0);
  uint64_t waits = f.kernel.Send(f.Ask(Opcode::kSetlkw, kBob, F_WRLCK, 0, 4));
  uint64_t called_off =
      f.kernel.Send(f.Ask(Opcode::kSetlkw, kBob, F_WRLCK, 5, 9));
  f.kernel.Barrier();
  f.kernel.Send(Message(Opcode::kInterrupt, 0)
                    .Put(abi::InterruptIn{.unique = called_off}));
  CHECK(ErrorOf(f.kernel.Receive(called_off)) == EINTR);
  CHECK(traced(called_off, "EINTR"));
  CHECK_FALSE(traced(waits, "OK"));
  REQUIRE(f.Set(kAlice, F_UNLCK, 0, 9) == 0);
  CHECK(f.kernel.Receive(waits).ok());
  CHECK(traced(waits, "OK"));
  // Those that need not wait.
  uint64_t at_once = f.kernel.Send(f.Ask(Opcode::kSetlkw, kBob, F_UNLCK, 0, 9));
  CHECK(f.kernel.Receive(at_once).ok());
  CHECK(traced(at_once, "OK"));
  auto bad = f.Ask(Opcode::kSetlkw, kBob, F_WRLCK, 9, 0);
  uint64_t refused = f.kernel.Send(bad);
  CHECK(ErrorOf(f.kernel.Receive(refused)) == EINVAL);
  CHECK(traced(refused, "EINVAL"));
}

}  // namespace
}  // namespace handlefs::test

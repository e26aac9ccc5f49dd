// The server's end of the keeper, with the keeper's end in the test's hands.
#include "daemon/restart/kept.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "daemon/restart/messages.h"
#include "records.h"
#include "support.h"

namespace handlefs::test {
namespace {

using What = KeeperMessage::What;

UniqueFd NewFile() { return UniqueFd(memfd_create("kept", MFD_CLOEXEC)); }

bool SameFile(BorrowedFd a, BorrowedFd b) {
  struct stat left, right;
  return fstat(a.get(), &left) == 0 && fstat(b.get(), &right) == 0 &&
         left.st_ino == right.st_ino && left.st_dev == right.st_dev;
}

// The keeper, as far as descriptors go.
struct FakeKeeper {
  FakeKeeper() {
    auto pair = MakeKeeperSocket();
    REQUIRE(pair.ok());
    socket = std::move(pair->keeper);
    server = std::move(pair->server);
  }
  // All that was said; false: the other side is gone.
  bool Read() {
    while (true) {
      auto received = ReceiveMessage(socket);
      if (!received.ok()) return true;
      if (!*received) return false;
      auto ref = static_cast<uint32_t>((*received)->message.value);
      ++messages;
      if ((*received)->message.what == What::kKeep) {
        fds[ref] = std::move((*received)->fd);
      } else if ((*received)->message.what == What::kDrop) {
        fds.erase(ref);
      }
    }
  }
  UniqueFd socket, server;
  KeptFds fds;
  size_t messages = 0;
};

uint32_t Number(Vault::Ref ref) { return static_cast<uint32_t>(ref); }

TEST_CASE("messages arrive whole, with their descriptor", "[kept]") {
  FakeKeeper keeper;
  UniqueFd file = NewFile();
  CHECK(ReceiveMessage(keeper.socket).error() == Errno(EAGAIN));
  REQUIRE(
      SendMessage(keeper.server, {.what = What::kKeep, .value = 7}, file).ok());
  REQUIRE(
      SendMessage(keeper.server, {.what = What::kEnded, .value = 3}, {}).ok());
  auto first = ReceiveMessage(keeper.socket);
  REQUIRE(first.ok());
  REQUIRE(first.value());
  CHECK(first.value()->message.what == What::kKeep);
  CHECK(first.value()->message.value == 7);
  CHECK(SameFile(first.value()->fd, file));
  CHECK((fcntl(first.value()->fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
  auto second = ReceiveMessage(keeper.socket);
  REQUIRE(second.ok());
  REQUIRE(second.value());
  CHECK(second.value()->message.value == 3);
  CHECK_FALSE(second.value()->fd);
  // Both ways.
  REQUIRE(SendMessage(keeper.socket, {.what = What::kHandOver}, {}).ok());
  CHECK(ReceiveMessage(keeper.server).value()->message.what == What::kHandOver);
}

TEST_CASE("what is no message ends the talk", "[kept]") {
  FakeKeeper keeper;
  size_t fds = CountFds();
  char byte = 0;
  SECTION("too short") {
    REQUIRE(send(keeper.server.get(), &byte, 1, 0) == 1);
    auto received = ReceiveMessage(keeper.socket);
    REQUIRE(received.ok());
    CHECK_FALSE(received.value());
  }
  SECTION("the other side is gone") {
    UniqueFd file = NewFile();
    REQUIRE(SendMessage(keeper.server, {.value = 5}, file).ok());
    keeper.server.reset();
    // What was said before counts.
    CHECK(ReceiveMessage(keeper.socket).value());
    auto end = ReceiveMessage(keeper.socket);
    REQUIRE(end.ok());
    CHECK_FALSE(end.value());
    // No signal.
    CHECK_FALSE(SendMessage(keeper.socket, {}, {}).ok());
    return;
  }
  CHECK(CountFds() == fds);
}

TEST_CASE("a keeper that is stopped does not hold its server", "[kept]") {
  FakeKeeper keeper;
  size_t sent = 0;
  while (SendMessage(keeper.server, {}, {}).ok()) ++sent;
  CHECK(sent > 10);
  CHECK(SendMessage(keeper.server, {}, {}).error() == Errno(EAGAIN));
}

TEST_CASE("Kept: records and descriptors come back to the next server",
          "[kept]") {
  auto state = NewState();
  FakeKeeper keeper;
  std::vector<Vault::Ref> refs;
  std::vector<UniqueFd> files;
  {
    Kept kept(*state, keeper.server, keeper.fds);
    CHECK(kept.Inherited(Vault::Kind::kPin).empty());
    for (uint64_t i = 0; i < 4; ++i) {
      files.push_back(NewFile());
      refs.push_back(kept.PutStruct(Vault::Kind::kPin, i,
                                    i % 2 == 0 ? files.back() : BorrowedFd()));
      kept.Word(refs.back())->store(10 + i);
    }
    kept.Keep(refs[1], files[1]);
    kept.Erase(refs[2]);
    CHECK(kept.missed() == 0);
    Vault::Ref other =
        kept.Put(Vault::Kind::kLockOwner, BytesOf("lock"), files[3]);
    CHECK(other != Vault::kNoRef);
  }
  keeper.Read();
  CHECK(keeper.fds.size() == 3);
  state = Reopen(*state);
  Kept next(*state, keeper.server, keeper.fds);
  auto pins = next.Inherited(Vault::Kind::kPin);
  REQUIRE(pins.size() == 3);
  for (Vault::Item& pin : pins) {
    uint64_t i = 99;
    REQUIRE(Vault::Read(pin, i));
    REQUIRE(i < refs.size());
    CHECK(pin.ref == refs[i]);
    CHECK(pin.word == 10 + i);
    CHECK(static_cast<bool>(pin.fd) == (i < 2));
    if (pin.fd) CHECK(SameFile(pin.fd, files[i]));
    uint32_t other_size;
    CHECK_FALSE(Vault::Read(pin, other_size));
  }
  // Once.
  CHECK(next.Inherited(Vault::Kind::kPin).empty());
  auto locks = next.Inherited(Vault::Kind::kLockOwner);
  REQUIRE(locks.size() == 1);
  CHECK(locks[0].data == BytesOf("lock"));
  CHECK(SameFile(locks[0].fd, files[3]));
}

TEST_CASE("Kept: a place that is used again has its own descriptor", "[kept]") {
  auto state = NewState();
  FakeKeeper keeper;
  Kept kept(*state, keeper.server, keeper.fds);
  UniqueFd old = NewFile(), young = NewFile();
  Vault::Ref first = kept.PutStruct(Vault::Kind::kPin, uint64_t{1}, old);
  kept.Erase(first);
  Vault::Ref second = kept.PutStruct(Vault::Kind::kPin, uint64_t{2}, young);
  REQUIRE(first == second);
  keeper.Read();
  REQUIRE(keeper.fds.size() == 1);
  CHECK(SameFile(keeper.fds.begin()->second, young));
  // One without.
  kept.Erase(second);
  CHECK(kept.PutStruct(Vault::Kind::kPin, uint64_t{3}) == first);
  keeper.Read();
  CHECK(keeper.fds.empty());
}

TEST_CASE("Kept: the descriptor of a record that was never made is let go",
          "[kept]") {
  auto state = NewState();
  FakeKeeper keeper;
  Vault::Ref ref;
  {
    Kept kept(*state, keeper.server, keeper.fds);
    // Killed between the two halves of Put.
    ref = state->Reserve(8);
    UniqueFd file = NewFile();
    kept.Keep(ref, file);
  }
  keeper.Read();
  CHECK(keeper.fds.size() == 1);
  {
    state = Reopen(*state);
    Kept next(*state, keeper.server, keeper.fds);
    // Another record comes to its place, which has none.
    CHECK(next.PutStruct(Vault::Kind::kOpenFile, uint64_t{7}) == ref);
  }
  keeper.Read();
  CHECK(keeper.fds.empty());
  state = Reopen(*state);
  Kept last(*state, keeper.server, keeper.fds);
  auto files = last.Inherited(Vault::Kind::kOpenFile);
  REQUIRE(files.size() == 1);
  CHECK_FALSE(files[0].fd);
}

TEST_CASE("Kept: another keeper is given everything again", "[kept]") {
  auto state = NewState();
  FakeKeeper keeper;
  std::vector<UniqueFd> files;
  std::vector<Vault::Ref> refs;
  {
    Kept first(*state, keeper.server, keeper.fds);
    files.push_back(NewFile());
    refs.push_back(
        first.PutStruct(Vault::Kind::kPin, uint64_t{0}, files.back()));
  }
  keeper.Read();
  // By a server that has some of its own, and some of the one before.
  state = Reopen(*state);
  Kept kept(*state, keeper.server, keeper.fds);
  auto inherited = kept.Inherited(Vault::Kind::kPin);
  REQUIRE(inherited.size() == 1);
  for (uint64_t i = 1; i < 4; ++i) {
    files.push_back(NewFile());
    refs.push_back(kept.PutStruct(Vault::Kind::kPin, i, files.back()));
  }
  kept.Erase(refs[2]);
  keeper.socket.reset();
  keeper.fds.clear();
  // What is said to nobody is counted.
  Vault::Ref late =
      kept.PutStruct(Vault::Kind::kPin, uint64_t{4}, files.back());
  CHECK(kept.missed() == 1);

  FakeKeeper another;
  REQUIRE(dup3(another.server.get(), keeper.server.get(), O_CLOEXEC) >= 0);
  kept.GiveAgain();
  REQUIRE(another.Read());
  CHECK(another.fds.size() == 4);
  for (size_t i : {0, 1, 3}) {
    CAPTURE(i);
    REQUIRE(another.fds.count(Number(refs[i])) == 1);
    CHECK(SameFile(another.fds[Number(refs[i])], files[i]));
  }
  CHECK(another.fds.count(Number(late)) == 1);
}

TEST_CASE("Kept: many threads put and erase", "[kept]") {
  auto state = NewState();
  FakeKeeper keeper;
  Kept kept(*state, keeper.server, keeper.fds);
  std::atomic<bool> over{false};
  std::thread reader([&] {
    while (!over.load()) {
      pollfd in{keeper.socket.get(), POLLIN, 0};
      poll(&in, 1, 10);
      keeper.Read();
    }
  });
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Random random(t);
      std::vector<Vault::Ref> mine;
      for (uint64_t i = 0; i < 500; ++i) {
        if (mine.size() < 8 || random.OneIn(2)) {
          // The file tells which record it belongs to.
          UniqueFd file = NewFile();
          uint64_t mark = t << 32 | i;
          (void)!write(file.get(), &mark, sizeof(mark));
          mine.push_back(kept.PutStruct(Vault::Kind::kPin, mark, file));
        } else {
          size_t at = random.Below(mine.size());
          kept.Erase(mine[at]);
          mine.erase(mine.begin() + static_cast<ptrdiff_t>(at));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  over = true;
  reader.join();
  keeper.Read();
  CHECK(kept.missed() == 0);
  state = Reopen(*state);
  Kept next(*state, keeper.server, keeper.fds);
  auto items = next.Inherited(Vault::Kind::kPin);
  CHECK(items.size() == keeper.fds.size());
  for (Vault::Item& item : items) {
    uint64_t mark = 0, in_file = 1;
    REQUIRE(Vault::Read(item, mark));
    REQUIRE(item.fd);
    REQUIRE(pread(item.fd.get(), &in_file, sizeof(in_file), 0) == 8);
    REQUIRE(mark == in_file);
  }
}

}  // namespace
}  // namespace handlefs::test

// OwnerLocks against a model that knows, byte by byte, who holds what.
#include "handles/owner_locks.h"

#include <fcntl.h>

#include <array>
#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "support.h"

namespace handlefs::test {
namespace {

constexpr uint64_t kBytes = 48;
constexpr uint64_t kEnd = INT64_MAX;

struct LockedFiles {
  TempDir temp;
  size_t opened = 0;
  int refuse = 0;  // what opening fails with
  OwnerLocks locks;

  std::string PathOf(NodeId node) {
    return temp / ("f" + std::to_string(Raw(node)));
  }
  OwnerLocks::Opener OpenerOf(NodeId node) {
    return [this, node](int access) -> Result<UniqueFd> {
      if (refuse != 0) return Errno(refuse);
      ++opened;
      return OpenAt(PathOf(node), access | O_CREAT);
    };
  }
  int Set(NodeId node, LockOwner owner, const LockRange& range,
          int access = O_RDWR, Fh fh = Fh{0}) {
    return ErrorOf(locks.Set(node, owner, fh, range, access, OpenerOf(node)));
  }
  LockRange Test(NodeId node, LockOwner owner, const LockRange& range) {
    UniqueFd any = OpenAt(PathOf(node), O_RDWR | O_CREAT);
    auto out = locks.Test(node, owner, range, any);
    REQUIRE(out.ok());
    return *out;
  }
};

// The last byte stands for everything from there on.
struct Byte {
  std::map<uint64_t, int> holders;  // owner -> F_RDLCK or F_WRLCK
};
using FileModel = std::array<Byte, kBytes>;

bool Conflict(const FileModel& file, uint64_t owner, const LockRange& range) {
  for (uint64_t b = range.start; b < kBytes && b <= range.end; ++b) {
    for (const auto& [other, type] : file[b].holders) {
      if (other == owner || range.type == F_UNLCK) continue;
      if (type == F_WRLCK || range.type == F_WRLCK) return true;
    }
  }
  return false;
}

void Apply(FileModel& file, uint64_t owner, const LockRange& range) {
  for (uint64_t b = range.start; b < kBytes && b <= range.end; ++b) {
    if (range.type == F_UNLCK) {
      file[b].holders.erase(owner);
    } else {
      file[b].holders[owner] = range.type;
    }
  }
}

LockRange AnyRange(Random& random, uint64_t owner) {
  LockRange range;
  range.start = random.Below(kBytes);
  range.end = random.OneIn(4)
                  ? kEnd
                  : std::min(kBytes - 2, range.start + random.Below(12));
  if (range.end < range.start) range.end = kEnd;
  constexpr int kTypes[] = {F_RDLCK, F_WRLCK, F_UNLCK};
  range.type = kTypes[random.Below(3)];
  range.pid = static_cast<uint32_t>(1000 + owner);
  return range;
}

// What Test names must be a lock that somebody else has, and in the way.
bool IsHeld(const FileModel& file, uint64_t owner, const LockRange& asked,
            const LockRange& got) {
  uint64_t holder = got.pid - 1000;
  if (holder == owner || got.start > asked.end || asked.start > got.end ||
      (asked.type != F_WRLCK && got.type != F_WRLCK)) {
    return false;
  }
  for (uint64_t b = got.start; b < kBytes && b <= got.end; ++b) {
    auto it = file[b].holders.find(holder);
    if (it == file[b].holders.end() || it->second != got.type) return false;
  }
  return true;
}

TEST_CASE("OwnerLocks: random locks against a model", "[locks]") {
  size_t fds = CountFds();
  {
    LockedFiles files;
    std::map<uint64_t, FileModel> model;
    Random random(6);
    size_t granted = 0, refused = 0, named = 0, misnamed = 0;
    for (int step = 0; step < 30000; ++step) {
      uint64_t node = 2 + random.Below(3);
      uint64_t owner = 1 + random.Below(4);
      FileModel& file = model[node];
      LockRange range = AnyRange(random, owner);
      switch (random.Below(6)) {
        case 0:
        case 1:
        case 2: {
          int access =
              range.type != F_WRLCK && random.OneIn(2) ? O_RDONLY : O_RDWR;
          int error = files.Set(NodeId{node}, LockOwner{owner}, range, access);
          bool conflict = Conflict(file, owner, range);
          REQUIRE(error == (conflict ? EAGAIN : 0));
          ++(conflict ? refused : granted);
          if (!conflict) Apply(file, owner, range);
          break;
        }
        case 3:
        case 4: {
          if (range.type == F_UNLCK) break;
          LockRange got = files.Test(NodeId{node}, LockOwner{owner}, range);
          if (!Conflict(file, owner, range)) {
            REQUIRE(got.type == F_UNLCK);
            break;
          }
          REQUIRE(got.type != F_UNLCK);
          if (!IsHeld(file, owner, range, got)) ++misnamed;
          ++named;
          break;
        }
        default: {
          if (!random.OneIn(3)) break;
          bool held = false;
          for (Byte& byte : file) held |= byte.holders.erase(owner) > 0;
          REQUIRE(files.locks.DropOwner(NodeId{node}, LockOwner{owner}) ==
                  held);
        }
      }
    }
    CHECK(granted > 1000);
    CHECK(refused > 1000);
    CHECK(named > 1000);
    CHECK(misnamed == 0);
    for (uint64_t node = 2; node < 5; ++node) {
      for (uint64_t owner = 1; owner < 5; ++owner) {
        files.locks.DropOwner(NodeId{node}, LockOwner{owner});
      }
    }
    // No descriptor is kept for an owner that holds nothing.
    CHECK(CountFds() == fds);
  }
  CHECK(CountFds() == fds);
}

TEST_CASE("OwnerLocks: against locks of the host", "[locks]") {
  LockedFiles files;
  NodeId node{2};
  LockOwner alice{1};
  UniqueFd host = OpenAt(files.PathOf(node), O_RDWR | O_CREAT);
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_start = 10;
  lock.l_len = 10;
  REQUIRE(fcntl(host.get(), F_OFD_SETLK, &lock) == 0);
  LockRange read{.start = 0, .end = 10, .type = F_RDLCK, .pid = 7};
  CHECK(files.Set(node, alice, read) == EAGAIN);
  LockRange got = files.Test(node, alice, read);
  CHECK(got.type == F_WRLCK);
  CHECK(got.start == 10);
  CHECK(got.end == 19);
  read.end = 9;
  CHECK(files.Set(node, alice, read) == 0);
  // And the host sees ours.
  lock.l_start = 9;
  lock.l_len = 0;
  CHECK(fcntl(host.get(), F_OFD_SETLK, &lock) != 0);
  CHECK(files.locks.DropOwner(node, alice));
  CHECK(fcntl(host.get(), F_OFD_SETLK, &lock) == 0);
}

TEST_CASE("OwnerLocks: an upgrade that fails keeps what was held", "[locks]") {
  LockedFiles files;
  NodeId node{2};
  LockOwner alice{1}, bob{2};
  LockRange read{.start = 0, .end = 9, .type = F_RDLCK, .pid = 7};
  LockRange write{.start = 0, .end = 9, .type = F_WRLCK, .pid = 8};
  REQUIRE(files.Set(node, alice, read, O_RDONLY) == 0);
  REQUIRE(files.Set(node, bob, read, O_RDONLY) == 0);
  SECTION("because of another's lock") {
    CHECK(files.Set(node, alice, write) == EAGAIN);
  }
  SECTION("because the file cannot be opened for writing") {
    files.refuse = EACCES;
    CHECK(files.Set(node, alice, write) == EACCES);
    files.refuse = 0;
  }
  CHECK(files.locks.DropOwner(node, bob));
  CHECK(files.Set(node, bob, write) == EAGAIN);  // alice still reads
  CHECK(files.Set(node, alice, write) == 0);
  CHECK(files.Test(node, bob, read).type == F_WRLCK);
}

TEST_CASE("OwnerLocks: a failed first lock leaves nothing", "[locks]") {
  size_t fds = CountFds();
  LockedFiles files;
  NodeId node{2};
  LockOwner alice{1}, bob{2};
  LockRange write{.start = 0, .end = kEnd, .type = F_WRLCK, .pid = 7};
  REQUIRE(files.Set(node, alice, write) == 0);
  CHECK(files.Set(node, bob, write) == EAGAIN);
  CHECK(CountFds() == fds + 1);
  CHECK_FALSE(files.locks.DropOwner(node, bob));
  files.refuse = ENFILE;
  CHECK(files.Set(node, bob, write) == ENFILE);
  CHECK(files.locks.DropOwner(node, alice));
  LockRange unlock = write;
  unlock.type = F_UNLCK;
  size_t opened = files.opened;
  CHECK(files.Set(node, alice, unlock) == 0);  // nothing is opened for it
  CHECK(files.opened == opened);
  CHECK(CountFds() == fds);
}

TEST_CASE("OwnerLocks: what belongs to an open file goes with it", "[locks]") {
  size_t fds = CountFds();
  LockedFiles files;
  NodeId node{2};
  LockOwner alice{1}, bob{2};
  LockRange a{.start = 0, .end = 9, .type = F_WRLCK, .pid = 7};
  LockRange b{.start = 10, .end = 19, .type = F_WRLCK, .pid = 8};
  REQUIRE(files.Set(node, alice, a, O_RDWR, Fh{11}) == 0);
  REQUIRE(files.Set(node, bob, b, O_RDWR, Fh{12}) == 0);
  CHECK_FALSE(files.locks.DropFh(node, Fh{13}));
  CHECK_FALSE(files.locks.DropFh(NodeId{3}, Fh{11}));
  CHECK(files.locks.DropFh(node, Fh{11}));
  CHECK(files.Set(node, bob, a, O_RDWR, Fh{12}) == 0);
  CHECK(files.Set(node, alice, b, O_RDWR, Fh{11}) == EAGAIN);
  CHECK(files.locks.DropFh(node, Fh{12}));
  CHECK(CountFds() == fds);
}

}  // namespace
}  // namespace handlefs::test

// Open files, locks and pins of a server that is gone, in the next one.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "fake_vault.h"
#include "handles/fd_cache.h"
#include "handles/open_files.h"
#include "handles/owner_locks.h"
#include "support.h"

namespace handlefs::test {
namespace {

using Kind = Vault::Kind;
using Left = OpenFiles::Left;

constexpr uint64_t kToEnd = INT64_MAX;

std::shared_ptr<OpenFile> FileOf(uint64_t node, UniqueFd fd) {
  auto file = std::make_shared<OpenFile>();
  file->fd = std::move(fd);
  file->node = NodeId{node};
  return file;
}

UniqueFd Memory() { return UniqueFd(memfd_create("test", MFD_CLOEXEC)); }

struct Visit {
  uint64_t node;
  int flags;
  Left left;
  friend bool operator==(const Visit&, const Visit&) = default;
};
std::vector<Visit> Restore(OpenFiles& files) {
  std::vector<Visit> out;
  files.Restore([&](const OpenFile& file, Left left) {
    out.push_back({Raw(file.node), file.flags, left});
  });
  return out;
}

TEST_CASE("open files sleep until they are used", "[restored]") {
  FakeVault vault;
  Fh fh{0};
  {
    OpenFiles first(1, &vault);
    auto file = FileOf(7, Memory());
    file->backing = BackingId{3};
    fh = *first.Insert(file, O_RDWR | O_APPEND, Unique{40});
    CHECK(vault.Count(Kind::kOpenFile) == 1);
    CHECK(vault.fds() == 0);
  }
  OpenFiles second(2, &vault);
  CHECK(second.IsForeign(fh));
  CHECK(ErrorOf(second.Find(fh)) == EBADF);
  CHECK(Restore(second) ==
        std::vector<Visit>{{7, O_RDWR | O_APPEND, Left::kOpen}});
  auto asleep = second.Find(fh);
  REQUIRE(asleep.ok());
  CHECK_FALSE((*asleep)->fd);
  CHECK((*asleep)->backing == BackingId{3});
  // Nothing can be done by a descriptor that is not there.
  CHECK(second.OfNode(NodeId{7}) == nullptr);
  // Two threads open it again; one of them was first.
  auto awake = FileOf(7, Memory());
  awake->record = (*asleep)->record;
  CHECK(second.Wake(fh, awake) == awake);
  CHECK(second.Wake(fh, FileOf(7, Memory())) == awake);
  CHECK(*second.Find(fh) == awake);
  CHECK(second.OfNode(NodeId{7}) == awake);
  CHECK(second.size() == 1);
  auto removed = second.Remove(fh);
  REQUIRE(removed.ok());
  second.Closing(**removed);
  second.Closed(**removed);
  CHECK(vault.Count(Kind::kOpenFile) == 0);
  CHECK(second.size() == 0);
  // Woken after its end.
  auto late = FileOf(7, Memory());
  CHECK(second.Wake(fh, late) == late);
  CHECK(second.size() == 0);
}

TEST_CASE("a file that the keeper holds is awake", "[restored]") {
  FakeVault vault;
  Fh fh{0};
  {
    OpenFiles first(1, &vault);
    auto file = FileOf(7, Memory());
    REQUIRE(write(file->fd.get(), "x", 1) == 1);
    fh = *first.Insert(file, O_RDWR);
    first.Keep(*file);
    CHECK(vault.fds() == 1);
  }
  OpenFiles second(2, &vault);
  Restore(second);
  auto file = second.Find(fh);
  REQUIRE(file.ok());
  CHECK((*file)->is_kept);
  // The same description: its position is where it was.
  CHECK(lseek((*file)->fd.get(), 0, SEEK_CUR) == 1);
  CHECK(second.OfNode(NodeId{7}) == *file);
}

TEST_CASE("a file whose end had begun ends", "[restored]") {
  FakeVault vault;
  Fh fh{0};
  {
    OpenFiles first(1, &vault);
    fh = *first.Insert(FileOf(7, Memory()), O_RDONLY);
    auto removed = first.Remove(fh);
    first.Closing(**removed);
  }
  OpenFiles second(2, &vault);
  CHECK(Restore(second) == std::vector<Visit>{{7, O_RDONLY, Left::kClosing}});
  CHECK(ErrorOf(second.Find(fh)) == EBADF);
  CHECK(vault.Count(Kind::kOpenFile) == 0);
}

TEST_CASE("the file that a request opened is found by the request",
          "[restored]") {
  FakeVault vault;
  Fh fh{0};
  {
    OpenFiles first(1, &vault);
    fh = *first.Insert(FileOf(7, Memory()), O_RDONLY, Unique{40});
    // Without a request it is nobody's.
    (void)first.Insert(FileOf(8, Memory()), O_RDONLY).ok();
    CHECK_FALSE(first.OfRequest(Unique{40}));
  }
  OpenFiles second(2, &vault);
  Restore(second);
  CHECK(second.OfRequest(Unique{40 | kUniqueResend}) == fh);
  CHECK_FALSE(second.OfRequest(Unique{42 | kUniqueResend}));
  CHECK_FALSE(second.OfRequest(Unique{kUniqueResend}));
}

TEST_CASE("a vault that is full costs the restart alone", "[restored]") {
  FakeVault vault;
  vault.is_full = true;
  OpenFiles files(1, &vault);
  auto file = FileOf(7, Memory());
  auto fh = files.Insert(file, O_RDWR, Unique{2});
  REQUIRE(fh.ok());
  files.Keep(*file);
  auto removed = files.Remove(*fh);
  REQUIRE(removed.ok());
  files.Closing(**removed);
  files.Closed(**removed);
  CHECK(vault.fds() == 0);
}

TEST_CASE("many open files over many servers, against a map", "[restored]") {
  FakeVault vault;
  Random random(5);
  std::map<uint64_t, uint64_t> model;  // fh -> node
  for (uint32_t server = 1; server <= 30; ++server) {
    OpenFiles files(server, &vault);
    std::map<uint64_t, uint64_t> visited;
    size_t closing = 0;
    files.Restore([&](const OpenFile& file, Left left) {
      closing += left == Left::kClosing;
      ++visited[Raw(file.node)];
    });
    REQUIRE(visited.size() == model.size() + closing);
    REQUIRE(files.size() == model.size());
    for (const auto& [fh, node] : model) {
      auto found = files.Find(Fh{fh});
      REQUIRE(found.ok());
      REQUIRE(Raw((*found)->node) == node);
    }
    for (uint64_t step = 0; step < 60; ++step) {
      if (model.empty() || random.OneIn(2)) {
        uint64_t node = uint64_t{server} << 32 | step;
        auto fh = files.Insert(FileOf(node, Memory()), O_RDONLY);
        REQUIRE(fh.ok());
        REQUIRE(model.emplace(Raw(*fh), node).second);
      } else {
        auto it = model.begin();
        std::advance(it, random.Below(model.size()));
        auto removed = files.Remove(Fh{it->first});
        REQUIRE(removed.ok());
        files.Closing(**removed);
        // Some servers are killed in between.
        if (!random.OneIn(10)) files.Closed(**removed);
        model.erase(it);
      }
    }
  }
}

// Locks on one file, by servers that follow each other.
struct Locked {
  TempDir temp;
  FakeVault vault;
  std::unique_ptr<OwnerLocks> locks = std::make_unique<OwnerLocks>(&vault);
  std::vector<int> accesses;  // that were opened

  void NextServer() {
    locks = std::make_unique<OwnerLocks>(&vault);
    locks->Restore();
  }
  int Set(uint64_t owner, const LockRange& range, int access = O_RDWR,
          Fh fh = Fh{1}) {
    return ErrorOf(locks->Set(NodeId{9}, LockOwner{owner}, fh, range, access,
                              [&](int mode) -> Result<UniqueFd> {
                                accesses.push_back(mode);
                                return OpenAt(temp / "f", mode | O_CREAT);
                              }));
  }
  // What a process of the host is kept from: the first lock in the way.
  LockRange Seen(int type = F_WRLCK) {
    UniqueFd any = OpenAt(temp / "f", O_RDWR | O_CREAT);
    struct flock lock {};
    lock.l_type = static_cast<short>(type);
    lock.l_whence = SEEK_SET;
    REQUIRE(fcntl(any.get(), F_OFD_GETLK, &lock) == 0);
    return {.start = static_cast<uint64_t>(lock.l_start),
            .end = lock.l_len == 0
                       ? kToEnd
                       : static_cast<uint64_t>(lock.l_start + lock.l_len - 1),
            .type = lock.l_type};
  }
};

bool Is(const LockRange& range, uint64_t start, uint64_t end, int type) {
  CAPTURE(range.start, range.end, range.type);
  return range.start == start && range.end == end && range.type == type;
}

TEST_CASE("locks are held while nobody serves, and known afterwards",
          "[restored]") {
  Locked f;
  CHECK(f.Set(1, {.start = 0, .end = 9, .type = F_WRLCK, .pid = 77}) == 0);
  CHECK(f.Set(1, {.start = 20, .end = kToEnd, .type = F_RDLCK, .pid = 77}) ==
        0);
  f.locks.reset();
  CHECK(Is(f.Seen(), 0, 9, F_WRLCK));
  f.NextServer();
  // Others are kept out, and told by whom.
  CHECK(f.Set(2, {.start = 5, .end = 5, .type = F_RDLCK}) == EAGAIN);
  UniqueFd any = OpenAt(f.temp / "f", O_RDWR);
  auto test = f.locks->Test(NodeId{9}, LockOwner{2},
                            {.start = 5, .end = 5, .type = F_WRLCK}, any);
  REQUIRE(test.ok());
  CHECK(test->pid == 77);
  CHECK(Is(*test, 0, 9, F_WRLCK));
  test = f.locks->Test(NodeId{9}, LockOwner{2},
                       {.start = 1000, .end = 1000, .type = F_WRLCK}, any);
  CHECK(test->pid == 77);
  CHECK(Is(*test, 20, kToEnd, F_RDLCK));
  // The owner goes on with what it has.
  CHECK(f.Set(1, {.start = 5, .end = 9, .type = F_UNLCK}) == 0);
  CHECK(f.Set(2, {.start = 5, .end = 5, .type = F_WRLCK}) == 0);
  CHECK(f.locks->DropOwner(NodeId{9}, LockOwner{1}));
  CHECK(Is(f.Seen(), 5, 5, F_WRLCK));
  CHECK(f.locks->DropOwner(NodeId{9}, LockOwner{2}));
  CHECK(f.Seen().type == F_UNLCK);
  CHECK(f.vault.Count(Kind::kLockOwner) == 0);
}

TEST_CASE("letting go reaches past the keeper's duplicate", "[restored]") {
  Locked f;
  CHECK(f.Set(1, {.start = 0, .end = kToEnd, .type = F_WRLCK}) == 0);
  SECTION("by the owner") { f.locks->DropOwner(NodeId{9}, LockOwner{1}); }
  SECTION("by the open file") { f.locks->DropFh(NodeId{9}, Fh{1}); }
  SECTION("by unlocking") {
    CHECK(f.Set(1, {.start = 0, .end = kToEnd, .type = F_UNLCK}) == 0);
  }
  SECTION("by the next server") {
    f.NextServer();
    f.locks->DropFh(NodeId{9}, Fh{1});
  }
  CHECK(f.Seen().type == F_UNLCK);
  CHECK(f.vault.Count(Kind::kLockOwner) == 0);
  f.NextServer();
  CHECK_FALSE(f.locks->DropOwner(NodeId{9}, LockOwner{1}));
}

TEST_CASE("a read lock becomes a write lock beside the keeper's duplicate",
          "[restored]") {
  Locked f;
  CHECK(f.Set(1, {.start = 0, .end = 9, .type = F_RDLCK}, O_RDONLY) == 0);
  CHECK(f.Set(1, {.start = 50, .end = 59, .type = F_RDLCK}, O_RDONLY) == 0);
  if (GENERATE(false, true)) f.NextServer();
  CHECK(f.Set(1, {.start = 0, .end = 9, .type = F_WRLCK}) == 0);
  CHECK(f.accesses == std::vector<int>{O_RDONLY, O_RDWR});
  CHECK(f.vault.Count(Kind::kLockOwner) == 1);
  CHECK(Is(f.Seen(F_RDLCK), 0, 9, F_WRLCK));
  f.NextServer();
  CHECK(Is(f.Seen(F_RDLCK), 0, 9, F_WRLCK));
  CHECK(f.Set(2, {.start = 50, .end = 50, .type = F_WRLCK}) == EAGAIN);
  // Not by the one that was given up.
  CHECK(f.Set(1, {.start = 0, .end = kToEnd, .type = F_UNLCK}) == 0);
  CHECK(f.Seen().type == F_UNLCK);
}

TEST_CASE("an owner whose lock was never given is gone", "[restored]") {
  Locked f;
  CHECK(f.Set(1, {.start = 0, .end = 9, .type = F_WRLCK}) == 0);
  CHECK(f.Set(2, {.start = 0, .end = 9, .type = F_WRLCK}) == EAGAIN);
  CHECK(f.vault.Count(Kind::kLockOwner) == 1);
  SECTION("killed before the host gave it") {
    UniqueFd file = OpenAt(f.temp / "f", O_RDWR);
    // As the first owner's record, but of a description without locks.
    auto items = f.vault.Inherited(Kind::kLockOwner);
    f.vault.Put(Kind::kLockOwner, items[0].data, file);
    f.NextServer();
    CHECK(f.vault.Count(Kind::kLockOwner) == 1);
  }
  SECTION("the keeper lost its descriptor") {
    f.vault.DropFds();
    f.locks.reset();
    CHECK(f.Seen().type == F_UNLCK);
    f.NextServer();
    CHECK(f.vault.Count(Kind::kLockOwner) == 0);
    CHECK(f.Set(2, {.start = 0, .end = 9, .type = F_WRLCK}) == 0);
  }
}

TEST_CASE("many ranges come back as they are", "[restored]") {
  Locked f;
  for (uint64_t i = 0; i < 100; ++i) {
    int type = i % 2 == 0 ? F_WRLCK : F_RDLCK;
    REQUIRE(f.Set(1, {.start = i * 10, .end = i * 10 + 4, .type = type}) == 0);
  }
  f.NextServer();
  for (uint64_t i = 0; i < 100; ++i) {
    LockRange at{.start = i * 10, .end = i * 10 + 4, .type = F_WRLCK};
    REQUIRE(f.Set(2, at) == EAGAIN);
    at.type = F_RDLCK;
    REQUIRE(f.Set(2, at) == (i % 2 == 0 ? EAGAIN : 0));
    at.start += 5, at.end += 5;
    REQUIRE(f.Set(2, at) == 0);
  }
}

SharedFd SharedMemory() { return std::make_shared<const UniqueFd>(Memory()); }

TEST_CASE("pins come back with their lookups", "[restored]") {
  FakeVault vault;
  ino_t inode = 0;
  {
    Pins pins;
    pins.Restore(vault);
    SharedFd fd = SharedMemory();
    struct stat st;
    REQUIRE(fstat(fd->get(), &st) == 0);
    inode = st.st_ino;
    // Somebody has it open: at once.
    Vault::Ref ref = pins.KeepAhead(NodeId{5}, *fd);
    CHECK(vault.fds() == 1);
    pins.Add(NodeId{5}, fd, ref);
    pins.AddLookup(NodeId{5});
    pins.AddLookup(NodeId{5});
    pins.Forget(NodeId{5}, 1);
    pins.AddLookup(NodeId{5});
  }
  Pins pins;
  pins.Restore(vault);
  CHECK(pins.size() == 1);
  SharedFd found = pins.Find(NodeId{5});
  REQUIRE(found != nullptr);
  struct stat st;
  REQUIRE(fstat(found->get(), &st) == 0);
  CHECK(st.st_ino == inode);
  pins.Forget(NodeId{5}, 1);
  CHECK(pins.size() == 1);
  pins.Forget(NodeId{5}, 1);
  CHECK(pins.size() == 0);
  CHECK(vault.Count(Kind::kPin) == 0);
}

TEST_CASE("a pin that nobody needs at once waits for its FORGET",
          "[restored]") {
  FakeVault vault;
  Pins pins;
  pins.Restore(vault);
  pins.Add(NodeId{5}, SharedMemory());
  pins.Add(NodeId{6}, SharedMemory());
  pins.AddLookup(NodeId{5});
  pins.AddLookup(NodeId{5});
  pins.Tick(absl::Now());
  CHECK(vault.Count(Kind::kPin) == 0);
  pins.Forget(NodeId{6}, 1);
  pins.Tick(absl::Now() + absl::Seconds(1));
  CHECK(vault.Count(Kind::kPin) == 1);
  Pins next;
  next.Restore(vault);
  // With the lookups that came before it was kept.
  next.Forget(NodeId{5}, 1);
  CHECK(next.size() == 1);
  // It got a name again.
  next.Remove(NodeId{5});
  CHECK(vault.Count(Kind::kPin) == 0);
}

TEST_CASE("pins without a descriptor, and twice, are let go", "[restored]") {
  FakeVault vault;
  {
    Pins pins;
    pins.Restore(vault);
    UniqueFd fd = Memory();
    CHECK(pins.KeepAhead(NodeId{5}, fd) != Vault::kNoRef);
    CHECK(pins.KeepAhead(NodeId{5}, fd) != Vault::kNoRef);
    CHECK(pins.KeepAhead(NodeId{6}, {}) != Vault::kNoRef);
    uint32_t other_size = 1;
    vault.PutStruct(Kind::kPin, other_size, fd);
    // One that turned out not to be needed.
    pins.Erase(pins.KeepAhead(NodeId{7}, fd));
  }
  Pins pins;
  pins.Restore(vault);
  CHECK(pins.size() == 1);
  CHECK(vault.Count(Kind::kPin) == 1);
  Pins none;
  UniqueFd fd = Memory();
  CHECK(none.KeepAhead(NodeId{5}, fd) == Vault::kNoRef);
}

}  // namespace
}  // namespace handlefs::test

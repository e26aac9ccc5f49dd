// Nodes: single promises, each on a file system where it is at stake.
#include "handles/nodes.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <thread>
#include <vector>

#include "tree_model.h"

namespace handlefs::test {
namespace {

// A file system, its folder `source`, and the Nodes that serve that.
struct Served {
  explicit Served(FsKind kind, Nodes::Config c = {}) : fs(kind), config(c) {
    config.key = kTestKey;
    mkdir(source.c_str(), 0755);
    Restart();
  }
  void Restart() { nodes = ServeTree(source, config); }
  std::string operator/(const std::string& name) const {
    return source + "/" + name;
  }
  void Write(const std::string& name) const {
    UniqueFd fd = OpenAt(*this / name, O_RDWR | O_CREAT | O_EXCL);
    REQUIRE(fd);
  }
  Nodes::Entry Lookup(const std::string& name, NodeId dir = kRootNode) {
    auto entry = nodes->Lookup(dir, name.c_str());
    CAPTURE(name);
    REQUIRE(ErrorOf(entry) == 0);
    return *entry;
  }
  int Resolve(NodeId id) { return ErrorOf(nodes->Resolve(id)); }
  // UNLINK or RMDIR through the mount.
  void Remove(const std::string& name, int flags = 0) {
    auto dir = nodes->ResolveDir(kRootNode);
    auto victim = nodes->LookAtVictim(**dir, name.c_str());
    REQUIRE(unlinkat((*dir)->get(), name.c_str(), flags) == 0);
    nodes->LostName(victim);
  }
  MountedFs fs;
  std::string source = fs.path() + "/source";
  Nodes::Config config;
  std::unique_ptr<Nodes> nodes;
};

Nodes::Config ByFd(size_t budget = 1024) {
  return {.identity = Identity::kFd,
          .exported = Nodes::Export::kOff,
          .key = {},
          .fd_budget = budget};
}

constexpr FsKind kPacked[] = {FsKind::kExt4, FsKind::kXfs, FsKind::kBtrfs,
                              FsKind::kTmpfs};

TEST_CASE("Nodes: which identity is possible", "[mounted][nodes]") {
  auto make = [](const std::string& path, Identity identity) {
    auto source = OpenSource(path, Submounts::kHide);
    REQUIRE(source.ok());
    Nodes::Config config;
    config.identity = identity;
    return Nodes::Make(std::move(*source), config);
  };
  MountedFs ext4(FsKind::kExt4), overlay(FsKind::kOverlay);
  CHECK(make(ext4.path(), Identity::kHandle).ok());
  auto automatic = make(ext4.path(), Identity::kAuto);
  CHECK((*automatic)->file_systems().main().has_handles);
  CHECK((*automatic)->file_systems().why_not_handles().empty());
  auto by_fd = make(ext4.path(), Identity::kFd);
  CHECK_FALSE((*by_fd)->file_systems().main().has_handles);
  auto refused = make(overlay.path(), Identity::kHandle);
  CHECK(refused.status().code() == absl::StatusCode::kFailedPrecondition);
  auto fallen_back = make(overlay.path(), Identity::kAuto);
  REQUIRE(fallen_back.ok());
  CHECK_FALSE((*fallen_back)->file_systems().main().has_handles);
  CHECK_FALSE((*fallen_back)->file_systems().why_not_handles().empty());
  // The same without the capability, on a thread of its own.
  absl::Status without;
  std::string why;
  std::thread([&] {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) != 0) return;
    data[0].effective &= ~(1u << CAP_DAC_READ_SEARCH);
    if (syscall(SYS_capset, &header, data) != 0) return;
    auto source = OpenSource(ext4.path(), Submounts::kHide);
    Nodes::Config config;
    config.identity = Identity::kHandle;
    without = Nodes::Make(std::move(*source), config).status();
    source = OpenSource(ext4.path(), Submounts::kHide);
    config.identity = Identity::kAuto;
    auto nodes = Nodes::Make(std::move(*source), config);
    if (nodes.ok()) why = (*nodes)->file_systems().why_not_handles();
  }).join();
  CHECK(without.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(why.find("CAP_DAC_READ_SEARCH") != std::string::npos);
}

TEST_CASE("Nodes: the handles of these file systems are packed",
          "[mounted][nodes]") {
  for (FsKind kind : kPacked) {
    CAPTURE(NameOf(kind));
    Served s(kind);
    s.Write("f");
    mkdir((s / "d").c_str(), 0755);
    CHECK_FALSE(IsTableId(s.Lookup("f").id));
    CHECK_FALSE(IsTableId(s.Lookup("d").id));
    CHECK(s.nodes->stats().table.entries == 0);
  }
}

TEST_CASE("Nodes: nodeids that nobody gave out", "[mounted][nodes]") {
  for (FsKind kind : kPacked) {
    CAPTURE(NameOf(kind));
    Served s(kind);
    for (uint64_t id :
         {uint64_t{0}, uint64_t{2}, uint64_t{1} << 32, (uint64_t{1} << 33) - 1,
          uint64_t{2} << 32, (uint64_t{2} << 32) + 2, uint64_t{11} << 32,
          kTableBit, kTableBit | 1, ~uint64_t{0}, kTableBit - 1}) {
      CAPTURE(id);
      CHECK(s.Resolve(NodeId{id}) == ESTALE);
      CHECK(ErrorOf(s.nodes->Open(NodeId{id}, O_RDONLY)) == ESTALE);
      CHECK(ErrorOf(s.nodes->Lookup(NodeId{id}, "f")) == ESTALE);
      s.nodes->Forget(NodeId{id}, 1);
    }
  }
}

TEST_CASE("Nodes: what is no directory is not resolved as one",
          "[mounted][nodes]") {
  for (Nodes::Config config : {Nodes::Config{}, ByFd(), ByFd(0)}) {
    Served s(FsKind::kExt4, config);
    CAPTURE(static_cast<int>(config.identity), config.fd_budget);
    s.Write("f");
    NodeId id = s.Lookup("f").id;
    CHECK(ErrorOf(s.nodes->ResolveDir(id)) == ENOTDIR);
    REQUIRE(s.Resolve(id) == 0);  // now its descriptor is at hand
    CHECK(ErrorOf(s.nodes->ResolveDir(id)) == ENOTDIR);
    s.Remove("f");
    REQUIRE(s.Resolve(id) == 0);  // pinned
    CHECK(ErrorOf(s.nodes->ResolveDir(id)) == ENOTDIR);
  }
}

TEST_CASE("Nodes: special files are not opened", "[mounted][nodes]") {
  for (Nodes::Config config : {Nodes::Config{}, ByFd(), ByFd(0)}) {
    Served s(FsKind::kExt4, config);
    REQUIRE(mknod((s / "char").c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0);
    REQUIRE(mknod((s / "block").c_str(), S_IFBLK | 0600, makedev(7, 0)) == 0);
    REQUIRE(mkfifo((s / "fifo").c_str(), 0600) == 0);
    REQUIRE(mknod((s / "socket").c_str(), S_IFSOCK | 0600, 0) == 0);
    REQUIRE(symlink("/", (s / "link").c_str()) == 0);
    for (const char* name : {"char", "block", "fifo", "socket", "link"}) {
      CAPTURE(name);
      NodeId id = s.Lookup(name).id;
      int error = std::string(name) == "link" ? ELOOP : ENXIO;
      CHECK(ErrorOf(s.nodes->Open(id, O_RDWR | O_NONBLOCK)) == error);
      auto fd = s.nodes->Resolve(id);
      REQUIRE(fd.ok());
      CHECK((fcntl((*fd)->get(), F_GETFL) & O_PATH) != 0);
      CHECK(NumbersOf(**fd) == NumbersOf(s / name));
      CHECK(ErrorOf(s.nodes->Lookup(id, "x")) == ENOTDIR);
    }
  }
}

TEST_CASE("Nodes: the life of a file without a name", "[mounted][nodes]") {
  for (FsKind kind : {FsKind::kExt4, FsKind::kXfs, FsKind::kBtrfs,
                      FsKind::kTmpfs, FsKind::kOverlayExport}) {
    CAPTURE(NameOf(kind));
    Served s(kind);
    s.Write("f");
    s.Write("two");
    link((s / "two").c_str(), (s / "names").c_str());
    mkdir((s / "d").c_str(), 0755);
    NodeId file = s.Lookup("f").id, two = s.Lookup("two").id,
           dir = s.Lookup("d").id;
    s.Lookup("f");
    for (NodeId id : {file, two, dir}) CHECK(s.Resolve(id) == 0);
    s.Remove("f");
    s.Remove("two");
    s.Remove("d", AT_REMOVEDIR);
    CHECK(s.nodes->stats().pins == 2);  // "two" is still "names"
    for (NodeId id : {file, two, dir}) CHECK(s.Resolve(id) == 0);
    CHECK(ErrorOf(s.nodes->Open(file, O_RDWR)) == 0);
    CHECK(ErrorOf(s.nodes->Open(dir, O_RDONLY | O_DIRECTORY)) == 0);
    CHECK(ErrorOf(s.nodes->Lookup(dir, "x")) == ENOENT);
    s.nodes->Forget(file, 2);
    s.nodes->Forget(dir, 1);
    CHECK(s.nodes->stats().pins == 0);
    CHECK(s.Resolve(file) == ESTALE);
    s.nodes->Forget(two, 1);
  }
}

TEST_CASE("Nodes: a file that was never named is counted from birth",
          "[mounted][nodes]") {
  for (Nodes::Config config : {Nodes::Config{}, ByFd()}) {
    Served s(FsKind::kExt4, config);
    auto dir = s.nodes->ResolveDir(kRootNode);
    UniqueFd fd(openat((*dir)->get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC));
    auto entry = s.nodes->AdoptNameless(fd);
    REQUIRE(ErrorOf(entry) == 0);
    fd.reset();
    REQUIRE(ErrorOf(s.nodes->LookupSelf(entry->id)) == 0);
    s.nodes->Forget(entry->id, 1);
    s.nodes->Trim();
    CHECK(s.Resolve(entry->id) == 0);
    s.nodes->Forget(entry->id, 1);
    s.nodes->Trim();
    CHECK(s.Resolve(entry->id) == ESTALE);
  }
}

TEST_CASE("Nodes: a name that does not hold still", "[mounted][nodes]") {
  for (Nodes::Config config : {Nodes::Config{}, ByFd()}) {
    Served s(FsKind::kTmpfs, config);
    s.Write("a");
    s.Write("b");
    std::atomic<bool> stop{false};
    std::thread restless([&] {
      while (!stop) {
        renameat2(AT_FDCWD, (s / "a").c_str(), AT_FDCWD, (s / "b").c_str(),
                  RENAME_EXCHANGE);
      }
    });
    size_t wrong = 0;
    for (int i = 0; i < 20000; ++i) {
      auto entry = s.nodes->Lookup(kRootNode, "a");
      if (!entry.ok() && ++wrong) continue;
      auto fd = s.nodes->Resolve(entry->id);
      if (!fd.ok() || NumbersOf(**fd).ino != entry->stx.stx_ino) ++wrong;
    }
    stop = true;
    restless.join();
    CHECK(wrong == 0);
  }
}

TEST_CASE("Nodes: a host path, or ENOENT", "[mounted][nodes]") {
  Served s(FsKind::kExt4);
  mkdir((s / "d").c_str(), 0755);
  s.Write("d/f");
  NodeId dir = s.Lookup("d").id, file = s.Lookup("f", dir).id;
  auto path = [&](NodeId id) {
    auto out = s.nodes->HostPath(id);
    return out.ok() ? *out : "error " + std::to_string(ErrorOf(out));
  };
  CHECK(path(kRootNode) == "/");
  CHECK(path(dir) == "/d");
  CHECK(path(file) == "/d/f");
  std::string none = "error " + std::to_string(ENOENT);
  // By handle a file may be open without its name being known; then it has no
  // path, and certainly not the source's.
  s.Restart();
  DropInodes();
  std::string now = path(file);
  if (now != "/d/f") CHECK(now == none);
  REQUIRE(mkdir((s / "gone").c_str(), 0755) == 0);
  s.Write("deleted");
  NodeId gone = s.Lookup("gone").id, deleted = s.Lookup("deleted").id;
  s.Remove("gone", AT_REMOVEDIR);
  s.Remove("deleted");
  CHECK(path(gone) == none);
  CHECK(path(deleted) == none);
  // A name may end so.
  s.Write("f (deleted)");
  CHECK(path(s.Lookup("f (deleted)").id) == "/f (deleted)");
}

TEST_CASE("Nodes: by name, found again under the name of the last lookup",
          "[mounted][nodes]") {
  Served s(FsKind::kExt4, ByFd(0));
  s.Write("a");
  NodeId id = s.Lookup("a").id;
  REQUIRE(rename((s / "a").c_str(), (s / "b").c_str()) == 0);  // on the host
  s.nodes->Trim();
  CHECK(s.Lookup("b").id == id);
  CHECK(s.Resolve(id) == 0);
}

TEST_CASE("Nodes: by name, one of two names goes", "[mounted][nodes]") {
  Served s(FsKind::kExt4, ByFd(0));
  s.Write("a");
  REQUIRE(link((s / "a").c_str(), (s / "b").c_str()) == 0);
  NodeId id = s.Lookup("a").id;
  REQUIRE(s.Lookup("b").id == id);
  s.Remove("a");
  CHECK(s.Resolve(id) == 0);
  CHECK(s.Lookup("b").id == id);
  CHECK(s.Resolve(id) == 0);
}

TEST_CASE("Nodes: by name, directories that are known by each other",
          "[mounted][nodes]") {
  // c is known as a name in q, and q as the ".." of c.
  Nodes::Config config = ByFd(0);
  config.exported = Nodes::Export::kOn;
  Served s(FsKind::kExt4, config);
  for (const char* dir : {"p", "q", "p/c"}) {
    REQUIRE(mkdir((s / dir).c_str(), 0755) == 0);
  }
  NodeId c = s.Lookup("c", s.Lookup("p").id).id;
  REQUIRE(s.Resolve(c) == 0);
  REQUIRE(rename((s / "p/c").c_str(), (s / "q/c").c_str()) == 0);
  auto q = s.nodes->LookupParent(c);
  REQUIRE(ErrorOf(q) == 0);
  auto dir = s.nodes->ResolveDir(q->id);
  REQUIRE(ErrorOf(dir) == 0);
  REQUIRE(renameat((*dir)->get(), "c", (*dir)->get(), "d") == 0);
  s.nodes->Moved(q->id, **dir, "d");
  // So many others that neither is at hand.
  for (int i = 0; i < 200; ++i) {
    std::string name = "other" + std::to_string(i);
    REQUIRE(mkdir((s / name).c_str(), 0755) == 0);
    REQUIRE(s.nodes->ResolveDir(s.Lookup(name).id).ok());
  }
  s.nodes->Trim();
  pid_t pid = fork();
  if (pid == 0) {
    signal(SIGSEGV, SIG_DFL);
    int error = s.Resolve(c);
    _exit(error == 0 || error == ESTALE ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  CHECK(status == 0);
}

// Removes a file on the host and makes others until one has its number.
std::string MakeWithNumberOf(Served& s, const std::string& old) {
  FileNumbers numbers = NumbersOf(s / old);
  REQUIRE(unlink((s / old).c_str()) == 0);
  for (int i = 0; i < 50; ++i) {
    std::string name = "again" + std::to_string(i);
    s.Write(name);
    if (NumbersOf(s / name).ino == numbers.ino) return name;
  }
  FAIL("the inode number was not used again");
  return "";
}

TEST_CASE("Nodes: by name, another file with the same inode number",
          "[mounted][nodes]") {
  Served s(FsKind::kExt4, ByFd(0));
  s.Write("a");
  NodeId old = s.Lookup("a").id;
  std::string again = MakeWithNumberOf(s, "a");
  NodeId id = s.Lookup(again).id;
  CHECK(id != old);  // which the kernel has not forgotten
  CHECK(s.Resolve(id) == 0);
}

TEST_CASE("Nodes: by name, another file with the same name and number",
          "[mounted][nodes]") {
  Served s(FsKind::kExt4, ByFd(0));
  s.Write("a");
  FileNumbers numbers = NumbersOf(s / "a");
  NodeId old = s.Lookup("a").id;
  std::string again = MakeWithNumberOf(s, "a");
  if (again != "a") {
    REQUIRE(rename((s / again).c_str(), (s / "a").c_str()) == 0);
  }
  REQUIRE(NumbersOf(s / "a").ino == numbers.ino);
  CHECK(s.Resolve(old) == ESTALE);
}

TEST_CASE("Nodes: an exported handle never opens another file",
          "[mounted][nodes]") {
  // Also not one with the same number, once the nodeid was forgotten.
  for (Identity identity : {Identity::kHandle, Identity::kFd}) {
    CAPTURE(static_cast<int>(identity));
    Served s(FsKind::kExt4, {.identity = identity,
                             .exported = Nodes::Export::kOn,
                             .key = {},
                             .fd_budget = 100});
    s.Write("a");
    Nodes::Entry old = s.Lookup("a");
    s.nodes->Forget(old.id, 1);
    std::string again = MakeWithNumberOf(s, "a");
    Nodes::Entry fresh = s.Lookup(again);
    CHECK((fresh.id != old.id || fresh.generation != old.generation));
  }
}

TEST_CASE("Nodes: many threads", "[mounted][nodes]") {
  size_t fds = CountFds();
  for (Nodes::Config config : {Nodes::Config{}, ByFd(), ByFd(3)}) {
    CAPTURE(static_cast<int>(config.identity), config.fd_budget);
    Served s(FsKind::kExt4, config);
    constexpr int kFiles = 12;
    std::vector<FileNumbers> numbers;
    for (int i = 0; i < kFiles; ++i) {
      std::string dir = "d" + std::to_string(i % 3);
      mkdir((s / dir).c_str(), 0755);
      s.Write(dir + "/f" + std::to_string(i));
      numbers.push_back(NumbersOf(s / (dir + "/f" + std::to_string(i))));
    }
    std::atomic<size_t> wrong{0};
    auto work = [&](uint64_t seed) {
      Random random(seed);
      for (int i = 0; i < 1500; ++i) {
        size_t n = random.Below(kFiles);
        std::string dir = "d" + std::to_string(n % 3);
        auto up = s.nodes->Lookup(kRootNode, dir.c_str());
        if (!up.ok() && ++wrong) continue;
        auto entry = s.nodes->Lookup(up->id, ("f" + std::to_string(n)).c_str());
        if (!entry.ok() && ++wrong) continue;
        auto fd = s.nodes->Resolve(entry->id);
        if (!fd.ok() || !(NumbersOf(**fd) == numbers[n])) ++wrong;
        auto opened = s.nodes->Open(entry->id, O_RDWR);
        if (!opened.ok() || !(NumbersOf(opened->fd) == numbers[n])) ++wrong;
        if (random.OneIn(20)) s.nodes->Trim();
        s.nodes->Forget(entry->id, 1);
        s.nodes->Forget(up->id, 1);
      }
    };
    std::vector<std::thread> threads;
    for (uint64_t i = 1; i <= 4; ++i) threads.emplace_back(work, i);
    for (std::thread& thread : threads) thread.join();
    CHECK(wrong == 0);
    CHECK(s.nodes->stats().table.entries == 0);
    CHECK(s.nodes->stats().table.descriptors == 0);
  }
  CHECK(CountFds() == fds);
}

}  // namespace
}  // namespace handlefs::test

// Names and inode numbers that somebody else gives to another file in the
// middle of a call.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <thread>
#include <utility>

#include "handles/nodes.h"
#include "tree_model.h"

namespace {
// Runs once, directly after the next look at a name's handle.
std::function<void()> after_handle;
}  // namespace

// In place of libc's.
extern "C" int name_to_handle_at(int dir, const char* name, file_handle* handle,
                                 int* mount, int flags) noexcept {
  long rc = syscall(SYS_name_to_handle_at, dir, name, handle, mount, flags);
  if (auto hook = std::exchange(after_handle, nullptr)) hook();
  return static_cast<int>(rc);
}

namespace handlefs::test {
namespace {

struct Tree {
  explicit Tree(FsKind kind) : fs(kind) { mkdir(source.c_str(), 0755); }
  std::string operator/(const std::string& name) const {
    return source + "/" + name;
  }
  UniqueFd Make(const std::string& name) const {
    UniqueFd fd = OpenAt(*this / name, O_RDWR | O_CREAT | O_EXCL);
    REQUIRE(fd);
    return fd;
  }
  MountedFs fs;
  std::string source = fs.path() + "/source";
};

TEST_CASE("Nodes: handle and attributes of an entry are of one file",
          "[mounted][nodes]") {
  Tree tree(FsKind::kExt4);
  auto nodes = ServeTree(tree.source, {.key = kTestKey});
  const std::string name = tree / "n";
  int same_number = 0;
  for (int i = 0; i < 20; ++i) {
    tree.Make("n");
    struct stat file, fifo;
    REQUIRE(stat(name.c_str(), &file) == 0);
    after_handle = [&] {
      unlink(name.c_str());
      mkfifo(name.c_str(), 0600);
    };
    auto entry = nodes->Lookup(kRootNode, "n");
    REQUIRE(ErrorOf(entry) == 0);
    REQUIRE(stat(name.c_str(), &fifo) == 0);
    if (file.st_ino == fifo.st_ino) ++same_number;
    CHECK(S_ISFIFO(entry->stx.stx_mode));
    CHECK(ErrorOf(nodes->Resolve(entry->id)) == 0);
    nodes->Forget(entry->id, 1);
    unlink(name.c_str());
  }
  // ext4 takes the lowest free number.
  CHECK(same_number > 0);
}

TEST_CASE("Nodes: what was made is the node, whatever its name means",
          "[mounted][nodes]") {
  for (Identity identity : {Identity::kAuto, Identity::kFd}) {
    Tree tree(FsKind::kExt4);
    auto nodes =
        ServeTree(tree.source, {.identity = identity, .key = kTestKey});
    auto dir = nodes->ResolveDir(kRootNode);
    UniqueFd fd = tree.Make("n");
    struct stat made;
    REQUIRE(fstat(fd.get(), &made) == 0);
    const std::string name = tree / "n";
    enum class Then { kStays, kReplaced, kRemoved };
    for (Then then : {Then::kStays, Then::kReplaced, Then::kRemoved}) {
      if (then == Then::kReplaced) {
        REQUIRE(link(name.c_str(), (tree / "other").c_str()) == 0);
        REQUIRE(unlink(name.c_str()) == 0);
        REQUIRE(mkdir(name.c_str(), 0700) == 0);
      } else if (then == Then::kRemoved) {
        REQUIRE(unlink((tree / "other").c_str()) == 0);
      }
      auto entry = nodes->LookupMade(fd, **dir, kRootNode, "n");
      REQUIRE(ErrorOf(entry) == 0);
      CHECK(entry->stx.stx_ino == made.st_ino);
      auto again = nodes->Resolve(entry->id);
      REQUIRE(ErrorOf(again) == 0);
      struct stat found;
      REQUIRE(fstat((*again)->get(), &found) == 0);
      CHECK(found.st_ino == made.st_ino);
      auto known = nodes->LookupKnown(entry->id, fd);
      REQUIRE(ErrorOf(known) == 0);
      CHECK(known->id == entry->id);
      nodes->Forget(entry->id, 2);
    }
  }
}

TEST_CASE("Handles: one is stale while its number is given anew",
          "[mounted][nodes]") {
  Tree tree(FsKind::kExt4);
  UniqueFd mount(open(tree.source.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  tree.Make("n");
  auto at = NameToHandle(mount, "n");
  REQUIRE(at.ok());
  REQUIRE(unlink((tree / "n").c_str()) == 0);
  std::atomic<bool> enough{false};
  std::thread maker([&] {
    const std::string name = tree / "m";
    while (!enough) {
      close(open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
      unlink(name.c_str());
    }
  });
  int other = 0;
  for (int i = 0; i < 200000; ++i) {
    auto opened = OpenByHandle(mount, at->handle, O_PATH);
    if (opened.ok() || opened.error() != Errno(ESTALE)) ++other;
  }
  enough = true;
  maker.join();
  CHECK(other == 0);
}

}  // namespace
}  // namespace handlefs::test

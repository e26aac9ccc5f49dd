// Directories, read in pages of every size.
#include <fcntl.h>
#include <unistd.h>

#include <map>
#include <set>

#include "served.h"

namespace handlefs::test {
namespace {

namespace fs = std::filesystem;

using Names = std::multiset<std::string>;

struct OpenedDir : Served {
  explicit OpenedDir(int files) {
    for (int i = 0; i < files; ++i) {
      // Names of every length, so that entries end everywhere in a page.
      tree.Write("f" + std::to_string(i) + std::string(i % 60, 'x'), "1");
    }
    Answer answer = kernel.Opendir(kRoot);
    REQUIRE(answer.ok());
    fh = answer.Get<abi::OpenOut>().fh;
    for (const auto& entry : fs::directory_iterator(tree.source())) {
      host.insert(entry.path().filename());
    }
    host.insert(".");
    host.insert("..");
  }

  // Everything from `offset` on, in pages of `size`.
  std::vector<ListedEntry> List(Opcode op, uint64_t offset, uint32_t size) {
    std::vector<ListedEntry> all;
    for (;;) {
      Answer answer = kernel.Readdir(op, kRoot, fh, offset, size);
      REQUIRE(answer.ok());
      CHECK(answer.payload.size() <= size);
      auto page = FakeKernel::Entries(op, answer.payload);
      if (page.empty()) return all;
      offset = page.back().dirent.off;
      all.insert(all.end(), page.begin(), page.end());
      REQUIRE(all.size() < 10000);
    }
  }

  uint64_t fh;
  Names host;
};

Names NamesOf(const std::vector<ListedEntry>& entries) {
  Names names;
  for (const ListedEntry& entry : entries) names.insert(entry.name);
  return names;
}

TEST_CASE("READDIR gives every name once, in pages of any size", "[dirs]") {
  OpenedDir dir(200);
  for (uint32_t size : {120u, 128u, 512u, 4096u, 65536u, 1u << 20}) {
    CAPTURE(size);
    CHECK(NamesOf(dir.List(Opcode::kReaddir, 0, size)) == dir.host);
  }
}

TEST_CASE("READDIRPLUS gives every name once, in pages of any size", "[dirs]") {
  OpenedDir dir(100);
  for (uint32_t size : {248u, 256u, 1000u, 4096u, 1u << 20}) {
    CAPTURE(size);
    auto entries = dir.List(Opcode::kReaddirplus, 0, size);
    CHECK(NamesOf(entries) == dir.host);
    for (const ListedEntry& entry : entries) {
      // Only entries with a node are counted as looked up.
      if (entry.node.nodeid == 0) continue;
      CHECK((entry.name != "." && entry.name != ".."));
      dir.kernel.Forget(entry.node.nodeid, 1);
    }
  }
}

TEST_CASE("entries are the host's", "[dirs]") {
  OpenedDir dir(5);
  fs::create_directory(dir.tree.Path("d"));
  fs::create_symlink("x", dir.tree.Path("l"));
  for (Opcode op : {Opcode::kReaddir, Opcode::kReaddirplus}) {
    for (const ListedEntry& entry : dir.List(op, 0, 4096)) {
      if (entry.name == "..") continue;
      CAPTURE(entry.name);
      struct stat st = HostStat(dir.tree.Path(entry.name));
      CHECK(entry.dirent.ino == st.st_ino);
      CHECK(entry.dirent.type == (st.st_mode >> 12 & 15));
      if (entry.node.nodeid == 0) continue;
      CheckAttr(entry.node.attr, dir.tree.Path(entry.name));
      CHECK(dir.kernel.Node(kRoot, entry.name) == entry.node.nodeid);
    }
  }
}

TEST_CASE("the root's parent is not shown", "[dirs]") {
  OpenedDir dir(0);
  for (const ListedEntry& entry : dir.List(Opcode::kReaddirplus, 0, 4096)) {
    CHECK(entry.node.nodeid == 0);
  }
}

TEST_CASE("a listing goes on from any offset it has given", "[dirs]") {
  OpenedDir dir(60);
  for (Opcode op : {Opcode::kReaddir, Opcode::kReaddirplus}) {
    auto all = dir.List(op, 0, 4096);
    // Backwards, so that the server has to seek each time.
    for (size_t i = all.size(); i-- > 0;) {
      CAPTURE(i);
      Names rest;
      for (size_t j = i + 1; j < all.size(); ++j) rest.insert(all[j].name);
      CHECK(NamesOf(dir.List(op, all[i].dirent.off, 4096)) == rest);
    }
  }
}

TEST_CASE("the two forms share their offsets", "[dirs]") {
  OpenedDir dir(40);
  auto all = dir.List(Opcode::kReaddir, 0, 4096);
  size_t half = all.size() / 2;
  Names rest;
  for (size_t j = half + 1; j < all.size(); ++j) rest.insert(all[j].name);
  CHECK(NamesOf(dir.List(Opcode::kReaddirplus, all[half].dirent.off, 4096)) ==
        rest);
}

TEST_CASE("a page too small for an entry is no end", "[dirs]") {
  OpenedDir dir(3);
  for (uint32_t size : {0u, 1u, 23u, 24u, 31u}) {
    CAPTURE(size);
    Answer answer =
        dir.kernel.Readdir(Opcode::kReaddir, kRoot, dir.fh, 0, size);
    CHECK(ErrorOf(answer) == EINVAL);
  }
  CHECK(ErrorOf(dir.kernel.Readdir(Opcode::kReaddirplus, kRoot, dir.fh, 0,
                                   152)) == EINVAL);
  CHECK(NamesOf(dir.List(Opcode::kReaddir, 0, 4096)) == dir.host);
}

TEST_CASE("offsets that nobody gave", "[dirs]") {
  OpenedDir dir(20);
  for (uint64_t offset : {uint64_t{1}, uint64_t{12345}, uint64_t{1} << 62,
                          uint64_t{1} << 63, ~uint64_t{0}}) {
    for (Opcode op : {Opcode::kReaddir, Opcode::kReaddirplus}) {
      Answer answer = dir.kernel.Readdir(op, kRoot, dir.fh, offset, 4096);
      if (answer.ok()) FakeKernel::Entries(op, answer.payload);
    }
  }
  CHECK(NamesOf(dir.List(Opcode::kReaddir, 0, 4096)) == dir.host);
}

TEST_CASE("a listing from its beginning sees what was made since", "[dirs]") {
  OpenedDir dir(3);
  CHECK(NamesOf(dir.List(Opcode::kReaddir, 0, 4096)) == dir.host);
  REQUIRE(dir.kernel.Mkdir(kRoot, "later", 0755).ok());
  dir.host.insert("later");
  CHECK(NamesOf(dir.List(Opcode::kReaddir, 0, 4096)) == dir.host);
}

TEST_CASE("a listing goes on in the server after this one", "[dirs]") {
  OpenedDir dir(40);
  auto all = dir.List(Opcode::kReaddir, 0, 4096);
  size_t half = all.size() / 2;
  Names rest;
  for (size_t j = half + 1; j < all.size(); ++j) rest.insert(all[j].name);
  dir.fh = FileOfBefore(dir.fh);
  CHECK(NamesOf(dir.List(Opcode::kReaddir, all[half].dirent.off, 4096)) ==
        rest);
  CHECK(NamesOf(dir.List(Opcode::kReaddir, 0, 512)) == dir.host);
}

TEST_CASE("OPENDIR", "[dirs]") {
  OpenedDir dir(1);
  uint64_t file = dir.kernel.Node(kRoot, "f0");
  CHECK(ErrorOf(dir.kernel.Opendir(file)) == ENOTDIR);
  for (uint64_t node : kForeignNodes) {
    CAPTURE(node);
    CHECK(ErrorOf(dir.kernel.Opendir(node)) == ESTALE);
  }
}

TEST_CASE("open files of the wrong kind", "[dirs]") {
  OpenedDir dir(1);
  uint64_t node = dir.kernel.Node(kRoot, "f0");
  uint64_t file = dir.kernel.OpenFh(node, O_RDWR);
  for (Opcode op : {Opcode::kReaddir, Opcode::kReaddirplus}) {
    CHECK_FALSE(dir.kernel.Readdir(op, node, file, 0, 4096).ok());
    for (uint64_t fh : UnknownFiles(dir.fh)) {
      CHECK(ErrorOf(dir.kernel.Readdir(op, kRoot, fh, 0, 4096)) == EBADF);
    }
  }
  CHECK_FALSE(dir.kernel.Read(kRoot, dir.fh, 0, 100).ok());
  CHECK_FALSE(dir.kernel.Write(kRoot, dir.fh, 0, "x").ok());
}

TEST_CASE("FSYNCDIR and RELEASEDIR", "[dirs]") {
  OpenedDir dir(1);
  auto fsyncdir = [&](uint64_t fh) {
    abi::FsyncIn in{};
    in.fh = fh;
    return ErrorOf(dir.kernel.Call(Message(Opcode::kFsyncdir, kRoot).Put(in)));
  };
  CHECK(fsyncdir(dir.fh) == 0);
  for (uint64_t fh : UnknownFiles(dir.fh)) CHECK(fsyncdir(fh) == EBADF);
  CHECK(dir.kernel.Release(Opcode::kReleasedir, kRoot, dir.fh, 0).ok());
  CHECK(ErrorOf(dir.kernel.Release(Opcode::kReleasedir, kRoot, dir.fh, 0)) ==
        EBADF);
  CHECK(ErrorOf(dir.kernel.Readdir(Opcode::kReaddir, kRoot, dir.fh, 0, 4096)) ==
        EBADF);
}

}  // namespace
}  // namespace handlefs::test

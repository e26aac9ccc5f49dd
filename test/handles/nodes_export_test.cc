// Nobody forges a node: what handles of the mount may lead to, and what not.
#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tree_model.h"

namespace handlefs::test {
namespace {

using Place = std::pair<uint64_t, uint64_t>;  // device, inode

Place PlaceOf(const std::string& path) {
  FileNumbers numbers = NumbersOf(path);
  return {numbers.dev, numbers.ino};
}

// A file system with files inside the source, and beside it.
struct Exported {
  explicit Exported(FsKind kind) : fs(kind) {
    config.exported = Nodes::Export::kOn;
    config.key = kTestKey;
    for (const char* dir :
         {"/source", "/source/d", "/source/d/e", "/outside", "/outside/d"}) {
      REQUIRE(mkdir((fs.path() + dir).c_str(), 0755) == 0);
    }
    for (const char* dir : {"/source", "/source/d", "/outside"}) {
      for (const char* file : {"/f", "/g"}) {
        UniqueFd(OpenAt(fs.path() + dir + file, O_RDWR | O_CREAT));
      }
    }
    for (const char* dir : {"/source", "/source/d", "/source/d/e"}) {
      inside.insert(PlaceOf(fs.path() + dir));
    }
    for (const char* file :
         {"/source/f", "/source/g", "/source/d/f", "/source/d/g"}) {
      inside.insert(PlaceOf(fs.path() + file));
    }
    Restart();
  }
  void Restart() { nodes = ServeTree(fs.path() + "/source", config); }
  // The nodeid that a file has or, outside, would have.
  NodeId IdOf(const std::string& path) {
    return IdOf(OpenAt(fs.path() + path, O_PATH | O_NOFOLLOW));
  }
  NodeId IdOf(const UniqueFd& fd) {
    UniqueFd top = OpenAt(fs.path() + "/source", O_RDONLY | O_DIRECTORY);
    auto root = NameToHandle(top, "");
    REQUIRE(root.ok());
    Codec codec = Codec::Probe(root->handle, NumbersOf(top).ino);
    auto at = NameToHandle(fd, "");
    REQUIRE(at.ok());
    if (auto id = codec.Pack(at->handle)) return *id;
    // What a forger would try for a handle of generation 0.
    uint64_t ino = NumbersOf(fd).ino;
    return NodeId{ino << 32 | ino};
  }
  MountedFs fs;
  Nodes::Config config;
  std::set<Place> inside;
  std::unique_ptr<Nodes> nodes;
};

// What a LOOKUP of "." with this nodeid may lead to. Of a file that is no
// directory nobody can tell where it is: its generation is a MAC that the
// kernel compares with the client's, so it must be the right one, not one that
// can be known from the nodeid alone. True if something was found.
bool CheckForged(Exported& e, NodeId id) {
  CAPTURE(Raw(id));
  auto entry = e.nodes->LookupSelf(id);
  if (!entry.ok()) {
    REQUIRE(ErrorOf(entry) == ESTALE);
    auto parent = e.nodes->LookupParent(id);
    REQUIRE_FALSE(parent.ok());
    return false;
  }
  e.nodes->Forget(id, 1);
  REQUIRE(entry->id == id);
  auto fd = e.nodes->Resolve(id);
  REQUIRE(fd.ok());
  FileNumbers numbers = NumbersOf(**fd);
  // By no other nodeid than its own.
  if (id != kRootNode) REQUIRE(e.IdOf(**fd) == id);
  if (numbers.mode == S_IFDIR) {
    REQUIRE(e.inside.contains({numbers.dev, numbers.ino}));
  } else {
    REQUIRE_FALSE(e.nodes->LookupParent(id).ok());
  }
  if (id != kRootNode) {
    uint64_t raw = Raw(id);
    auto mac = static_cast<uint32_t>(
        SipHash(kTestKey, std::as_bytes(std::span(&raw, 1))));
    REQUIRE(entry->generation != 0);
    if (mac != 0) REQUIRE(entry->generation == mac);
  }
  return true;
}

constexpr FsKind kPacked[] = {FsKind::kExt4, FsKind::kXfs, FsKind::kBtrfs,
                              FsKind::kTmpfs};

TEST_CASE("Export: forged nodeids", "[mounted][nodes][export]") {
  for (FsKind kind : kPacked) {
    CAPTURE(NameOf(kind));
    Exported e(kind);
    std::vector<std::string> all = {"/source/f",   "/source/d", "/source/d/e",
                                    "/source/d/f", "/outside",  "/outside/d",
                                    "/outside/f",  ""};
    for (const std::string& path : all) {
      NodeId id = e.IdOf(path);
      for (int a = 0; a < 64; ++a) {
        CheckForged(e, NodeId{Raw(id) ^ uint64_t{1} << a});
        NodeId two{Raw(id) ^ uint64_t{1} << a ^ uint64_t{1} << (a * 7 % 64)};
        CheckForged(e, two);
      }
      // The wildcard generation of its inode number.
      uint64_t ino = Raw(id) >> 32;
      CheckForged(e, NodeId{ino << 32 | ino});
    }
    // Names that are small: the file systems' own inodes.
    for (uint64_t ino = 0; ino < 300; ++ino) {
      for (uint64_t generation : {0, 1, 2}) {
        CheckForged(e, NodeId{ino << 32 | (ino ^ generation)});
      }
    }
    CHECK(CheckForged(e, e.IdOf("/source/d")));
    CHECK(CheckForged(e, e.IdOf("/source/d/f")));
    // Directories outside, with all bits right.
    for (const char* path : {"", "/outside", "/outside/d"}) {
      CAPTURE(path);
      CHECK(ErrorOf(e.nodes->LookupSelf(e.IdOf(path))) == ESTALE);
      CHECK(ErrorOf(e.nodes->LookupParent(e.IdOf(path))) == ESTALE);
    }
    CheckForged(e, e.IdOf("/outside/f"));
  }
}

TEST_CASE("Export: generations", "[mounted][nodes][export]") {
  Exported e(FsKind::kExt4);
  auto look = [&](const char* name) {
    auto entry = e.nodes->Lookup(kRootNode, name);
    REQUIRE(entry.ok());
    return *entry;
  };
  auto f = look("f"), g = look("g"), d = look("d");
  CHECK(f.generation != 0);
  CHECK(f.generation != g.generation);
  CHECK(e.nodes->LookupSelf(f.id)->generation == f.generation);
  CHECK(e.nodes->LookupSelf(d.id)->generation == d.generation);
  CHECK(e.nodes->LookupSelf(kRootNode)->generation == 0);
  CHECK(e.nodes->LookupSelf(kRootNode)->id == kRootNode);
  CHECK(e.nodes->LookupParent(d.id)->id == kRootNode);
  CHECK(e.nodes->LookupParent(kRootNode)->id == kRootNode);
  e.Restart();
  CHECK(look("f").generation == f.generation);
  e.config.key = {3, 4};
  e.Restart();
  CHECK(look("f").generation != f.generation);
  e.config.exported = Nodes::Export::kOff;
  e.Restart();
  CHECK(look("f").generation == 0);
}

TEST_CASE("Export: what leaves the source is left alone",
          "[mounted][nodes][export]") {
  for (FsKind kind : kPacked) {
    CAPTURE(NameOf(kind));
    Exported e(kind);
    NodeId d = e.IdOf("/source/d"), below = e.IdOf("/source/d/e");
    REQUIRE(ErrorOf(e.nodes->LookupSelf(below)) == 0);
    REQUIRE(rename((e.fs.path() + "/source/d").c_str(),
                   (e.fs.path() + "/outside/moved").c_str()) == 0);
    for (NodeId id : {d, below}) {
      CHECK(ErrorOf(e.nodes->LookupSelf(id)) == ESTALE);
      CHECK(ErrorOf(e.nodes->LookupParent(id)) == ESTALE);
    }
    // What comes in is welcome.
    NodeId other = e.IdOf("/outside/d");
    REQUIRE(rename((e.fs.path() + "/outside/d").c_str(),
                   (e.fs.path() + "/source/d").c_str()) == 0);
    CHECK(ErrorOf(e.nodes->LookupSelf(other)) == 0);
    auto parent = e.nodes->LookupParent(other);
    REQUIRE(ErrorOf(parent) == 0);
    CHECK(parent->id == kRootNode);
  }
}

TEST_CASE("Export: cold, by handle alone", "[mounted][nodes][export]") {
  for (FsKind kind : kPacked) {
    CAPTURE(NameOf(kind));
    Exported e(kind);
    NodeId e_id = e.IdOf("/source/d/e"), f = e.IdOf("/source/d/f");
    NodeId outside = e.IdOf("/outside/d");
    e.Restart();
    DropInodes();
    CHECK(CheckForged(e, f));
    CHECK(CheckForged(e, e_id));
    CHECK_FALSE(CheckForged(e, outside));
    auto d = e.nodes->LookupParent(e_id);
    REQUIRE(ErrorOf(d) == 0);
    CHECK(d->id == e.IdOf("/source/d"));
    CHECK(e.nodes->LookupParent(d->id)->id == kRootNode);
  }
}

TEST_CASE("Export: ids of the table", "[mounted][nodes][export]") {
  MountedFs fs(FsKind::kBtrfs);
  std::string source = fs.path() + "/source";
  Run({"btrfs", "subvolume", "create", source});
  Run({"btrfs", "subvolume", "create", source + "/sub"});
  Run({"btrfs", "subvolume", "create", fs.path() + "/beside"});
  UniqueFd(OpenAt(source + "/sub/f", O_RDWR | O_CREAT));
  Nodes::Config config;
  config.exported = Nodes::Export::kOn;
  config.key = kTestKey;
  auto nodes = ServeTree(source, config);
  auto sub = nodes->Lookup(kRootNode, "sub");
  REQUIRE(ErrorOf(sub) == 0);
  auto f = nodes->Lookup(sub->id, "f");
  REQUIRE(ErrorOf(f) == 0);
  for (NodeId id : {sub->id, f->id}) {
    REQUIRE(IsTableId(id));
    CHECK(ErrorOf(nodes->LookupSelf(id)) == 0);
    nodes->Forget(id, 1);
    for (int bit = 0; bit < 64; ++bit) {
      NodeId forged{Raw(id) ^ uint64_t{1} << bit};
      CHECK(ErrorOf(nodes->LookupSelf(forged)) == ESTALE);
    }
  }
  auto parent = nodes->LookupParent(sub->id);
  REQUIRE(ErrorOf(parent) == 0);
  CHECK(parent->id == kRootNode);
  nodes->Forget(f->id, 1);
  CHECK(ErrorOf(nodes->LookupSelf(f->id)) == ESTALE);  // not known any more
}

}  // namespace
}  // namespace handlefs::test

// Mounts inside the source, on the source, and of the source within itself.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <map>

#include "tree_model.h"

namespace handlefs::test {
namespace {

void Touch(const std::string& path) {
  UniqueFd fd = OpenAt(path, O_RDWR | O_CREAT);
  REQUIRE(fd);
}

// ext4 with a tmpfs, a bind mount of a directory of its own, an overlay
// (without handles) and a mounted file in it. Under each there is a file
// "under", and in each one named "in".
struct Mounts {
  MountedFs fs{FsKind::kExt4};
  MountedFs overlay{FsKind::kOverlay};
  std::string source = fs.path() + "/source";
  std::vector<std::unique_ptr<Mounted>> mounted;
  Mounts() {
    REQUIRE(mkdir(source.c_str(), 0755) == 0);
    for (const char* name : {"/tmp", "/bind", "/overlay", "/plain"}) {
      REQUIRE(mkdir((source + name).c_str(), 0755) == 0);
      Touch(source + name + "/under");
    }
    Touch(source + "/file");
    REQUIRE(mkdir((source + "/plain/sub").c_str(), 0755) == 0);
    Touch(source + "/plain/in");
    Touch(overlay.path() + "/in");
    auto mount = [&](std::vector<std::string> words, const char* where) {
      words.insert(words.begin(), {"mount", "-n"});
      mounted.push_back(
          std::make_unique<Mounted>(std::move(words), source + where));
    };
    mount({"-t", "tmpfs", "handles-tests"}, "/tmp");
    mount({"--bind", source + "/plain"}, "/bind");
    mount({"--bind", overlay.path()}, "/overlay");
    mount({"--bind", overlay.path() + "/in"}, "/file");
    for (const char* name : {"/tmp", "/overlay"}) {
      REQUIRE(mkdir((source + name + "/sub").c_str(), 0755) == 0);
      Touch(source + name + "/in");
      Touch(source + name + "/sub/deep");
    }
  }
  ~Mounts() {
    while (!mounted.empty()) mounted.pop_back();
  }
};

Nodes::Entry Look(Nodes& nodes, NodeId dir, const char* name) {
  auto entry = nodes.Lookup(dir, name);
  CAPTURE(name);
  REQUIRE(ErrorOf(entry) == 0);
  return *entry;
}

Nodes::Config ConfigOf(Identity identity) {
  return {.identity = identity,
          .exported = Nodes::Export::kOn,
          .key = kTestKey,
          .fd_budget = 100};
}

TEST_CASE("Mounts: hidden, as in a bind mount", "[mounted][nodes][mounts]") {
  for (Identity identity : {Identity::kAuto, Identity::kFd}) {
    Mounts m;
    auto nodes = ServeTree(m.source, ConfigOf(identity));
    for (const char* name : {"tmp", "bind", "overlay"}) {
      CAPTURE(name);
      auto dir = Look(*nodes, kRootNode, name);
      CHECK(&nodes->FsOf(dir.id) == &nodes->file_systems().main());
      CHECK(ErrorOf(nodes->Lookup(dir.id, "in")) == ENOENT);
      auto under = Look(*nodes, dir.id, "under");
      CHECK(under.ino == under.stx.stx_ino);
      CHECK(ErrorOf(nodes->Resolve(under.id)) == 0);
      CHECK(*nodes->HostPath(dir.id) == std::string("/") + name);
    }
    auto file = Look(*nodes, kRootNode, "file");
    CHECK(file.stx.stx_ino != NumbersOf(m.source + "/file").ino);
  }
}

TEST_CASE("Mounts: met while descriptors are short",
          "[mounted][nodes][mounts]") {
  Mounts m;
  auto nodes =
      ServeTree(m.source, ConfigOf(Identity::kAuto), Submounts::kCross);
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &old) == 0);
  rlimit none{.rlim_cur = 0, .rlim_max = old.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  auto failed = nodes->Lookup(kRootNode, "tmp");
  setrlimit(RLIMIT_NOFILE, &old);
  CHECK(ErrorOf(failed) == EMFILE);
  // Not for good.
  CHECK(nodes->FsOf(Look(*nodes, kRootNode, "tmp").id).is_memory);
}

TEST_CASE("Mounts: another thing at the place of a mount",
          "[mounted][nodes][mounts]") {
  Mounts m;
  auto source = OpenSource(m.source, Submounts::kCross);
  REQUIRE(source.ok());
  auto made = HostFsSet::Make(*source, Identity::kAuto);
  REQUIRE(made.ok());
  HostFsSet& set = **made;
  const BorrowedFd dir = source->root;
  auto tmp = NameToHandle(dir, "tmp");
  REQUIRE(ErrorOf(tmp) == 0);
  CHECK(ErrorOf(set.Of(tmp->mount_id, dir, "plain")) == ESTALE);
  CHECK(set.Met(tmp->mount_id) == nullptr);
  auto fs = set.Of(tmp->mount_id, dir, "tmp");
  REQUIRE(ErrorOf(fs) == 0);
  CHECK((*fs)->is_memory);
  CHECK(set.Met(tmp->mount_id) == *fs);
}

TEST_CASE("Mounts: a file without a name", "[mounted][nodes][mounts]") {
  Mounts m;
  auto nodes =
      ServeTree(m.source, ConfigOf(Identity::kAuto), Submounts::kCross);
  auto dir = Look(*nodes, kRootNode, "tmp");
  auto path = nodes->Resolve(dir.id);
  REQUIRE(ErrorOf(path) == 0);
  UniqueFd fd(openat((*path)->get(), ".", O_TMPFILE | O_RDWR, 0600));
  REQUIRE(fd);
  auto file = nodes->AdoptNameless(fd);
  REQUIRE(ErrorOf(file) == 0);
  CHECK(&nodes->FsOf(file->id) == &nodes->FsOf(dir.id));
  CHECK(nodes->FsOf(file->id).has_handles);
}

TEST_CASE("Mounts: crossed", "[mounted][nodes][mounts]") {
  for (Identity identity : {Identity::kAuto, Identity::kFd}) {
    CAPTURE(static_cast<int>(identity));
    size_t fds = CountFds();
    Mounts m;
    auto nodes = ServeTree(m.source, ConfigOf(identity), Submounts::kCross);
    std::map<uint64_t, std::string> ids;
    std::map<uint64_t, FileNumbers> shown;
    auto check = [&](const Nodes::Entry& entry, const std::string& path) {
      CAPTURE(path);
      FileNumbers host = NumbersOf(m.source + path);
      auto fd = nodes->Resolve(entry.id);
      REQUIRE(ErrorOf(fd) == 0);
      CHECK(NumbersOf(**fd) == host);
      // One number for one file, however often it is mounted.
      CHECK(shown.try_emplace(entry.ino, host).first->second == host);
      CHECK(nodes->ShownIno(entry.stx) == entry.ino);
      // Mounted twice, and told apart or not.
      if (!path.starts_with("/bind") && !path.starts_with("/plain") &&
          path != "/file") {
        CHECK(ids.try_emplace(Raw(entry.id), path).first->second == path);
      }
    };
    for (const std::string name : {"tmp", "bind", "overlay", "plain"}) {
      CAPTURE(name);
      auto dir = Look(*nodes, kRootNode, name.c_str());
      if (name != "bind" && name != "plain") check(dir, "/" + name);
      check(Look(*nodes, dir.id, "in"), "/" + name + "/in");
      if (name == "tmp" || name == "overlay") {
        CHECK(ErrorOf(nodes->Lookup(dir.id, "under")) == ENOENT);
      }
      auto up = nodes->LookupParent(dir.id);
      REQUIRE(ErrorOf(up) == 0);
      CHECK(up->id == kRootNode);
      auto sub = Look(*nodes, dir.id, "sub");
      CHECK(ErrorOf(nodes->LookupSelf(sub.id)) == 0);
      up = nodes->LookupParent(sub.id);
      REQUIRE(ErrorOf(up) == 0);
      CHECK(up->id == dir.id);
      std::string path = *nodes->HostPath(sub.id);
      CHECK(NumbersOf(m.source + path) ==
            NumbersOf(m.source + "/" + name + "/sub"));
      if (identity == Identity::kAuto) CHECK(path == "/" + name + "/sub");
      if (identity == Identity::kAuto) {
        CHECK(nodes->FsOf(sub.id).is_memory == (name == "tmp"));
        bool table = name != "plain";
        CHECK(IsTableId(sub.id) == table);
      }
    }
    check(Look(*nodes, kRootNode, "file"), "/file");
    // A file of a submount that loses its name stays while it is known.
    auto tmp = Look(*nodes, kRootNode, "tmp");
    auto in = Look(*nodes, tmp.id, "in");
    auto dir = nodes->ResolveDir(tmp.id);
    auto victim = nodes->LookAtVictim(**dir, "in");
    CHECK(victim.id == in.id);
    REQUIRE(unlinkat((*dir)->get(), "in", 0) == 0);
    nodes->LostName(victim);
    nodes->Trim();
    CHECK(ErrorOf(nodes->Open(in.id, O_RDWR)) == 0);
    nodes->Forget(in.id, 100);
    victim.fd.reset();
    nodes->Trim();
    CHECK(ErrorOf(nodes->Resolve(in.id)) == ESTALE);
    dir = Errno(EIO);
    nodes.reset();
    CHECK(CountFds() == fds);
  }
}

TEST_CASE("Mounts: what is mounted later is not seen",
          "[mounted][nodes][mounts]") {
  for (Submounts submounts : {Submounts::kHide, Submounts::kCross}) {
    MountedFs fs(FsKind::kExt4);
    std::string source = fs.path() + "/source";
    REQUIRE(mkdir(source.c_str(), 0755) == 0);
    REQUIRE(mkdir((source + "/d").c_str(), 0755) == 0);
    Touch(source + "/d/f");
    // As systemd has all of them: a mount in one peer appears in the others.
    Run({"mount", "-n", "--make-shared", fs.path()});
    auto nodes = ServeTree(source, ConfigOf(Identity::kAuto), submounts);
    CHECK(nodes->source().is_private);
    auto check = [&] {
      auto d = nodes->Lookup(kRootNode, "d");
      REQUIRE(ErrorOf(d) == 0);
      CHECK(d->stx.stx_ino != 1);
      CHECK(ErrorOf(nodes->Lookup(d->id, "f")) == 0);
      CHECK(*nodes->HostPath(d->id) == "/d");
    };
    // In it; over it; and the source itself below itself.
    Mounted in({"mount", "-n", "-t", "tmpfs", "handles-tests"}, source + "/d");
    check();
    Mounted on({"mount", "-n", "-t", "tmpfs", "handles-tests"}, source);
    check();
    Mounted itself({"mount", "-n", "--bind", fs.path()}, source);
    check();
  }
}

TEST_CASE("Mounts: a source that is mounted within itself",
          "[mounted][nodes][mounts]") {
  MountedFs fs(FsKind::kExt4);
  REQUIRE(mkdir((fs.path() + "/self").c_str(), 0755) == 0);
  Touch(fs.path() + "/f");
  Mounted self({"mount", "-n", "--bind", fs.path()}, fs.path() + "/self");
  auto hidden = ServeTree(fs.path(), ConfigOf(Identity::kAuto));
  CHECK(ErrorOf(hidden->Lookup(Look(*hidden, kRootNode, "self").id, "f")) ==
        ENOENT);
  // Crossed: one level deeper there is no mount any more, so no loop.
  auto nodes =
      ServeTree(fs.path(), ConfigOf(Identity::kAuto), Submounts::kCross);
  auto f = Look(*nodes, kRootNode, "f");
  auto dir = Look(*nodes, kRootNode, "self");
  auto again = Look(*nodes, dir.id, "f");
  CHECK(again.ino == f.ino);
  CHECK(NumbersOf(**nodes->Resolve(again.id)) ==
        NumbersOf(**nodes->Resolve(f.id)));
  auto deeper = Look(*nodes, dir.id, "self");
  CHECK(ErrorOf(nodes->Lookup(deeper.id, "f")) == ENOENT);
}

TEST_CASE("Source: what cannot be served", "[mounted][nodes][mounts]") {
  MountedFs fs(FsKind::kTmpfs);
  Touch(fs.path() + "/f");
  CHECK(OpenSource(fs.path() + "/none", Submounts::kHide).status().code() ==
        absl::StatusCode::kNotFound);
  CHECK(OpenSource(fs.path() + "/f", Submounts::kHide).status().code() ==
        absl::StatusCode::kFailedPrecondition);
  REQUIRE(symlink(".", (fs.path() + "/link").c_str()) == 0);
  auto source = OpenSource(fs.path() + "/link/./link/", Submounts::kHide);
  REQUIRE(source.ok());
  CHECK(source->path == fs.path());
}

}  // namespace
}  // namespace handlefs::test

// Nodes on real file systems, under random changes, against a model.
#include <catch2/catch.hpp>

#include "tree_model.h"

namespace handlefs::test {
namespace {

TreeModel::Options Base(uint64_t seed) {
  TreeModel::Options options;
  options.config.key = kTestKey;
  options.config.exported = Nodes::Export::kOn;
  options.seed = seed;
  return options;
}

void RunOn(FsKind kind, const TreeModel::Options& options) {
  CAPTURE(NameOf(kind));
  MountedFs fs(kind);
  std::string source = fs.path() + "/source";
  REQUIRE(mkdir(source.c_str(), 0755) == 0);
  TreeModel model(source, options);
  model.Run();
  if (kind == FsKind::kExt4) CHECK(model.reused() > 20);
}

TEST_CASE("Nodes: packed file systems", "[mounted][nodes][random]") {
  for (FsKind kind :
       {FsKind::kExt4, FsKind::kXfs, FsKind::kBtrfs, FsKind::kTmpfs}) {
    for (uint64_t seed : {11, 12, 13}) {
      TreeModel::Options options = Base(seed);
      options.config.identity = Identity::kHandle;
      RunOn(kind, options);
    }
  }
}

TEST_CASE("Nodes: no export, file system's own top",
          "[mounted][nodes][random]") {
  MountedFs fs(FsKind::kExt4);
  TreeModel::Options options = Base(2);
  options.config.exported = Nodes::Export::kOff;
  TreeModel model(fs.path(), options);
  model.Run();
}

TEST_CASE("Nodes: btrfs with subvolumes", "[mounted][nodes][random]") {
  MountedFs fs(FsKind::kBtrfs);
  std::string source = fs.path() + "/source";
  Run({"btrfs", "subvolume", "create", source});
  for (const char* name : {"/one", "/one/two", "/three"}) {
    Run({"btrfs", "subvolume", "create", source + name});
  }
  TreeModel::Options options = Base(3);
  TreeModel model(source, options);
  for (const char* name : {"/one", "/one/two", "/three"}) model.Adopt(name);
  model.Run();
}

TEST_CASE("Nodes: overlay with handles", "[mounted][nodes][random]") {
  RunOn(FsKind::kOverlayExport, Base(4));
}

TEST_CASE("Nodes: by descriptor", "[mounted][nodes][random]") {
  for (FsKind kind : {FsKind::kExt4, FsKind::kTmpfs, FsKind::kOverlay}) {
    TreeModel::Options options = Base(5);
    options.config.identity =
        kind == FsKind::kOverlay ? Identity::kAuto : Identity::kFd;
    options.stable_ids = false;  // numbers are used again
    RunOn(kind, options);
  }
}

TEST_CASE("Nodes: by name, few descriptors", "[mounted][nodes][random]") {
  for (size_t budget : {size_t{0}, size_t{10}}) {
    for (FsKind kind : {FsKind::kExt4, FsKind::kOverlay}) {
      TreeModel::Options options = Base(6);
      options.config.identity = Identity::kFd;
      options.config.fd_budget = budget;
      options.config.exported = Nodes::Export::kOff;
      options.stable_ids = false;
      options.by_name = true;
      RunOn(kind, options);
    }
  }
}

}  // namespace
}  // namespace handlefs::test

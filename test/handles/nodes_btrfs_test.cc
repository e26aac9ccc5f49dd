// Inode numbers and nodeids where one tree has several devices.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "tree_model.h"

namespace handlefs::test {
namespace {

TEST_CASE("Nodes: btrfs subvolumes and snapshots", "[mounted][nodes]") {
  MountedFs fs(FsKind::kBtrfs);
  auto btrfs = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {"btrfs", "subvolume"});
    Run(words);
  };
  std::string top = fs.path();
  btrfs({"create", top + "/sv"});
  btrfs({"create", top + "/sv/in1"});
  btrfs({"create", top + "/sv/in2"});
  UniqueFd(OpenAt(top + "/sv/f", O_CREAT | O_RDWR));
  UniqueFd(OpenAt(top + "/sv/in1/f", O_CREAT | O_RDWR));
  btrfs({"snapshot", top + "/sv", top + "/snap"});
  btrfs({"snapshot", "-r", top + "/sv", top + "/snap-ro"});
  const std::vector<std::string> names = {
      "sv",     "sv/f",     "sv/in1",   "sv/in1/f", "sv/in2",    "snap",
      "snap/f", "snap/in1", "snap/in2", "snap-ro",  "snap-ro/f", "snap-ro/in1"};
  Nodes::Config config;
  config.key = kTestKey;
  std::map<std::string, Nodes::Entry> before;
  for (bool backwards : {false, true}) {
    auto nodes = ServeTree(top, config);
    std::map<std::string, Nodes::Entry> entries;
    auto order = names;
    if (backwards) std::reverse(order.begin(), order.end());
    std::map<uint64_t, std::string> ids, inos;
    std::function<NodeId(const std::string&)> look =
        [&](const std::string& name) -> NodeId {
      if (name.empty()) return kRootNode;
      if (entries.contains(name)) return entries.at(name).id;
      size_t slash = name.rfind('/');
      NodeId dir = look(slash == name.npos ? "" : name.substr(0, slash));
      auto entry = nodes->Lookup(
          dir, name.substr(slash == name.npos ? 0 : slash + 1).c_str());
      CAPTURE(name);
      REQUIRE(ErrorOf(entry) == 0);
      entries[name] = *entry;
      return entry->id;
    };
    for (const std::string& name : order) {
      CAPTURE(name);
      NodeId id = look(name);
      CHECK(ids.try_emplace(Raw(id), name).first->second == name);
      auto fd = nodes->Resolve(id);
      CHECK(ErrorOf(fd) == 0);
      if (fd.ok()) CHECK(NumbersOf(**fd) == NumbersOf(top + "/" + name));
      const Nodes::Entry& entry = entries.at(name);
      CHECK(nodes->ShownIno(entry.stx) == entry.ino);
      // Empty stand-ins for nested subvolumes are inode 2, all of them.
      if (entry.stx.stx_ino != 2) {
        CHECK(inos.try_emplace(entry.ino, name).first->second == name);
      }
      if (!before.contains(name)) continue;
      CHECK(before.at(name).id == id);
      CHECK(before.at(name).ino == entry.ino);
    }
    before = entries;
  }
}

TEST_CASE("HostFsSet: numbers of other devices", "[mounted][nodes]") {
  MountedFs fs(FsKind::kTmpfs);
  auto source = OpenSource(fs.path(), Submounts::kHide);
  REQUIRE(source.ok());
  auto make = [&] {
    auto set = HostFsSet::Make(*source, Identity::kAuto);
    REQUIRE(set.ok());
    return std::move(*set);
  };
  auto set = make();
  uint64_t own = set->main().dev;
  Random random(1);
  std::set<uint64_t> shown;
  std::vector<std::pair<uint64_t, uint64_t>> devices = {{own, 0}};
  for (uint64_t i = 1; i < 400; ++i) {
    // Some with a subvolume, some of these with one that another has too.
    uint64_t subvolume = random.OneIn(2) ? 256 + random.Below(100) : 0;
    if (random.OneIn(9)) subvolume = random.Next();
    devices.emplace_back(own + i, subvolume);
  }
  for (int round = 0; round < 2; ++round) {
    for (auto [dev, subvolume] : devices) {
      for (uint64_t ino : {1, 2, 256, 257, 0x7fffffff}) {
        uint64_t number = set->ShownIno(dev, ino, subvolume);
        REQUIRE(shown.insert(number).second == (round == 0));
        REQUIRE(number >> 63 == 0);
        REQUIRE((number == ino) == (dev == own));
        // Known from now on, also without the subvolume.
        REQUIRE(set->ShownIno(dev, ino) == number);
      }
    }
  }
  // Device numbers change over reboots, subvolumes do not.
  auto after = make();
  CHECK(after->ShownIno(own + 1000, 300, 777) ==
        set->ShownIno(own + 2000, 300, 777));
}

}  // namespace
}  // namespace handlefs::test

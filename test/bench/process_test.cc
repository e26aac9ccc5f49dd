#include "process.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "environment.h"
#include "scratch.h"

namespace handlefs::bench {
namespace {

TEST_CASE("The name of a process may hold anything") {
  constexpr char kRest[] =
      " S 7 10 10 0 -1 4194304 1 2 3 4 50 60 11 22 20 0 1 0 5 6 7 8";
  for (const char* name : {"(sh)", "(a) b)", "(S 1 2 3)", "())"}) {
    auto stat = ParseStat("42 " + std::string(name) + kRest);
    REQUIRE(stat.has_value());
    CHECK(stat->parent == 7);
    CHECK(stat->child_ticks == 33);
  }
  CHECK_FALSE(ParseStat("42 (sh) S 7").has_value());
  CHECK_FALSE(ParseStat("").has_value());
  CHECK_FALSE(ParseStat("42 (sh) S x 1 1 1 1 1 1 1 1 1 1 1 1 1 1").has_value());
}

TEST_CASE("Processes below one, without clients and what is below them") {
  // 1 has 2 and 3; 2 has 4, 4 has 5; 3 has 6; 9 is a stranger.
  std::map<pid_t, pid_t> parents{{2, 1}, {3, 1}, {4, 2},
                                 {5, 4}, {6, 3}, {9, 8}};
  using Pids = std::vector<pid_t>;
  CHECK(Below(parents, 1, {}) == Pids{2, 3, 4, 6, 5});
  CHECK(Below(parents, 1, {3}) == Pids{2, 4, 5});
  CHECK(Below(parents, 1, {2, 6}) == Pids{3});
  CHECK(Below(parents, 5, {}).empty());
}

TEST_CASE("The harness itself has CPU, memory and descriptors") {
  volatile unsigned spin = 0;
  for (int i = 0; i < 1000000; ++i) spin = spin + 1;
  Usage usage = UsageOf({getpid()});
  CHECK(usage.cpu_ns > 0);
  CHECK(usage.rss > 100000);
  CHECK(usage.descriptors >= 3);
  CHECK(CpuOf({}) == 0);
}

TEST_CASE("Slabs are found by their whole name") {
  constexpr char kText[] =
      "slabinfo - version: 2.1\n"
      "# name <active_objs> <num_objs> <objsize>\n"
      "fuse_inode_x 9 9 9 9\n"
      "fuse_inode 10 20 896 18 4 : tunables 0 0 0\n";
  CHECK(SlabBytes(kText, "fuse_inode") == 8960);
  CHECK_FALSE(SlabBytes(kText, "dentry").has_value());
  CHECK_FALSE(SlabBytes("", "dentry").has_value());
}

TEST_CASE("A mount is found by its whole path") {
  constexpr char kInfo[] =
      "22 1 0:20 / / rw - ext4 /dev/a rw\n"
      "23 22 0:21 / /tmp/x/mount rw - fuse.handlefs /s rw\n";
  CHECK(HasMount(kInfo, "/tmp/x/mount"));
  CHECK_FALSE(HasMount(kInfo, "/tmp/x"));
  CHECK(HasMount("23 22 0:21 / /a\\040b\\134c rw - ext4 /s rw\n", "/a b\\c"));
  CHECK_FALSE(HasMount(kInfo, "/tmp/x/mount2"));
}

TEST_CASE("How busy the CPUs were") {
  // user nice system idle iowait irq softirq steal guest guest_nice
  constexpr char kBefore[] = "cpu  100 0 50 1000 10 0 0 0 77 0\ncpu0 1 2 3 4\n";
  constexpr char kAfter[] = "cpu  110 0 55 1080 15 0 0 0 99 0\ncpu0 1 2 3 4\n";
  CHECK(BusyShare(kBefore, kAfter) == Approx(0.15));
  CHECK(BusyShare(kBefore, kBefore) == 0);
  CHECK(BusyShare("", "") == 0);
  CHECK(DescribeLoad("82.91 70.06 46.43 1/184 2\n", 0.02) ==
        "CPUs 2 % busy, load average 82.91 (idle)");
  CHECK(DescribeLoad("0.10 1 1 1/1 2\n", 0.5) ==
        "CPUs 50 % busy, load average 0.10 (not idle: other work ran)");
}

std::string MakeTemporary() {
  char path[] = "/tmp/bench-test.XXXXXX";
  REQUIRE(mkdtemp(path) != nullptr);
  return path;
}

bool Exists(const std::string& path) {
  struct stat st;
  return lstat(path.c_str(), &st) == 0;
}

TEST_CASE("A tree is removed with what is in it, and links are not followed") {
  std::string outside = MakeTemporary(), tree = MakeTemporary();
  std::ofstream(outside + "/precious") << "x";
  REQUIRE(mkdir((tree + "/a").c_str(), 0755) == 0);
  REQUIRE(mkdir((tree + "/a/b").c_str(), 0755) == 0);
  std::ofstream(tree + "/a/b/file") << "x";
  REQUIRE(symlink(outside.c_str(), (tree + "/a/link").c_str()) == 0);
  CHECK(RemoveTree(tree));
  CHECK_FALSE(Exists(tree));
  CHECK(Exists(outside + "/precious"));
  CHECK(RemoveTree(tree));  // what is not there is removed

  REQUIRE(symlink(outside.c_str(), tree.c_str()) == 0);
  CHECK_FALSE(RemoveTree(tree));
  CHECK(Exists(outside + "/precious"));
  unlink(tree.c_str());
  CHECK(RemoveTree(outside));
}

TEST_CASE("A scratch directory lies below the source and leaves nothing") {
  std::string source = MakeTemporary();
  {
    Scratch scratch;
    REQUIRE_FALSE(scratch.Make(source).has_value());
    CHECK(scratch.top().starts_with(source + "/handlefs-bench."));
    REQUIRE_FALSE(scratch.Renew().has_value());
    std::ofstream(scratch.source() + "/cell/left") << "x";
    REQUIRE_FALSE(scratch.Renew().has_value());
    CHECK_FALSE(Exists(scratch.source() + "/cell/left"));
    CHECK(Exists(scratch.source() + "/cell"));
  }
  CHECK(rmdir(source.c_str()) == 0);
  Scratch scratch;
  auto wrong = scratch.Make(source);
  REQUIRE(wrong.has_value());
  CHECK(wrong->starts_with("source: " + source));
}

}  // namespace
}  // namespace handlefs::bench

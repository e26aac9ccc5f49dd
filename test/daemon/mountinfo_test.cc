// The mount table.
#include "daemon/mountinfo.h"

#include <catch2/catch.hpp>
#include <sstream>

namespace handlefs::test {
namespace {

std::vector<MountLine> Table(const std::string& text) {
  std::istringstream lines(text);
  return ReadMountInfo(lines);
}

TEST_CASE("the mount on top", "[mountinfo]") {
  const auto table = Table(
      "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
      "30 21 0:40 / /mnt/a\\040b rw shared:1 master:2 - fuse.handlefs /srv "
      "rw\n"
      "31 21 0:41 / /mnt rw - fuse.handlefs /srv rw\n"
      "32 31 0:42 / /mnt rw - tmpfs tmpfs rw\n");
  CHECK(TopMountAt(table, "/mnt/a b") == MountLine{.id = "30",
                                                   .minor = "40",
                                                   .point = "/mnt/a b",
                                                   .type = "fuse.handlefs"});
  CHECK(TopMountAt(table, "/mnt")->type == "tmpfs");
  CHECK_FALSE(TopMountAt(table, "/mn"));
  CHECK_FALSE(TopMountAt(table, ""));
}

TEST_CASE("names in the mount table are unescaped once", "[mountinfo]") {
  const auto table = Table(
      "30 21 0:40 / /a\\134040 rw - fuse x rw\n"
      "31 21 0:41 / /b\\011\\012\\043 rw - fuse x rw\n"
      "32 21 0:42 / /c\\9\\04 rw - fuse x rw\n");
  REQUIRE(table.size() == 3);
  CHECK(table[0].point == "/a\\040");
  CHECK(table[1].point == "/b\t\n#");
  CHECK(table[2].point == "/c\\9\\04");
}

TEST_CASE("lines of another form are left out", "[mountinfo]") {
  CHECK(Table("\n30\n31 21 0:41 / /mnt rw shared:1\n32 21 0:41 / /m rw -\n")
            .empty());
}

TEST_CASE("this process has a root", "[mountinfo]") {
  auto root = TopMountAt("/");
  REQUIRE(root);
  CHECK(MountOfId(root->id) == root);
  CHECK_FALSE(MountOfId("none"));
}

}  // namespace
}  // namespace handlefs::test

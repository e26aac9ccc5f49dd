// statx on the host, attributes on the wire.
#include "daemon/attributes.h"

#include <sys/sysmacros.h>

#include <catch2/catch.hpp>

namespace handlefs::test {
namespace {

struct statx Sample() {
  struct statx stx {};
  stx.stx_mask = STATX_BASIC_STATS | STATX_BTIME;
  stx.stx_blksize = 4096;
  stx.stx_attributes = STATX_ATTR_IMMUTABLE;
  stx.stx_attributes_mask = STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND;
  stx.stx_nlink = 3;
  stx.stx_uid = 1001;
  stx.stx_gid = 1002;
  stx.stx_mode = S_IFREG | 06755;
  stx.stx_ino = 77;
  stx.stx_size = 0x123456789abc;
  stx.stx_blocks = 0x91a2b3c4d6;
  stx.stx_atime = {.tv_sec = 100, .tv_nsec = 1, .__reserved = 0};
  stx.stx_btime = {.tv_sec = 200, .tv_nsec = 2, .__reserved = 0};
  stx.stx_ctime = {.tv_sec = 300, .tv_nsec = 3, .__reserved = 0};
  stx.stx_mtime = {.tv_sec = 400, .tv_nsec = 999999999, .__reserved = 0};
  return stx;
}

TEST_CASE("attributes", "[attr]") {
  abi::Attr attr = ToAttr(Sample(), 5);
  // The number that the client sees need not be the host's.
  CHECK(attr.ino == 5);
  CHECK(attr.size == 0x123456789abc);
  CHECK(attr.blocks == 0x91a2b3c4d6);
  CHECK(attr.atime == 100);
  CHECK(attr.atimensec == 1);
  CHECK(attr.ctime == 300);
  CHECK(attr.ctimensec == 3);
  CHECK(attr.mtime == 400);
  CHECK(attr.mtimensec == 999999999);
  CHECK(attr.mode == (S_IFREG | 06755));
  CHECK(attr.nlink == 3);
  CHECK(attr.uid == 1001);
  CHECK(attr.gid == 1002);
  CHECK(attr.rdev == 0);
  CHECK(attr.blksize == 4096);
  CHECK(attr.flags == 0);
}

TEST_CASE("times before 1970", "[attr]") {
  struct statx stx = Sample();
  stx.stx_mtime = {.tv_sec = -5, .tv_nsec = 7, .__reserved = 0};
  abi::Attr attr = ToAttr(stx, 5);
  CHECK(static_cast<int64_t>(attr.mtime) == -5);
  CHECK(attr.mtimensec == 7);
  CHECK(ToStatx(stx, 5).mtime.tv_sec == -5);
}

TEST_CASE("statx", "[attr]") {
  struct statx stx = Sample();
  stx.stx_rdev_major = 8;
  stx.stx_rdev_minor = 300;
  abi::Statx out = ToStatx(stx, 5);
  CHECK(out.mask == (STATX_BASIC_STATS | STATX_BTIME));
  CHECK(out.blksize == 4096);
  CHECK(out.attributes == STATX_ATTR_IMMUTABLE);
  CHECK(out.attributes_mask == (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND));
  CHECK(out.nlink == 3);
  CHECK(out.uid == 1001);
  CHECK(out.gid == 1002);
  CHECK(out.mode == (S_IFREG | 06755));
  CHECK(out.ino == 5);
  CHECK(out.size == 0x123456789abc);
  CHECK(out.blocks == 0x91a2b3c4d6);
  CHECK(out.atime.tv_sec == 100);
  CHECK(out.btime.tv_sec == 200);
  CHECK(out.btime.tv_nsec == 2);
  CHECK(out.ctime.tv_sec == 300);
  CHECK(out.mtime.tv_nsec == 999999999);
  CHECK(out.rdev_major == 8);
  CHECK(out.rdev_minor == 300);
}

TEST_CASE("only what the protocol knows is in the mask", "[attr]") {
  struct statx stx = Sample();
  stx.stx_mask = ~0u;
  CHECK(ToStatx(stx, 5).mask == (STATX_BASIC_STATS | STATX_BTIME));
  stx.stx_mask = STATX_BASIC_STATS;
  CHECK(ToStatx(stx, 5).mask == STATX_BASIC_STATS);
}

TEST_CASE("attributes with their validity", "[attr]") {
  abi::AttrOut out =
      ToAttrOut(Sample(), 5, {.seconds = 3, .nanoseconds = 250000000});
  CHECK(out.attr_valid == 3);
  CHECK(out.attr_valid_nsec == 250000000);
  CHECK(out.dummy == 0);
  CHECK(out.attr.ino == 5);
  CHECK(ToAttrOut(Sample(), 5, {}).attr_valid == 0);
}

TEST_CASE("device numbers", "[attr]") {
  CHECK(EncodeDev(1, 3) == 0x103);       // /dev/null
  CHECK(EncodeDev(8, 255) == 0x8ff);     // the last one of the short form
  CHECK(EncodeDev(8, 256) == 0x100800);  // the first one of the long form
  CHECK(EncodeDev(0xfff, 0xfffff) == 0xffffffff);
  for (uint32_t major : {0u, 1u, 8u, 255u, 256u, 0xfffu}) {
    for (uint32_t minor : {0u, 3u, 255u, 256u, 4095u, 4096u, 0xfffffu}) {
      CHECK(DecodeDev(EncodeDev(major, minor)) == makedev(major, minor));
    }
  }
  struct statx stx = Sample();
  stx.stx_mode = S_IFBLK | 0600;
  stx.stx_rdev_major = 259;
  stx.stx_rdev_minor = 70000;
  CHECK(DecodeDev(ToAttr(stx, 5).rdev) == makedev(259, 70000));
}

}  // namespace
}  // namespace handlefs::test

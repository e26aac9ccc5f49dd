#include "daemon/attributes.h"

#include <sys/sysmacros.h>

namespace handlefs {
namespace {

abi::SxTime ToTime(const statx_timestamp& t) {
  return {.tv_sec = t.tv_sec, .tv_nsec = t.tv_nsec, .reserved = 0};
}

uint64_t Seconds(const statx_timestamp& t) {
  return static_cast<uint64_t>(t.tv_sec);
}

}  // namespace

abi::Attr ToAttr(const struct statx& stx, uint64_t ino) {
  return {
      .ino = ino,
      .size = stx.stx_size,
      .blocks = stx.stx_blocks,
      .atime = Seconds(stx.stx_atime),
      .mtime = Seconds(stx.stx_mtime),
      .ctime = Seconds(stx.stx_ctime),
      .atimensec = stx.stx_atime.tv_nsec,
      .mtimensec = stx.stx_mtime.tv_nsec,
      .ctimensec = stx.stx_ctime.tv_nsec,
      .mode = stx.stx_mode,
      .nlink = stx.stx_nlink,
      .uid = stx.stx_uid,
      .gid = stx.stx_gid,
      .rdev = EncodeDev(stx.stx_rdev_major, stx.stx_rdev_minor),
      .blksize = stx.stx_blksize,
      .flags = 0,
  };
}

abi::Statx ToStatx(const struct statx& stx, uint64_t ino) {
  abi::Statx out{};
  out.mask = stx.stx_mask & (STATX_BASIC_STATS | STATX_BTIME);
  out.blksize = stx.stx_blksize;
  out.attributes = stx.stx_attributes;
  out.nlink = stx.stx_nlink;
  out.uid = stx.stx_uid;
  out.gid = stx.stx_gid;
  out.mode = stx.stx_mode;
  out.ino = ino;
  out.size = stx.stx_size;
  out.blocks = stx.stx_blocks;
  out.attributes_mask = stx.stx_attributes_mask;
  out.atime = ToTime(stx.stx_atime);
  out.btime = ToTime(stx.stx_btime);
  out.ctime = ToTime(stx.stx_ctime);
  out.mtime = ToTime(stx.stx_mtime);
  out.rdev_major = stx.stx_rdev_major;
  out.rdev_minor = stx.stx_rdev_minor;
  return out;
}

abi::AttrOut ToAttrOut(const struct statx& stx, uint64_t ino, Validity attr) {
  return {.attr_valid = attr.seconds,
          .attr_valid_nsec = attr.nanoseconds,
          .dummy = 0,
          .attr = ToAttr(stx, ino)};
}

dev_t DecodeDev(uint32_t wire) {
  return makedev((wire & 0xfff00) >> 8, (wire & 0xff) | (wire >> 12 & 0xfff00));
}

}  // namespace handlefs

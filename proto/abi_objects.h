// Wire layouts shared by requests and replies: the two headers, attributes,
// locks, and the records of the extension area. Sizes and offsets are those of
// protocol 7.45 on x86_64 and are asserted one by one. Fields hold what the
// kernel sends, in host byte order; reserved fields are sent as zero.
#ifndef HANDLEFS_PROTO_ABI_OBJECTS_H_
#define HANDLEFS_PROTO_ABI_OBJECTS_H_

#include <cstddef>
#include <cstdint>

namespace handlefs::abi {

struct InHeader {
  uint32_t len;
  uint32_t opcode;
  uint64_t unique;
  uint64_t nodeid;
  uint32_t uid;
  uint32_t gid;
  uint32_t pid;
  uint16_t total_extlen;
  uint16_t padding;
};
static_assert(sizeof(InHeader) == 40);
static_assert(offsetof(InHeader, opcode) == 4);
static_assert(offsetof(InHeader, unique) == 8);
static_assert(offsetof(InHeader, nodeid) == 16);
static_assert(offsetof(InHeader, uid) == 24);
static_assert(offsetof(InHeader, gid) == 28);
static_assert(offsetof(InHeader, pid) == 32);
static_assert(offsetof(InHeader, total_extlen) == 36);
static_assert(offsetof(InHeader, padding) == 38);

struct OutHeader {
  uint32_t len;
  int32_t error;
  uint64_t unique;
};
static_assert(sizeof(OutHeader) == 16);
static_assert(offsetof(OutHeader, error) == 4);
static_assert(offsetof(OutHeader, unique) == 8);

struct Attr {
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t atime;
  uint64_t mtime;
  uint64_t ctime;
  uint32_t atimensec;
  uint32_t mtimensec;
  uint32_t ctimensec;
  uint32_t mode;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint32_t rdev;
  uint32_t blksize;
  uint32_t flags;
};
static_assert(sizeof(Attr) == 88);
static_assert(offsetof(Attr, size) == 8);
static_assert(offsetof(Attr, blocks) == 16);
static_assert(offsetof(Attr, atime) == 24);
static_assert(offsetof(Attr, mtime) == 32);
static_assert(offsetof(Attr, ctime) == 40);
static_assert(offsetof(Attr, atimensec) == 48);
static_assert(offsetof(Attr, mtimensec) == 52);
static_assert(offsetof(Attr, ctimensec) == 56);
static_assert(offsetof(Attr, mode) == 60);
static_assert(offsetof(Attr, nlink) == 64);
static_assert(offsetof(Attr, uid) == 68);
static_assert(offsetof(Attr, gid) == 72);
static_assert(offsetof(Attr, rdev) == 76);
static_assert(offsetof(Attr, blksize) == 80);
static_assert(offsetof(Attr, flags) == 84);

struct SxTime {
  int64_t tv_sec;
  uint32_t tv_nsec;
  int32_t reserved;
};
static_assert(sizeof(SxTime) == 16);
static_assert(offsetof(SxTime, tv_nsec) == 8);
static_assert(offsetof(SxTime, reserved) == 12);

struct Statx {
  uint32_t mask;
  uint32_t blksize;
  uint64_t attributes;
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint16_t mode;
  uint16_t spare0[1];
  uint64_t ino;
  uint64_t size;
  uint64_t blocks;
  uint64_t attributes_mask;
  SxTime atime;
  SxTime btime;
  SxTime ctime;
  SxTime mtime;
  uint32_t rdev_major;
  uint32_t rdev_minor;
  uint32_t dev_major;
  uint32_t dev_minor;
  uint64_t spare2[14];
};
static_assert(sizeof(Statx) == 256);
static_assert(offsetof(Statx, blksize) == 4);
static_assert(offsetof(Statx, attributes) == 8);
static_assert(offsetof(Statx, nlink) == 16);
static_assert(offsetof(Statx, uid) == 20);
static_assert(offsetof(Statx, gid) == 24);
static_assert(offsetof(Statx, mode) == 28);
static_assert(offsetof(Statx, spare0) == 30);
static_assert(offsetof(Statx, ino) == 32);
static_assert(offsetof(Statx, size) == 40);
static_assert(offsetof(Statx, blocks) == 48);
static_assert(offsetof(Statx, attributes_mask) == 56);
static_assert(offsetof(Statx, atime) == 64);
static_assert(offsetof(Statx, btime) == 80);
static_assert(offsetof(Statx, ctime) == 96);
static_assert(offsetof(Statx, mtime) == 112);
static_assert(offsetof(Statx, rdev_major) == 128);
static_assert(offsetof(Statx, rdev_minor) == 132);
static_assert(offsetof(Statx, dev_major) == 136);
static_assert(offsetof(Statx, dev_minor) == 140);
static_assert(offsetof(Statx, spare2) == 144);

struct Kstatfs {
  uint64_t blocks;
  uint64_t bfree;
  uint64_t bavail;
  uint64_t files;
  uint64_t ffree;
  uint32_t bsize;
  uint32_t namelen;
  uint32_t frsize;
  uint32_t padding;
  uint32_t spare[6];
};
static_assert(sizeof(Kstatfs) == 80);
static_assert(offsetof(Kstatfs, bfree) == 8);
static_assert(offsetof(Kstatfs, bavail) == 16);
static_assert(offsetof(Kstatfs, files) == 24);
static_assert(offsetof(Kstatfs, ffree) == 32);
static_assert(offsetof(Kstatfs, bsize) == 40);
static_assert(offsetof(Kstatfs, namelen) == 44);
static_assert(offsetof(Kstatfs, frsize) == 48);
static_assert(offsetof(Kstatfs, padding) == 52);
static_assert(offsetof(Kstatfs, spare) == 56);

struct FileLock {
  uint64_t start;
  uint64_t end;
  uint32_t type;
  uint32_t pid;
};
static_assert(sizeof(FileLock) == 24);
static_assert(offsetof(FileLock, end) == 8);
static_assert(offsetof(FileLock, type) == 16);
static_assert(offsetof(FileLock, pid) == 20);

struct ExtHeader {
  uint32_t size;
  uint32_t type;
};
static_assert(sizeof(ExtHeader) == 8);
static_assert(offsetof(ExtHeader, type) == 4);

struct SecctxHeader {
  uint32_t size;
  uint32_t nr_secctx;
};
static_assert(sizeof(SecctxHeader) == 8);
static_assert(offsetof(SecctxHeader, nr_secctx) == 4);

struct Secctx {
  uint32_t size;
  uint32_t padding;
};
static_assert(sizeof(Secctx) == 8);
static_assert(offsetof(Secctx, padding) == 4);

struct SuppGroups {
  uint32_t nr_groups;
};
static_assert(sizeof(SuppGroups) == 4);

}  // namespace handlefs::abi

#endif  // HANDLEFS_PROTO_ABI_OBJECTS_H_

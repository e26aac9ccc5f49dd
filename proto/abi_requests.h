// Wire layouts of the fixed part of requests, in opcode order where possible.
// Names, data and extensions follow on the wire and are not part of these.
#ifndef HANDLEFS_PROTO_ABI_REQUESTS_H_
#define HANDLEFS_PROTO_ABI_REQUESTS_H_

#include <cstddef>
#include <cstdint>

#include "proto/abi_objects.h"

namespace handlefs::abi {

struct ForgetIn {
  uint64_t nlookup;
};
static_assert(sizeof(ForgetIn) == 8);

struct ForgetOne {
  uint64_t nodeid;
  uint64_t nlookup;
};
static_assert(sizeof(ForgetOne) == 16);
static_assert(offsetof(ForgetOne, nlookup) == 8);

struct BatchForgetIn {
  uint32_t count;
  uint32_t dummy;
};
static_assert(sizeof(BatchForgetIn) == 8);
static_assert(offsetof(BatchForgetIn, dummy) == 4);

struct GetattrIn {
  uint32_t getattr_flags;
  uint32_t dummy;
  uint64_t fh;
};
static_assert(sizeof(GetattrIn) == 16);
static_assert(offsetof(GetattrIn, dummy) == 4);
static_assert(offsetof(GetattrIn, fh) == 8);

struct StatxIn {
  uint32_t getattr_flags;
  uint32_t reserved;
  uint64_t fh;
  uint32_t sx_flags;
  uint32_t sx_mask;
};
static_assert(sizeof(StatxIn) == 24);
static_assert(offsetof(StatxIn, reserved) == 4);
static_assert(offsetof(StatxIn, fh) == 8);
static_assert(offsetof(StatxIn, sx_flags) == 16);
static_assert(offsetof(StatxIn, sx_mask) == 20);

struct MknodIn {
  uint32_t mode;
  uint32_t rdev;
  uint32_t umask;
  uint32_t padding;
};
static_assert(sizeof(MknodIn) == 16);
static_assert(offsetof(MknodIn, rdev) == 4);
static_assert(offsetof(MknodIn, umask) == 8);
static_assert(offsetof(MknodIn, padding) == 12);

struct MkdirIn {
  uint32_t mode;
  uint32_t umask;
};
static_assert(sizeof(MkdirIn) == 8);
static_assert(offsetof(MkdirIn, umask) == 4);

struct RenameIn {
  uint64_t newdir;
};
static_assert(sizeof(RenameIn) == 8);

struct Rename2In {
  uint64_t newdir;
  uint32_t flags;
  uint32_t padding;
};
static_assert(sizeof(Rename2In) == 16);
static_assert(offsetof(Rename2In, flags) == 8);
static_assert(offsetof(Rename2In, padding) == 12);

struct LinkIn {
  uint64_t oldnodeid;
};
static_assert(sizeof(LinkIn) == 8);

struct SetattrIn {
  uint32_t valid;
  uint32_t padding;
  uint64_t fh;
  uint64_t size;
  uint64_t lock_owner;
  uint64_t atime;
  uint64_t mtime;
  uint64_t ctime;
  uint32_t atimensec;
  uint32_t mtimensec;
  uint32_t ctimensec;
  uint32_t mode;
  uint32_t unused4;
  uint32_t uid;
  uint32_t gid;
  uint32_t unused5;
};
static_assert(sizeof(SetattrIn) == 88);
static_assert(offsetof(SetattrIn, padding) == 4);
static_assert(offsetof(SetattrIn, fh) == 8);
static_assert(offsetof(SetattrIn, size) == 16);
static_assert(offsetof(SetattrIn, lock_owner) == 24);
static_assert(offsetof(SetattrIn, atime) == 32);
static_assert(offsetof(SetattrIn, mtime) == 40);
static_assert(offsetof(SetattrIn, ctime) == 48);
static_assert(offsetof(SetattrIn, atimensec) == 56);
static_assert(offsetof(SetattrIn, mtimensec) == 60);
static_assert(offsetof(SetattrIn, ctimensec) == 64);
static_assert(offsetof(SetattrIn, mode) == 68);
static_assert(offsetof(SetattrIn, unused4) == 72);
static_assert(offsetof(SetattrIn, uid) == 76);
static_assert(offsetof(SetattrIn, gid) == 80);
static_assert(offsetof(SetattrIn, unused5) == 84);

struct OpenIn {
  uint32_t flags;
  uint32_t open_flags;
};
static_assert(sizeof(OpenIn) == 8);
static_assert(offsetof(OpenIn, open_flags) == 4);

struct CreateIn {
  uint32_t flags;
  uint32_t mode;
  uint32_t umask;
  uint32_t open_flags;
};
static_assert(sizeof(CreateIn) == 16);
static_assert(offsetof(CreateIn, mode) == 4);
static_assert(offsetof(CreateIn, umask) == 8);
static_assert(offsetof(CreateIn, open_flags) == 12);

struct ReleaseIn {
  uint64_t fh;
  uint32_t flags;
  uint32_t release_flags;
  uint64_t lock_owner;
};
static_assert(sizeof(ReleaseIn) == 24);
static_assert(offsetof(ReleaseIn, flags) == 8);
static_assert(offsetof(ReleaseIn, release_flags) == 12);
static_assert(offsetof(ReleaseIn, lock_owner) == 16);

struct FlushIn {
  uint64_t fh;
  uint32_t unused;
  uint32_t padding;
  uint64_t lock_owner;
};
static_assert(sizeof(FlushIn) == 24);
static_assert(offsetof(FlushIn, unused) == 8);
static_assert(offsetof(FlushIn, padding) == 12);
static_assert(offsetof(FlushIn, lock_owner) == 16);

struct ReadIn {
  uint64_t fh;
  uint64_t offset;
  uint32_t size;
  uint32_t read_flags;
  uint64_t lock_owner;
  uint32_t flags;
  uint32_t padding;
};
static_assert(sizeof(ReadIn) == 40);
static_assert(offsetof(ReadIn, offset) == 8);
static_assert(offsetof(ReadIn, size) == 16);
static_assert(offsetof(ReadIn, read_flags) == 20);
static_assert(offsetof(ReadIn, lock_owner) == 24);
static_assert(offsetof(ReadIn, flags) == 32);
static_assert(offsetof(ReadIn, padding) == 36);

struct WriteIn {
  uint64_t fh;
  uint64_t offset;
  uint32_t size;
  uint32_t write_flags;
  uint64_t lock_owner;
  uint32_t flags;
  uint32_t padding;
};
static_assert(sizeof(WriteIn) == 40);
static_assert(offsetof(WriteIn, offset) == 8);
static_assert(offsetof(WriteIn, size) == 16);
static_assert(offsetof(WriteIn, write_flags) == 20);
static_assert(offsetof(WriteIn, lock_owner) == 24);
static_assert(offsetof(WriteIn, flags) == 32);
static_assert(offsetof(WriteIn, padding) == 36);

struct FsyncIn {
  uint64_t fh;
  uint32_t fsync_flags;
  uint32_t padding;
};
static_assert(sizeof(FsyncIn) == 16);
static_assert(offsetof(FsyncIn, fsync_flags) == 8);
static_assert(offsetof(FsyncIn, padding) == 12);

struct SetxattrIn {
  uint32_t size;
  uint32_t flags;
  uint32_t setxattr_flags;
  uint32_t padding;
};
static_assert(sizeof(SetxattrIn) == 16);
static_assert(offsetof(SetxattrIn, flags) == 4);
static_assert(offsetof(SetxattrIn, setxattr_flags) == 8);
static_assert(offsetof(SetxattrIn, padding) == 12);

struct GetxattrIn {
  uint32_t size;
  uint32_t padding;
};
static_assert(sizeof(GetxattrIn) == 8);
static_assert(offsetof(GetxattrIn, padding) == 4);

struct LkIn {
  uint64_t fh;
  uint64_t owner;
  FileLock lk;
  uint32_t lk_flags;
  uint32_t padding;
};
static_assert(sizeof(LkIn) == 48);
static_assert(offsetof(LkIn, owner) == 8);
static_assert(offsetof(LkIn, lk) == 16);
static_assert(offsetof(LkIn, lk_flags) == 40);
static_assert(offsetof(LkIn, padding) == 44);

struct AccessIn {
  uint32_t mask;
  uint32_t padding;
};
static_assert(sizeof(AccessIn) == 8);
static_assert(offsetof(AccessIn, padding) == 4);

struct InitIn {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint32_t flags2;
  uint32_t unused[11];
};
static_assert(sizeof(InitIn) == 64);
static_assert(offsetof(InitIn, minor) == 4);
static_assert(offsetof(InitIn, max_readahead) == 8);
static_assert(offsetof(InitIn, flags) == 12);
static_assert(offsetof(InitIn, flags2) == 16);
static_assert(offsetof(InitIn, unused) == 20);

struct CuseInitIn {
  uint32_t major;
  uint32_t minor;
  uint32_t unused;
  uint32_t flags;
};
static_assert(sizeof(CuseInitIn) == 16);
static_assert(offsetof(CuseInitIn, minor) == 4);
static_assert(offsetof(CuseInitIn, unused) == 8);
static_assert(offsetof(CuseInitIn, flags) == 12);

struct InterruptIn {
  uint64_t unique;
};
static_assert(sizeof(InterruptIn) == 8);

struct BmapIn {
  uint64_t block;
  uint32_t blocksize;
  uint32_t padding;
};
static_assert(sizeof(BmapIn) == 16);
static_assert(offsetof(BmapIn, blocksize) == 8);
static_assert(offsetof(BmapIn, padding) == 12);

struct IoctlIn {
  uint64_t fh;
  uint32_t flags;
  uint32_t cmd;
  uint64_t arg;
  uint32_t in_size;
  uint32_t out_size;
};
static_assert(sizeof(IoctlIn) == 32);
static_assert(offsetof(IoctlIn, flags) == 8);
static_assert(offsetof(IoctlIn, cmd) == 12);
static_assert(offsetof(IoctlIn, arg) == 16);
static_assert(offsetof(IoctlIn, in_size) == 24);
static_assert(offsetof(IoctlIn, out_size) == 28);

struct IoctlIovec {
  uint64_t base;
  uint64_t len;
};
static_assert(sizeof(IoctlIovec) == 16);
static_assert(offsetof(IoctlIovec, len) == 8);

struct PollIn {
  uint64_t fh;
  uint64_t kh;
  uint32_t flags;
  uint32_t events;
};
static_assert(sizeof(PollIn) == 24);
static_assert(offsetof(PollIn, kh) == 8);
static_assert(offsetof(PollIn, flags) == 16);
static_assert(offsetof(PollIn, events) == 20);

struct FallocateIn {
  uint64_t fh;
  uint64_t offset;
  uint64_t length;
  uint32_t mode;
  uint32_t padding;
};
static_assert(sizeof(FallocateIn) == 32);
static_assert(offsetof(FallocateIn, offset) == 8);
static_assert(offsetof(FallocateIn, length) == 16);
static_assert(offsetof(FallocateIn, mode) == 24);
static_assert(offsetof(FallocateIn, padding) == 28);

struct LseekIn {
  uint64_t fh;
  uint64_t offset;
  uint32_t whence;
  uint32_t padding;
};
static_assert(sizeof(LseekIn) == 24);
static_assert(offsetof(LseekIn, offset) == 8);
static_assert(offsetof(LseekIn, whence) == 16);
static_assert(offsetof(LseekIn, padding) == 20);

struct CopyFileRangeIn {
  uint64_t fh_in;
  uint64_t off_in;
  uint64_t nodeid_out;
  uint64_t fh_out;
  uint64_t off_out;
  uint64_t len;
  uint64_t flags;
};
static_assert(sizeof(CopyFileRangeIn) == 56);
static_assert(offsetof(CopyFileRangeIn, off_in) == 8);
static_assert(offsetof(CopyFileRangeIn, nodeid_out) == 16);
static_assert(offsetof(CopyFileRangeIn, fh_out) == 24);
static_assert(offsetof(CopyFileRangeIn, off_out) == 32);
static_assert(offsetof(CopyFileRangeIn, len) == 40);
static_assert(offsetof(CopyFileRangeIn, flags) == 48);

struct SetupmappingIn {
  uint64_t fh;
  uint64_t foffset;
  uint64_t len;
  uint64_t flags;
  uint64_t moffset;
};
static_assert(sizeof(SetupmappingIn) == 40);
static_assert(offsetof(SetupmappingIn, foffset) == 8);
static_assert(offsetof(SetupmappingIn, len) == 16);
static_assert(offsetof(SetupmappingIn, flags) == 24);
static_assert(offsetof(SetupmappingIn, moffset) == 32);

struct RemovemappingIn {
  uint32_t count;
};
static_assert(sizeof(RemovemappingIn) == 4);

struct RemovemappingOne {
  uint64_t moffset;
  uint64_t len;
};
static_assert(sizeof(RemovemappingOne) == 16);
static_assert(offsetof(RemovemappingOne, len) == 8);

struct SyncfsIn {
  uint64_t padding;
};
static_assert(sizeof(SyncfsIn) == 8);

}  // namespace handlefs::abi

#endif  // HANDLEFS_PROTO_ABI_REQUESTS_H_

// Wire layouts of replies, after the 16-byte OutHeader.
#ifndef HANDLEFS_PROTO_ABI_REPLIES_H_
#define HANDLEFS_PROTO_ABI_REPLIES_H_

#include <cstddef>
#include <cstdint>

#include "proto/abi_objects.h"

namespace handlefs::abi {

struct EntryOut {
  uint64_t nodeid;
  uint64_t generation;
  uint64_t entry_valid;
  uint64_t attr_valid;
  uint32_t entry_valid_nsec;
  uint32_t attr_valid_nsec;
  Attr attr;
};
static_assert(sizeof(EntryOut) == 128);
static_assert(offsetof(EntryOut, generation) == 8);
static_assert(offsetof(EntryOut, entry_valid) == 16);
static_assert(offsetof(EntryOut, attr_valid) == 24);
static_assert(offsetof(EntryOut, entry_valid_nsec) == 32);
static_assert(offsetof(EntryOut, attr_valid_nsec) == 36);
static_assert(offsetof(EntryOut, attr) == 40);

struct AttrOut {
  uint64_t attr_valid;
  uint32_t attr_valid_nsec;
  uint32_t dummy;
  Attr attr;
};
static_assert(sizeof(AttrOut) == 104);
static_assert(offsetof(AttrOut, attr_valid_nsec) == 8);
static_assert(offsetof(AttrOut, dummy) == 12);
static_assert(offsetof(AttrOut, attr) == 16);

struct StatxOut {
  uint64_t attr_valid;
  uint32_t attr_valid_nsec;
  uint32_t flags;
  uint64_t spare[2];
  Statx stat;
};
static_assert(sizeof(StatxOut) == 288);
static_assert(offsetof(StatxOut, attr_valid_nsec) == 8);
static_assert(offsetof(StatxOut, flags) == 12);
static_assert(offsetof(StatxOut, spare) == 16);
static_assert(offsetof(StatxOut, stat) == 32);

struct OpenOut {
  uint64_t fh;
  uint32_t open_flags;
  int32_t backing_id;
};
static_assert(sizeof(OpenOut) == 16);
static_assert(offsetof(OpenOut, open_flags) == 8);
static_assert(offsetof(OpenOut, backing_id) == 12);

struct WriteOut {
  uint32_t size;
  uint32_t padding;
};
static_assert(sizeof(WriteOut) == 8);
static_assert(offsetof(WriteOut, padding) == 4);

struct StatfsOut {
  Kstatfs st;
};
static_assert(sizeof(StatfsOut) == 80);

struct GetxattrOut {
  uint32_t size;
  uint32_t padding;
};
static_assert(sizeof(GetxattrOut) == 8);
static_assert(offsetof(GetxattrOut, padding) == 4);

struct LkOut {
  FileLock lk;
};
static_assert(sizeof(LkOut) == 24);

struct InitOut {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint16_t max_background;
  uint16_t congestion_threshold;
  uint32_t max_write;
  uint32_t time_gran;
  uint16_t max_pages;
  uint16_t map_alignment;
  uint32_t flags2;
  uint32_t max_stack_depth;
  uint16_t request_timeout;
  uint16_t unused[11];
};
static_assert(sizeof(InitOut) == 64);
static_assert(offsetof(InitOut, minor) == 4);
static_assert(offsetof(InitOut, max_readahead) == 8);
static_assert(offsetof(InitOut, flags) == 12);
static_assert(offsetof(InitOut, max_background) == 16);
static_assert(offsetof(InitOut, congestion_threshold) == 18);
static_assert(offsetof(InitOut, max_write) == 20);
static_assert(offsetof(InitOut, time_gran) == 24);
static_assert(offsetof(InitOut, max_pages) == 28);
static_assert(offsetof(InitOut, map_alignment) == 30);
static_assert(offsetof(InitOut, flags2) == 32);
static_assert(offsetof(InitOut, max_stack_depth) == 36);
static_assert(offsetof(InitOut, request_timeout) == 40);
static_assert(offsetof(InitOut, unused) == 42);

struct CuseInitOut {
  uint32_t major;
  uint32_t minor;
  uint32_t unused;
  uint32_t flags;
  uint32_t max_read;
  uint32_t max_write;
  uint32_t dev_major;
  uint32_t dev_minor;
  uint32_t spare[10];
};
static_assert(sizeof(CuseInitOut) == 72);
static_assert(offsetof(CuseInitOut, minor) == 4);
static_assert(offsetof(CuseInitOut, unused) == 8);
static_assert(offsetof(CuseInitOut, flags) == 12);
static_assert(offsetof(CuseInitOut, max_read) == 16);
static_assert(offsetof(CuseInitOut, max_write) == 20);
static_assert(offsetof(CuseInitOut, dev_major) == 24);
static_assert(offsetof(CuseInitOut, dev_minor) == 28);
static_assert(offsetof(CuseInitOut, spare) == 32);

struct BmapOut {
  uint64_t block;
};
static_assert(sizeof(BmapOut) == 8);

struct IoctlOut {
  int32_t result;
  uint32_t flags;
  uint32_t in_iovs;
  uint32_t out_iovs;
};
static_assert(sizeof(IoctlOut) == 16);
static_assert(offsetof(IoctlOut, flags) == 4);
static_assert(offsetof(IoctlOut, in_iovs) == 8);
static_assert(offsetof(IoctlOut, out_iovs) == 12);

struct PollOut {
  uint32_t revents;
  uint32_t padding;
};
static_assert(sizeof(PollOut) == 8);
static_assert(offsetof(PollOut, padding) == 4);

struct LseekOut {
  uint64_t offset;
};
static_assert(sizeof(LseekOut) == 8);

struct CopyFileRangeOut {
  uint64_t bytes_copied;
};
static_assert(sizeof(CopyFileRangeOut) == 8);

struct Dirent {
  uint64_t ino;
  uint64_t off;
  uint32_t namelen;
  uint32_t type;
};
static_assert(sizeof(Dirent) == 24);
static_assert(offsetof(Dirent, off) == 8);
static_assert(offsetof(Dirent, namelen) == 16);
static_assert(offsetof(Dirent, type) == 20);

struct Direntplus {
  EntryOut entry_out;
  Dirent dirent;
};
static_assert(sizeof(Direntplus) == 152);
static_assert(offsetof(Direntplus, dirent) == 128);

// CREATE and TMPFILE answer with an entry and an open file behind each other.
struct CreateOut {
  EntryOut entry;
  OpenOut open;
};
static_assert(sizeof(CreateOut) == 144);
static_assert(offsetof(CreateOut, open) == 128);

}  // namespace handlefs::abi

#endif  // HANDLEFS_PROTO_ABI_REPLIES_H_

// Wire layouts that no released kernel has: FUSE_LOOKUP_HANDLE (RFC v3) and the
// four framings of FUSE_COMPOUND that were posted. They move with every
// posting, so they are kept apart from the mainline layouts.
#ifndef HANDLEFS_PROTO_ABI_RFC_H_
#define HANDLEFS_PROTO_ABI_RFC_H_

#include <cstddef>
#include <cstdint>

#include "proto/abi_objects.h"

namespace handlefs::abi {

// First part of the reply to LOOKUP_HANDLE and MKOBJ_HANDLE. No attributes:
// those come from the STATX of the same compound.
struct Entry2Out {
  uint64_t nodeid;
  uint64_t generation;
  uint64_t entry_valid;
  uint32_t entry_valid_nsec;
  uint32_t flags;
  uint64_t spare;
};
static_assert(sizeof(Entry2Out) == 40);
static_assert(offsetof(Entry2Out, generation) == 8);
static_assert(offsetof(Entry2Out, entry_valid) == 16);
static_assert(offsetof(Entry2Out, entry_valid_nsec) == 24);
static_assert(offsetof(Entry2Out, flags) == 28);
static_assert(offsetof(Entry2Out, spare) == 32);

// Followed by `size` opaque bytes, 128 at the most.
struct FileHandle {
  uint16_t size;
};
static_assert(sizeof(FileHandle) == 2);
inline constexpr size_t kMaxNodeHandle = 128;

// A proposal of reviewers for a reply of LOOKUP_HANDLE with the attributes in
// it; a FileHandle follows.
struct EntryHandleOut {
  uint64_t nodeid;
  uint64_t generation;
  uint64_t entry_valid;
  uint64_t attr_valid;
  uint32_t entry_valid_nsec;
  uint32_t attr_valid_nsec;
  Statx stat;
};
static_assert(sizeof(EntryHandleOut) == 296);
static_assert(offsetof(EntryHandleOut, attr_valid) == 24);
static_assert(offsetof(EntryHandleOut, entry_valid_nsec) == 32);
static_assert(offsetof(EntryHandleOut, attr_valid_nsec) == 36);
static_assert(offsetof(EntryHandleOut, stat) == 40);

struct CompoundInV5 {
  uint32_t count;
  uint32_t flags;
  uint32_t result_size;
  uint32_t hole;
  uint64_t reserved;
};
static_assert(sizeof(CompoundInV5) == 24);
static_assert(offsetof(CompoundInV5, flags) == 4);
static_assert(offsetof(CompoundInV5, result_size) == 8);
static_assert(offsetof(CompoundInV5, reserved) == 16);

struct CompoundOutV5 {
  uint32_t count;
  uint32_t flags;
  uint64_t reserved;
};
static_assert(sizeof(CompoundOutV5) == 16);
static_assert(offsetof(CompoundOutV5, reserved) == 8);

struct CompoundInV6 {
  uint32_t flags;
  uint32_t result_size;
  uint64_t reserved;
};
static_assert(sizeof(CompoundInV6) == 16);
static_assert(offsetof(CompoundInV6, reserved) == 8);

struct CompoundOutV6 {
  uint32_t flags;
  uint32_t padding;
  uint64_t reserved;
};
static_assert(sizeof(CompoundOutV6) == 16);
static_assert(offsetof(CompoundOutV6, reserved) == 8);

// Request and reply header of the "dev" and v7 framings.
struct CompoundV7 {
  uint64_t reserved[2];
};
static_assert(sizeof(CompoundV7) == 16);

// Stands before each sub request.
struct CompoundSubDev {
  uint8_t flags;
  uint8_t sub_dep_index;
  uint16_t padding;
  uint32_t reserved;
};
static_assert(sizeof(CompoundSubDev) == 8);
static_assert(offsetof(CompoundSubDev, sub_dep_index) == 1);
static_assert(offsetof(CompoundSubDev, reserved) == 4);

struct CompoundSubV7 {
  uint8_t dep_index;
  uint8_t reserved[3];
};
static_assert(sizeof(CompoundSubV7) == 4);
static_assert(offsetof(CompoundSubV7, reserved) == 1);

}  // namespace handlefs::abi

#endif  // HANDLEFS_PROTO_ABI_RFC_H_

// Wire layouts of what does not belong to one opcode: notifications,
// registration of backing files, and the entries of FUSE-over-io_uring.
#ifndef HANDLEFS_PROTO_ABI_DEVICE_H_
#define HANDLEFS_PROTO_ABI_DEVICE_H_

#include <cstddef>
#include <cstdint>

#include "proto/abi_objects.h"

namespace handlefs::abi {

struct NotifyPollWakeupOut {
  uint64_t kh;
};
static_assert(sizeof(NotifyPollWakeupOut) == 8);

struct NotifyInvalInodeOut {
  uint64_t ino;
  int64_t off;
  int64_t len;
};
static_assert(sizeof(NotifyInvalInodeOut) == 24);
static_assert(offsetof(NotifyInvalInodeOut, off) == 8);
static_assert(offsetof(NotifyInvalInodeOut, len) == 16);

struct NotifyInvalEntryOut {
  uint64_t parent;
  uint32_t namelen;
  uint32_t flags;
};
static_assert(sizeof(NotifyInvalEntryOut) == 16);
static_assert(offsetof(NotifyInvalEntryOut, namelen) == 8);
static_assert(offsetof(NotifyInvalEntryOut, flags) == 12);

struct NotifyDeleteOut {
  uint64_t parent;
  uint64_t child;
  uint32_t namelen;
  uint32_t padding;
};
static_assert(sizeof(NotifyDeleteOut) == 24);
static_assert(offsetof(NotifyDeleteOut, child) == 8);
static_assert(offsetof(NotifyDeleteOut, namelen) == 16);
static_assert(offsetof(NotifyDeleteOut, padding) == 20);

struct NotifyStoreOut {
  uint64_t nodeid;
  uint64_t offset;
  uint32_t size;
  uint32_t padding;
};
static_assert(sizeof(NotifyStoreOut) == 24);
static_assert(offsetof(NotifyStoreOut, offset) == 8);
static_assert(offsetof(NotifyStoreOut, size) == 16);
static_assert(offsetof(NotifyStoreOut, padding) == 20);

struct NotifyRetrieveOut {
  uint64_t notify_unique;
  uint64_t nodeid;
  uint64_t offset;
  uint32_t size;
  uint32_t padding;
};
static_assert(sizeof(NotifyRetrieveOut) == 32);
static_assert(offsetof(NotifyRetrieveOut, nodeid) == 8);
static_assert(offsetof(NotifyRetrieveOut, offset) == 16);
static_assert(offsetof(NotifyRetrieveOut, size) == 24);
static_assert(offsetof(NotifyRetrieveOut, padding) == 28);

struct NotifyRetrieveIn {
  uint64_t dummy1;
  uint64_t offset;
  uint32_t size;
  uint32_t dummy2;
  uint64_t dummy3;
  uint64_t dummy4;
};
static_assert(sizeof(NotifyRetrieveIn) == 40);
static_assert(offsetof(NotifyRetrieveIn, offset) == 8);
static_assert(offsetof(NotifyRetrieveIn, size) == 16);
static_assert(offsetof(NotifyRetrieveIn, dummy2) == 20);
static_assert(offsetof(NotifyRetrieveIn, dummy3) == 24);
static_assert(offsetof(NotifyRetrieveIn, dummy4) == 32);

struct NotifyPruneOut {
  uint32_t count;
  uint32_t padding;
  uint64_t spare;
};
static_assert(sizeof(NotifyPruneOut) == 16);
static_assert(offsetof(NotifyPruneOut, padding) == 4);
static_assert(offsetof(NotifyPruneOut, spare) == 8);

struct BackingMap {
  int32_t fd;
  uint32_t flags;
  uint64_t padding;
};
static_assert(sizeof(BackingMap) == 16);
static_assert(offsetof(BackingMap, flags) == 4);
static_assert(offsetof(BackingMap, padding) == 8);

struct UringEntInOut {
  uint64_t flags;
  uint64_t commit_id;
  uint32_t payload_sz;
  uint32_t padding;
  uint64_t reserved;
};
static_assert(sizeof(UringEntInOut) == 32);
static_assert(offsetof(UringEntInOut, commit_id) == 8);
static_assert(offsetof(UringEntInOut, payload_sz) == 16);
static_assert(offsetof(UringEntInOut, padding) == 20);
static_assert(offsetof(UringEntInOut, reserved) == 24);

struct UringReqHeader {
  char in_out[128];
  char op_in[128];
  UringEntInOut ring_ent_in_out;
};
static_assert(sizeof(UringReqHeader) == 288);
static_assert(offsetof(UringReqHeader, op_in) == 128);
static_assert(offsetof(UringReqHeader, ring_ent_in_out) == 256);

struct UringCmdReq {
  uint64_t flags;
  uint64_t commit_id;
  uint16_t qid;
  uint8_t padding[6];
};
static_assert(sizeof(UringCmdReq) == 24);
static_assert(offsetof(UringCmdReq, commit_id) == 8);
static_assert(offsetof(UringCmdReq, qid) == 16);
static_assert(offsetof(UringCmdReq, padding) == 18);

}  // namespace handlefs::abi

#endif  // HANDLEFS_PROTO_ABI_DEVICE_H_

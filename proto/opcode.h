// The one opcode table. Decoding, size checks, trace text, metrics labels, the
// split of a request over a ring and the fuzz dictionary all come from its
// rows; no other place in the project switches on an opcode.
#ifndef HANDLEFS_PROTO_OPCODE_H_
#define HANDLEFS_PROTO_OPCODE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "proto/abi.h"

namespace handlefs::proto {

enum class Opcode : uint32_t {
  kLookup = 1,
  kForget = 2,
  kGetattr = 3,
  kSetattr = 4,
  kReadlink = 5,
  kSymlink = 6,
  kMknod = 8,
  kMkdir = 9,
  kUnlink = 10,
  kRmdir = 11,
  kRename = 12,
  kLink = 13,
  kOpen = 14,
  kRead = 15,
  kWrite = 16,
  kStatfs = 17,
  kRelease = 18,
  kFsync = 20,
  kSetxattr = 21,
  kGetxattr = 22,
  kListxattr = 23,
  kRemovexattr = 24,
  kFlush = 25,
  kInit = 26,
  kOpendir = 27,
  kReaddir = 28,
  kReleasedir = 29,
  kFsyncdir = 30,
  kGetlk = 31,
  kSetlk = 32,
  kSetlkw = 33,
  kAccess = 34,
  kCreate = 35,
  kInterrupt = 36,
  kBmap = 37,
  kDestroy = 38,
  kIoctl = 39,
  kPoll = 40,
  kNotifyReply = 41,
  kBatchForget = 42,
  kFallocate = 43,
  kReaddirplus = 44,
  kRename2 = 45,
  kLseek = 46,
  kCopyFileRange = 47,
  kSetupmapping = 48,
  kRemovemapping = 49,
  kSyncfs = 50,
  kTmpfile = 51,
  kStatx = 52,
  kCopyFileRange64 = 53,
  kCompound = 54,  // RFC, as the two below (abi_rfc.h)
  kLookupHandle = 55,
  kMkobjHandle = 56,
  kCuseInit = 4096,
};

// A NUL-terminated string behind the fixed part.
enum class Text : uint8_t {
  kNone,
  kName,        // one path component, neither "." nor ".."
  kLookupName,  // one path component; "." and ".." come with NFS export
  kFree,        // anything: a link target, an xattr name
};

enum class Tail : uint8_t {
  kNone,  // nothing behind the texts
  kData,  // bytes up to the end: WRITE, SETXATTR, IOCTL, BATCH_FORGET
};

enum class ReplyKind : uint8_t {
  kNever,       // answering is an error of protocol
  kHeader,      // the out header alone
  kFixed,       // one struct of reply_size bytes
  kData,        // up to the size that the request names
  kSizeOrData,  // getxattr_out when the request's size is 0, else data
  kFixedData,   // a struct, then data
};

enum OpFlags : uint16_t {
  kNoFlags = 0,
  // Can wait for a disk, a lock or another machine for long.
  kMayBlock = 1 << 0,
  // Changes names, data or attributes on the host.
  kMutates = 1 << 1,
  // Never comes through a ring, only by read(2) of /dev/fuse.
  kDevOnly = 1 << 2,
  // Older kernels send less than fixed_in; the rest reads as zero.
  kShortFixed = 1 << 3,
  // On success the reply begins with the id of a node, which is counted as
  // looked up.
  kMakesEntry = 1 << 4,
  // Never part of a compound.
  kAlone = 1 << 5,
  // The node's handle follows the struct of the reply.
  kGivesHandle = 1 << 6,
};

struct OpRow {
  Opcode op;
  std::string_view name;
  uint16_t fixed_in = 0;  // bytes of the struct behind the in header
  Text text = Text::kNone;
  Text text2 = Text::kNone;
  Tail tail = Tail::kNone;
  ReplyKind reply = ReplyKind::kHeader;
  uint16_t reply_size = 0;  // of the struct, for kFixed and kFixedData
  uint16_t flags = kNoFlags;
};

// clang-format off
inline constexpr auto kOpTable = std::to_array<OpRow>({
    {.op = Opcode::kLookup, .name = "LOOKUP", .text = Text::kLookupName, .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::EntryOut), .flags = kMakesEntry},
    {.op = Opcode::kForget, .name = "FORGET", .fixed_in = sizeof(abi::ForgetIn), .reply = ReplyKind::kNever, .flags = kDevOnly},
    {.op = Opcode::kGetattr, .name = "GETATTR", .fixed_in = sizeof(abi::GetattrIn), .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::AttrOut)},
    {.op = Opcode::kSetattr, .name = "SETATTR", .fixed_in = sizeof(abi::SetattrIn), .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::AttrOut), .flags = kMutates},
    {.op = Opcode::kReadlink, .name = "READLINK", .reply = ReplyKind::kData},
    {.op = Opcode::kSymlink, .name = "SYMLINK", .text = Text::kName, .text2 = Text::kFree, .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::EntryOut), .flags = kMutates | kMakesEntry},
    {.op = Opcode::kMknod, .name = "MKNOD", .fixed_in = sizeof(abi::MknodIn), .text = Text::kName, .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::EntryOut), .flags = kMutates | kMakesEntry},
    {.op = Opcode::kMkdir, .name = "MKDIR", .fixed_in = sizeof(abi::MkdirIn), .text = Text::kName, .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::EntryOut), .flags = kMutates | kMakesEntry},
    {.op = Opcode::kUnlink, .name = "UNLINK", .text = Text::kName, .flags = kMutates},
    {.op = Opcode::kRmdir, .name = "RMDIR", .text = Text::kName, .flags = kMutates},
    {.op = Opcode::kRename, .name = "RENAME", .fixed_in = sizeof(abi::RenameIn), .text = Text::kName, .text2 = Text::kName, .flags = kMutates},
    {.op = Opcode::kLink, .name = "LINK", .fixed_in = sizeof(abi::LinkIn), .text = Text::kName, .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::EntryOut), .flags = kMutates | kMakesEntry},
    {.op = Opcode::kOpen, .name = "OPEN", .fixed_in = sizeof(abi::OpenIn), .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::OpenOut)},
    {.op = Opcode::kRead, .name = "READ", .fixed_in = sizeof(abi::ReadIn), .reply = ReplyKind::kData, .flags = kMayBlock},
    {.op = Opcode::kWrite, .name = "WRITE", .fixed_in = sizeof(abi::WriteIn), .tail = Tail::kData, .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::WriteOut), .flags = kMayBlock | kMutates},
    {.op = Opcode::kStatfs, .name = "STATFS", .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::StatfsOut)},
    {.op = Opcode::kRelease, .name = "RELEASE", .fixed_in = sizeof(abi::ReleaseIn)},
    {.op = Opcode::kFsync, .name = "FSYNC", .fixed_in = sizeof(abi::FsyncIn), .flags = kMayBlock},
    {.op = Opcode::kSetxattr, .name = "SETXATTR", .fixed_in = sizeof(abi::SetxattrIn), .text = Text::kFree, .tail = Tail::kData, .flags = kMutates},
    {.op = Opcode::kGetxattr, .name = "GETXATTR", .fixed_in = sizeof(abi::GetxattrIn), .text = Text::kFree, .reply = ReplyKind::kSizeOrData, .reply_size = sizeof(abi::GetxattrOut)},
    {.op = Opcode::kListxattr, .name = "LISTXATTR", .fixed_in = sizeof(abi::GetxattrIn), .reply = ReplyKind::kSizeOrData, .reply_size = sizeof(abi::GetxattrOut)},
    {.op = Opcode::kRemovexattr, .name = "REMOVEXATTR", .text = Text::kFree, .flags = kMutates},
    {.op = Opcode::kFlush, .name = "FLUSH", .fixed_in = sizeof(abi::FlushIn)},
    {.op = Opcode::kInit, .name = "INIT", .fixed_in = sizeof(abi::InitIn), .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::InitOut), .flags = kDevOnly | kShortFixed},
    {.op = Opcode::kOpendir, .name = "OPENDIR", .fixed_in = sizeof(abi::OpenIn), .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::OpenOut)},
    {.op = Opcode::kReaddir, .name = "READDIR", .fixed_in = sizeof(abi::ReadIn), .reply = ReplyKind::kData},
    {.op = Opcode::kReleasedir, .name = "RELEASEDIR", .fixed_in = sizeof(abi::ReleaseIn)},
    {.op = Opcode::kFsyncdir, .name = "FSYNCDIR", .fixed_in = sizeof(abi::FsyncIn), .flags = kMayBlock},
    {.op = Opcode::kGetlk, .name = "GETLK", .fixed_in = sizeof(abi::LkIn), .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::LkOut)},
    {.op = Opcode::kSetlk, .name = "SETLK", .fixed_in = sizeof(abi::LkIn)},
    {.op = Opcode::kSetlkw, .name = "SETLKW", .fixed_in = sizeof(abi::LkIn), .flags = kMayBlock | kAlone},
    {.op = Opcode::kAccess, .name = "ACCESS", .fixed_in = sizeof(abi::AccessIn)},
    {.op = Opcode::kCreate, .name = "CREATE", .fixed_in = sizeof(abi::CreateIn), .text = Text::kName, .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::CreateOut), .flags = kMutates | kMakesEntry},
    {.op = Opcode::kInterrupt, .name = "INTERRUPT", .fixed_in = sizeof(abi::InterruptIn), .reply = ReplyKind::kNever, .flags = kDevOnly},
    {.op = Opcode::kBmap, .name = "BMAP", .fixed_in = sizeof(abi::BmapIn), .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::BmapOut)},
    {.op = Opcode::kDestroy, .name = "DESTROY", .flags = kAlone},
    {.op = Opcode::kIoctl, .name = "IOCTL", .fixed_in = sizeof(abi::IoctlIn), .tail = Tail::kData, .reply = ReplyKind::kFixedData, .reply_size = sizeof(abi::IoctlOut), .flags = kMutates},
    {.op = Opcode::kPoll, .name = "POLL", .fixed_in = sizeof(abi::PollIn), .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::PollOut)},
    {.op = Opcode::kNotifyReply, .name = "NOTIFY_REPLY", .fixed_in = sizeof(abi::NotifyRetrieveIn), .tail = Tail::kData, .reply = ReplyKind::kNever, .flags = kDevOnly},
    {.op = Opcode::kBatchForget, .name = "BATCH_FORGET", .fixed_in = sizeof(abi::BatchForgetIn), .tail = Tail::kData, .reply = ReplyKind::kNever, .flags = kDevOnly},
    {.op = Opcode::kFallocate, .name = "FALLOCATE", .fixed_in = sizeof(abi::FallocateIn), .flags = kMayBlock | kMutates},
    {.op = Opcode::kReaddirplus, .name = "READDIRPLUS", .fixed_in = sizeof(abi::ReadIn), .reply = ReplyKind::kData},
    {.op = Opcode::kRename2, .name = "RENAME2", .fixed_in = sizeof(abi::Rename2In), .text = Text::kName, .text2 = Text::kName, .flags = kMutates},
    {.op = Opcode::kLseek, .name = "LSEEK", .fixed_in = sizeof(abi::LseekIn), .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::LseekOut)},
    {.op = Opcode::kCopyFileRange, .name = "COPY_FILE_RANGE", .fixed_in = sizeof(abi::CopyFileRangeIn), .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::WriteOut), .flags = kMayBlock | kMutates},
    {.op = Opcode::kSetupmapping, .name = "SETUPMAPPING", .fixed_in = sizeof(abi::SetupmappingIn)},
    {.op = Opcode::kRemovemapping, .name = "REMOVEMAPPING", .fixed_in = sizeof(abi::RemovemappingIn), .tail = Tail::kData},
    {.op = Opcode::kSyncfs, .name = "SYNCFS", .fixed_in = sizeof(abi::SyncfsIn), .flags = kMayBlock},
    {.op = Opcode::kTmpfile, .name = "TMPFILE", .fixed_in = sizeof(abi::CreateIn), .text = Text::kFree, .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::CreateOut), .flags = kMutates | kMakesEntry},
    {.op = Opcode::kStatx, .name = "STATX", .fixed_in = sizeof(abi::StatxIn), .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::StatxOut)},
    {.op = Opcode::kCopyFileRange64, .name = "COPY_FILE_RANGE_64", .fixed_in = sizeof(abi::CopyFileRangeIn), .reply = ReplyKind::kFixed, .reply_size = sizeof(abi::CopyFileRangeOut), .flags = kMayBlock | kMutates},
    {.op = Opcode::kCompound, .name = "COMPOUND", .tail = Tail::kData, .reply = ReplyKind::kData, .flags = kAlone},
    {.op = Opcode::kLookupHandle, .name = "LOOKUP_HANDLE", .text = Text::kLookupName, .reply = ReplyKind::kFixedData, .reply_size = sizeof(abi::Entry2Out), .flags = kMakesEntry | kGivesHandle},
    {.op = Opcode::kMkobjHandle, .name = "MKOBJ_HANDLE", .fixed_in = sizeof(abi::CreateIn), .text = Text::kName, .reply = ReplyKind::kFixedData, .reply_size = sizeof(abi::Entry2Out), .flags = kMutates | kMakesEntry | kGivesHandle},
    {.op = Opcode::kCuseInit, .name = "CUSE_INIT", .fixed_in = sizeof(abi::CuseInitIn), .reply = ReplyKind::kFixedData, .reply_size = sizeof(abi::CuseInitOut), .flags = kDevOnly},
});
// clang-format on

// A request's first argument must fit the ring entry's op_in.
static_assert([] {
  for (const OpRow& row : kOpTable) {
    if (row.fixed_in > 128) return false;
  }
  return true;
}());

inline constexpr size_t kOpRows = kOpTable.size();

// Index of an opcode's row, dense, for per-op arrays; kOpRows if unknown.
constexpr size_t RowIndex(uint32_t opcode) {
  // Opcode -> row + 1, built once; CUSE apart.
  constexpr auto kIndex = [] {
    std::array<uint8_t, 57> index{};
    for (size_t i = 0; i < kOpRows; ++i) {
      auto op = static_cast<uint32_t>(kOpTable[i].op);
      if (op < index.size()) index[op] = static_cast<uint8_t>(i + 1);
    }
    return index;
  }();
  if (opcode < kIndex.size()) {
    return kIndex[opcode] == 0 ? kOpRows : kIndex[opcode] - 1u;
  }
  if (opcode == static_cast<uint32_t>(Opcode::kCuseInit)) return kOpRows - 1;
  return kOpRows;
}

constexpr const OpRow* FindRow(uint32_t opcode) {
  size_t i = RowIndex(opcode);
  return i < kOpRows ? &kOpTable[i] : nullptr;
}

constexpr const OpRow& RowOf(Opcode op) {
  return kOpTable[RowIndex(static_cast<uint32_t>(op))];
}

// The struct behind the in header of each opcode; NoFixed where there is none.
struct NoFixed {};
namespace internal {
template <Opcode>
struct FixedOf {
  using Type = NoFixed;
};
#define HANDLEFS_FIXED(op, type) \
  template <>                    \
  struct FixedOf<Opcode::op> {   \
    using Type = abi::type;      \
  };
HANDLEFS_FIXED(kForget, ForgetIn)
HANDLEFS_FIXED(kGetattr, GetattrIn)
HANDLEFS_FIXED(kSetattr, SetattrIn)
HANDLEFS_FIXED(kMknod, MknodIn)
HANDLEFS_FIXED(kMkdir, MkdirIn)
HANDLEFS_FIXED(kRename, RenameIn)
HANDLEFS_FIXED(kLink, LinkIn)
HANDLEFS_FIXED(kOpen, OpenIn)
HANDLEFS_FIXED(kRead, ReadIn)
HANDLEFS_FIXED(kWrite, WriteIn)
HANDLEFS_FIXED(kRelease, ReleaseIn)
HANDLEFS_FIXED(kFsync, FsyncIn)
HANDLEFS_FIXED(kSetxattr, SetxattrIn)
HANDLEFS_FIXED(kGetxattr, GetxattrIn)
HANDLEFS_FIXED(kListxattr, GetxattrIn)
HANDLEFS_FIXED(kFlush, FlushIn)
HANDLEFS_FIXED(kInit, InitIn)
HANDLEFS_FIXED(kOpendir, OpenIn)
HANDLEFS_FIXED(kReaddir, ReadIn)
HANDLEFS_FIXED(kReleasedir, ReleaseIn)
HANDLEFS_FIXED(kFsyncdir, FsyncIn)
HANDLEFS_FIXED(kGetlk, LkIn)
HANDLEFS_FIXED(kSetlk, LkIn)
HANDLEFS_FIXED(kSetlkw, LkIn)
HANDLEFS_FIXED(kAccess, AccessIn)
HANDLEFS_FIXED(kCreate, CreateIn)
HANDLEFS_FIXED(kInterrupt, InterruptIn)
HANDLEFS_FIXED(kBmap, BmapIn)
HANDLEFS_FIXED(kIoctl, IoctlIn)
HANDLEFS_FIXED(kPoll, PollIn)
HANDLEFS_FIXED(kNotifyReply, NotifyRetrieveIn)
HANDLEFS_FIXED(kBatchForget, BatchForgetIn)
HANDLEFS_FIXED(kFallocate, FallocateIn)
HANDLEFS_FIXED(kReaddirplus, ReadIn)
HANDLEFS_FIXED(kRename2, Rename2In)
HANDLEFS_FIXED(kLseek, LseekIn)
HANDLEFS_FIXED(kCopyFileRange, CopyFileRangeIn)
HANDLEFS_FIXED(kSetupmapping, SetupmappingIn)
HANDLEFS_FIXED(kRemovemapping, RemovemappingIn)
HANDLEFS_FIXED(kSyncfs, SyncfsIn)
HANDLEFS_FIXED(kTmpfile, CreateIn)
HANDLEFS_FIXED(kStatx, StatxIn)
HANDLEFS_FIXED(kCopyFileRange64, CopyFileRangeIn)
HANDLEFS_FIXED(kMkobjHandle, CreateIn)
HANDLEFS_FIXED(kCuseInit, CuseInitIn)
#undef HANDLEFS_FIXED
}  // namespace internal

template <Opcode kOp>
using Fixed = typename internal::FixedOf<kOp>::Type;

template <Opcode kOp>
inline constexpr size_t kFixedSize = std::is_same_v<Fixed<kOp>, NoFixed>
                                         ? 0
                                         : sizeof(Fixed<kOp>);

}  // namespace handlefs::proto

#endif  // HANDLEFS_PROTO_OPCODE_H_

// The numbers of the protocol that are not layouts: INIT bits, flags inside
// requests and replies, notification codes, ioctls on /dev/fuse.
#ifndef HANDLEFS_PROTO_FLAGS_H_
#define HANDLEFS_PROTO_FLAGS_H_

#include <cstdint>
#include <string_view>

namespace handlefs::proto {

inline constexpr uint32_t kMajor = 7;
inline constexpr uint32_t kMinor = 46;
// STATX, SETXATTR_EXT, KILLPRIV_V2 and 64-byte INITs are all older than this;
// nothing below is served (7.36 is Linux 5.16).
inline constexpr uint32_t kOldestMinor = 36;

// INIT capabilities, as one 64-bit set: bits 0..31 travel in `flags`, 32..63 in
// `flags2`, which counts only where INIT_EXT is set.
namespace init {
enum Bit : uint8_t {
  kAsyncRead = 0,
  kPosixLocks = 1,
  kFileOps = 2,
  kAtomicOTrunc = 3,
  kExportSupport = 4,
  kBigWrites = 5,
  kDontMask = 6,
  kSpliceWrite = 7,
  kSpliceMove = 8,
  kSpliceRead = 9,
  kFlockLocks = 10,
  kHasIoctlDir = 11,
  kAutoInvalData = 12,
  kDoReaddirplus = 13,
  kReaddirplusAuto = 14,
  kAsyncDio = 15,
  kWritebackCache = 16,
  kNoOpenSupport = 17,
  kParallelDirops = 18,
  kHandleKillpriv = 19,
  kPosixAcl = 20,
  kAbortError = 21,
  kMaxPages = 22,
  kCacheSymlinks = 23,
  kNoOpendirSupport = 24,
  kExplicitInvalData = 25,
  kMapAlignment = 26,
  kSubmounts = 27,
  kHandleKillprivV2 = 28,
  kSetxattrExt = 29,
  kInitExt = 30,
  kInitReserved = 31,
  kSecurityCtx = 32,
  kHasInodeDax = 33,
  kCreateSuppGroup = 34,
  kHasExpireOnly = 35,
  kDirectIoAllowMmap = 36,
  kPassthrough = 37,
  kNoExportSupport = 38,
  kHasResend = 39,
  kAllowIdmap = 40,
  kOverIoUring = 41,
  kRequestTimeout = 42,
  // 7.46 calls this HAS_IO_URING_BUFPOOL; the RFC of LOOKUP_HANDLE means
  // HAS_LOOKUP_HANDLE by it. Never answered under the mainline dialect.
  kBit43 = 43,
};
std::string_view Name(Bit bit);  // "ASYNC_READ"; "" for an unnamed bit
}  // namespace init

class InitFlags {
 public:
  constexpr InitFlags() = default;
  // As they stand in an INIT request or reply.
  static constexpr InitFlags FromWire(uint32_t flags, uint32_t flags2) {
    InitFlags f;
    f.bits_ = flags;
    if (f.Has(init::kInitExt)) f.bits_ |= uint64_t{flags2} << 32;
    return f;
  }
  constexpr bool Has(init::Bit bit) const { return bits_ >> bit & 1; }
  constexpr InitFlags& Add(init::Bit bit) {
    bits_ |= uint64_t{1} << bit;
    return *this;
  }
  constexpr InitFlags& Remove(init::Bit bit) {
    bits_ &= ~(uint64_t{1} << bit);
    return *this;
  }
  constexpr uint32_t low() const { return static_cast<uint32_t>(bits_); }
  constexpr uint32_t high() const { return static_cast<uint32_t>(bits_ >> 32); }
  constexpr uint64_t bits() const { return bits_; }
  friend constexpr bool operator==(InitFlags, InitFlags) = default;

 private:
  uint64_t bits_ = 0;
};

// fuse_setattr_in.valid
namespace fattr {
inline constexpr uint32_t kMode = 1u << 0, kUid = 1u << 1, kGid = 1u << 2,
                          kSize = 1u << 3, kAtime = 1u << 4, kMtime = 1u << 5,
                          kFh = 1u << 6, kAtimeNow = 1u << 7,
                          kMtimeNow = 1u << 8, kLockOwner = 1u << 9,
                          kCtime = 1u << 10, kKillSuidgid = 1u << 11;
}
// fuse_open_out.open_flags
namespace fopen {
inline constexpr uint32_t kDirectIo = 1u << 0, kKeepCache = 1u << 1,
                          kNonseekable = 1u << 2, kCacheDir = 1u << 3,
                          kStream = 1u << 4, kNoflush = 1u << 5,
                          kParallelDirectWrites = 1u << 6,
                          kPassthrough = 1u << 7;
}
inline constexpr uint32_t kOpenKillSuidgid = 1u << 0;  // open_in, create_in
inline constexpr uint32_t kGetattrFh = 1u << 0;
inline constexpr uint32_t kReleaseFlush = 1u << 0;
inline constexpr uint32_t kReleaseFlockUnlock = 1u << 1;
inline constexpr uint32_t kReadLockowner = 1u << 1;
inline constexpr uint32_t kWriteCache = 1u << 0;
inline constexpr uint32_t kWriteLockowner = 1u << 1;
inline constexpr uint32_t kWriteKillSuidgid = 1u << 2;
inline constexpr uint32_t kLkFlock = 1u << 0;
inline constexpr uint32_t kFsyncFdatasync = 1u << 0;
inline constexpr uint32_t kSetxattrAclKillSgid = 1u << 0;
inline constexpr uint32_t kAttrSubmount = 1u << 0;
inline constexpr uint32_t kIoctlCompat = 1u << 0;
inline constexpr uint32_t kIoctlUnrestricted = 1u << 1;
inline constexpr uint32_t kIoctlDir = 1u << 4;
inline constexpr uint32_t kExpireOnly = 1u << 0;

// Extension records. 0..31 is a security context block: the type is its count.
inline constexpr uint32_t kExtMaxSecctx = 31;
inline constexpr uint32_t kExtGroups = 32;
inline constexpr uint32_t kExtHandle = 33;

enum class NotifyCode : int32_t {
  kPoll = 1,
  kInvalInode = 2,
  kInvalEntry = 3,
  kStore = 4,
  kRetrieve = 5,
  kDelete = 6,
  kResend = 7,
  kIncEpoch = 8,
  kPrune = 9,
};

// ioctls on /dev/fuse (magic 229).
inline constexpr unsigned long kIocClone = 0x8004e500;
inline constexpr unsigned long kIocBackingOpen = 0x4010e501;
inline constexpr unsigned long kIocBackingClose = 0x4004e502;
inline constexpr unsigned long kIocSyncInit = 0x0000e503;

// Commands of FUSE-over-io_uring, in the SQE's cmd_op.
inline constexpr uint32_t kUringRegister = 1;
inline constexpr uint32_t kUringCommitAndFetch = 2;

// The kernel refuses a read buffer smaller than max(8192, headers + max_write).
inline constexpr uint32_t kMinReadBuffer = 8192;
// A link target, an xattr value or list never exceeds these on Linux.
inline constexpr uint32_t kMaxXattr = 65536;
inline constexpr uint32_t kNameMax = 255;

}  // namespace handlefs::proto

#endif  // HANDLEFS_PROTO_FLAGS_H_

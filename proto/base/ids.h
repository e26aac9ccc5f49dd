// The numbers by which the kernel and the server name things. They are types,
// so that a nodeid cannot be passed where an fh is wanted.
#ifndef HANDLEFS_PROTO_BASE_IDS_H_
#define HANDLEFS_PROTO_BASE_IDS_H_

#include <cstdint>

namespace handlefs {

// A file as the kernel names it in every request header. Made by the server in
// a reply that carries an entry; dies with the FORGET that takes its last
// lookup. 0 is no node (a negative entry), 1 is the root.
enum class NodeId : uint64_t {};
inline constexpr NodeId kNoNode{0};
inline constexpr NodeId kRootNode{1};

// An open file. Made by OPEN, OPENDIR, CREATE, TMPFILE; dies with RELEASE.
enum class Fh : uint64_t {};
// What the kernel says for a directory that it does not open.
inline constexpr Fh kNoFh{0};

// One request. Made by the kernel, even, in steps of two; bit 63 marks one that
// is sent again after NOTIFY_RESEND. The reply carries it back unchanged.
enum class Unique : uint64_t {};
inline constexpr uint64_t kUniqueResend = uint64_t{1} << 63;
// INTERRUPT's own number is its target's with this bit.
inline constexpr uint64_t kUniqueInterrupt = 1;

// Who holds a lock: the kernel's hash of a process's file table (POSIX locks)
// or of an open file (flock and open-file-description locks).
enum class LockOwner : uint64_t {};

// A host file registered with the kernel for passthrough. Made by
// FUSE_DEV_IOC_BACKING_OPEN on a connection and belongs to that connection.
enum class BackingId : int32_t {};
inline constexpr BackingId kNoBacking{0};

constexpr uint64_t Raw(NodeId id) { return static_cast<uint64_t>(id); }
constexpr uint64_t Raw(Fh fh) { return static_cast<uint64_t>(fh); }
constexpr uint64_t Raw(Unique unique) { return static_cast<uint64_t>(unique); }
constexpr uint64_t Raw(LockOwner o) { return static_cast<uint64_t>(o); }
constexpr int32_t Raw(BackingId id) { return static_cast<int32_t>(id); }

}  // namespace handlefs

#endif  // HANDLEFS_PROTO_BASE_IDS_H_

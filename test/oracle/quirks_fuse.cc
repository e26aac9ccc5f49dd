// What no server can give: limits of the FUSE client in Linux. Each row names
// the situation as narrowly as it can be told from the step and the object.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "quirks.h"

namespace oracle {

namespace {

constexpr uint32_t kCapability = 5;  // its place among the xattr names

constexpr char kAnyMount[] = "fuse";

// The client refuses the two modes before it asks the server.
bool IsCollapse(const Planned& planned) {
  return planned.op.kind == Kind::kFallocate &&
         (planned.op.flags & (8 | 32)) != 0;
}

// The mount shows none of the bits, whatever the server says.
bool HasNoAttributes(const Seen&, const DiffRow& row) {
  return row.tag == Tag::kAttrs && row.right == "0x0";
}

// A holder is a pid in the protocol, which has no word for "an open file". The
// client shows -1 for every holder when F_OFD_GETLK asks, and for none else.
bool IsHolder(const Seen& seen, const DiffRow& row) {
  if (row.tag != Tag::kLockInfo || seen.op == nullptr) return false;
  const std::string kOf = " of ", kFile = " of an open file";
  const size_t l = row.left.find(kOf), r = row.right.find(kOf);
  if (l == std::string::npos || r == std::string::npos ||
      row.left.substr(0, l) != row.right.substr(0, r)) {
    return false;
  }
  const bool ofd = (seen.op->flags & 3) == 2;
  return ofd ? row.right.substr(r) == kFile : row.left.substr(l) == kFile;
}

// The client checks mode bits and types, and does not know of inode flags.
bool IsPinnedAccess(const Seen& seen, const DiffRow& row) {
  return row.tag == Tag::kRet && (seen.any_past & kIsPinned) != 0 &&
         row.left == "EPERM" &&
         (row.right == "EACCES" || row.right == "EISDIR" ||
          row.right == "ENOTDIR");
}

// Largest offsets are those of the client, not of the host.
bool IsBehindLimit(const Planned& planned) {
  const Op& op = planned.op;
  if (op.off <= (1LL << 40)) return false;
  return (op.kind == Kind::kLseek && op.flags % 5 <= SEEK_END) ||
         op.kind == Kind::kSendfile;
}

// A read which the server heard nothing of.
bool IsAtime(const DiffRow& row) {
  return (row.tag == Tag::kMoveA && row.left == "moved" &&
          row.right == "unchanged") ||
         (row.tag == Tag::kAtime && row.left == "recent");
}

// Reads and mappings served by the page cache of the mount.
bool IsLateAtime(const Seen& seen, const DiffRow& row) {
  return seen.cached && (seen.past & kWasRead) != 0 && IsAtime(row);
}

// Which pages of an unwritten extent were read ahead differs.
bool IsReadHole(const Seen& seen, const DiffRow& row) {
  return row.tag == Tag::kSeekHole && seen.cached &&
         (seen.past & kWasRead) != 0;
}

// A store through a mapping of tmpfs leaves the times alone. The mount sends it
// as a write, which moves them, and makes the next read move atime.
bool IsMappedStore(const Seen& seen, const DiffRow& row) {
  if (!seen.cached || (seen.past & kWasMapped) == 0) return false;
  if (row.tag == Tag::kMoveM || row.tag == Tag::kMoveC ||
      row.tag == Tag::kMoveA) {
    return row.left == "unchanged" && row.right == "moved";
  }
  return row.tag == Tag::kMtime && row.right == "recent";
}

// The kernel opens a backing file of its own with the client's flags, which
// keeps them. A flag set later goes along with each write.
bool StopsAppending(const Planned& planned) {
  return planned.op.kind == Kind::kSetfl &&
         (planned.open_flags & ~planned.op.flags & O_APPEND) != 0;
}

// The flag of the open is the one which counts on the host.
bool ChangesNoatime(const Planned& planned) {
  return planned.op.kind == Kind::kSetfl &&
         ((planned.open_flags ^ planned.op.flags) & O_NOATIME) != 0;
}

// At the end of a directory of btrfs, read(2) stumbles over the position first.
// The position of a mount is that of the last entry.
bool IsDirEnd(const Seen& seen, const DiffRow& row) {
  return seen.op != nullptr && seen.op->kind >= Kind::kRead &&
         seen.op->kind <= Kind::kReadv && row.tag == Tag::kRet &&
         row.left == "EINVAL" && row.right == "EISDIR";
}

// The server's write takes file capabilities away, which a store does not.
bool IsMappedCapability(const Seen& seen, const DiffRow& row) {
  if (!seen.cached || (seen.past & kWasMapped) == 0) return false;
  if (row.tag == Tag::kXattr || row.tag == Tag::kXattrs) {
    return (row.left + row.right).find(XattrName(kCapability)) !=
           std::string::npos;
  }
  if (seen.op == nullptr) return false;
  const Kind kind = seen.op->kind;
  return kind == Kind::kListxattr ||
         (kind >= Kind::kSetxattr && kind <= Kind::kRmxattr &&
          seen.op->mode == kCapability);
}

// overlayfs judges the buffer by names which it then hides from users.
bool IsListSize(const Planned& planned) {
  return planned.op.kind == Kind::kListxattr && planned.op.ident != 0 &&
         planned.op.n < 1000;
}

bool IsLinkAtime(const Seen& seen, const DiffRow& row) {
  return S_ISLNK(seen.mode) && IsAtime(row);
}
bool IsDirAtime(const Seen& seen, const DiffRow& row) {
  return S_ISDIR(seen.mode) && IsAtime(row);
}

// Before it asks the server, the client has a user's call take the set-id bits
// away; tmpfs then refuses.
bool IsVainFallocate(const Planned& planned) {
  return planned.op.kind == Kind::kFallocate && (planned.op.flags & 16) != 0 &&
         planned.op.ident != 0;
}

const Quirk kTable[] = {
    {.name = "collapse",
     .group = kAnyMount,
     .drop = IsCollapse,
     .reason = "fallocate with COLLAPSE_RANGE or INSERT_RANGE is refused"},
    {.name = "statx-bits",
     .group = kAnyMount,
     .excuse = HasNoAttributes,
     .reason = "stx_attributes is empty (lsattr works)"},
    {.name = "lock-holder",
     .group = kAnyMount,
     .excuse = IsHolder,
     .reason = "F_GETLK names a pid where the holder is an open file, and "
               "F_OFD_GETLK an open file where it is a process"},
    {.name = "pinned-access",
     .group = kAnyMount,
     .excuse = IsPinnedAccess,
     .reason = "EACCES, EISDIR or ENOTDIR instead of EPERM for an immutable "
               "or append-only inode that would be refused for these as well"},
    {.name = "largest-offset",
     .group = kAnyMount,
     .drop = IsBehindLimit,
     .only_fs = "ext4 xfs overlay",
     .reason = "lseek and sendfile take offsets beyond the largest file of the "
               "host"},
    {.name = "setfl-noatime",
     .group = kAnyMount,
     .drop = ChangesNoatime,
     .reason = "F_SETFL does not change O_NOATIME for reads on the host"},
    {.name = "dir-end",
     .group = kAnyMount,
     .excuse = IsDirEnd,
     .only_fs = "btrfs",
     .reason = "read(2) at the end of a directory is EISDIR, not EINVAL"},
    {.name = "vain-fallocate",
     .group = kAnyMount,
     .drop = IsVainFallocate,
     .only_fs = "tmpfs",
     .reason =
         "a user's fallocate of a mode which the host does not know takes "
         "the set-id bits away"},
    {.name = "list-size",
     .group = kAnyMount,
     .drop = IsListSize,
     .only_fs = "overlay",
     .reason = "the size of a list of xattr names does not count the names "
               "which are hidden from users"},
    {.name = "cached-atime",
     .group = kAnyMount,
     .excuse = IsLateAtime,
     .reason = "reads from the mount's page cache do not move atime: of set-id "
               "files, without passthrough of all"},
    {.name = "cached-holes",
     .group = kAnyMount,
     .excuse = IsReadHole,
     .reason = "SEEK_DATA and SEEK_HOLE where preallocated space was read: of "
               "the same files"},
    {.name = "mapped-times",
     .group = kAnyMount,
     .excuse = IsMappedStore,
     .only_fs = "tmpfs",
     .reason = "mmap stores move mtime and ctime: of the same files"},
    {.name = "mapped-caps",
     .group = kAnyMount,
     .excuse = IsMappedCapability,
     .reason = "mmap stores remove security.capability: of the same files"},
    {.name = "setfl-append",
     .group = "passthrough=on",
     .drop = StopsAppending,
     .reason = "F_SETFL does not take O_APPEND away from a file opened with "
               "it"},
    {.name = "cached",
     .group = "passthrough=off",
     .cached = true,
     .reason = "there is no passthrough: what the rows above say of set-id "
               "files holds for every file"},
    {.name = "link-atime",
     .group = "cache=auto cache=always",
     .excuse = IsLinkAtime,
     .reason = "the kernel keeps the targets of symbolic links: following one "
               "does not move its atime"},
    {.name = "dir-atime",
     .group = "cache=always",
     .excuse = IsDirAtime,
     .reason = "listings from the mount's cache do not move atime of the "
               "directory"},
};

}  // namespace

std::span<const Quirk> FuseQuirks() { return kTable; }

}  // namespace oracle

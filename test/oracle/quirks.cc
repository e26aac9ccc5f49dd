#include "quirks.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>

#include <cstdio>
#include <cstring>

#include "result.h"

namespace oracle {

namespace {

constexpr uint64_t Bit(Tag t) { return 1ULL << static_cast<int>(t); }

bool IsCollapse(const Op& op) {
  return op.kind == Kind::kFallocate && (op.flags & (8 | 32)) != 0;
}
bool IsWhiteout(const Op& op) {
  return op.kind == Kind::kRename && (op.flags & 4) != 0;
}
bool IsRenameFlag(const Op& op) {
  return op.kind == Kind::kRename && op.flags != 0;
}
bool IsTmpfile(const Op& op) {
  return op.kind == Kind::kOpen && (op.flags & O_TMPFILE) == O_TMPFILE;
}
bool IsDirect(const Op& op) {
  return op.kind == Kind::kOpen && (op.flags & O_DIRECT) != 0;
}
bool IsIflags(const Op& op) {
  return op.kind == Kind::kGetflags || op.kind == Kind::kSetflags ||
         op.kind == Kind::kFsgetxattr;
}
bool IsAcl(const Op& op) {
  return (op.kind == Kind::kSetxattr || op.kind == Kind::kGetxattr ||
          op.kind == Kind::kRmxattr) &&
         XattrName(op.mode).rfind("system.", 0) == 0;
}
bool IsMmap(const Op& op) { return op.kind == Kind::kMmap; }
bool IsDevice(const Op& op) {
  return op.kind == Kind::kMknod &&
         ((op.mode & 0170000) == 0020000 || (op.mode & 0170000) == 0060000);
}
bool IsHuge(const Op& op) { return op.off > (1LL << 40); }
bool IsFallocate(const Op& op) { return op.kind == Kind::kFallocate; }
bool IsLocks(const Op& op) {
  return op.kind == Kind::kLock || op.kind == Kind::kFlock;
}

const Quirk kTable[] = {
    {"blocks", Bit(Tag::kBlocks), nullptr, "ext4 xfs btrfs",
     "delayed allocation decides st_blocks at writeback"},
    {"seekhole", Bit(Tag::kSeekHole), nullptr, nullptr,
     "what counts as a hole depends on which pages are cached"},
    {"dirsize", Bit(Tag::kDirSize), nullptr, nullptr,
     "st_size of a directory is private to the file system"},
    {"atime", Bit(Tag::kAtime) | Bit(Tag::kMoveA), nullptr, nullptr,
     "reads served by a page cache above the host do not move its atime"},
    {"ctime", Bit(Tag::kMoveC) | Bit(Tag::kCtime), nullptr, nullptr,
     "a writeback cache sends time stamps later"},
    {"mtime", Bit(Tag::kMoveM) | Bit(Tag::kMtime), nullptr, nullptr,
     "a writeback cache sends time stamps later"},
    {"btime", Bit(Tag::kBtime) | Bit(Tag::kMoveB), nullptr, nullptr,
     "FUSE before protocol 7.39 has no birth time"},
    {"attrs", Bit(Tag::kAttrs), nullptr, nullptr,
     "the FUSE client of the kernel drops the statx attribute bits"},
    {"blksize", Bit(Tag::kBlksize), nullptr, nullptr,
     "st_blksize may be the transfer size of the server"},
    {"dino", Bit(Tag::kDino), nullptr, nullptr,
     "d_ino of a plain readdir may be a number of the server"},
    {"ino", Bit(Tag::kIno) | Bit(Tag::kSame), nullptr, nullptr,
     "inode numbers made up by the server"},
    {"statfs", Bit(Tag::kStatfs), nullptr, nullptr,
     "statfs values of a server's own making"},
    {"pos", Bit(Tag::kPos), nullptr, nullptr,
     "file position after a failed or short call"},
    {"nlink", Bit(Tag::kNlink), nullptr, nullptr,
     "cached link counts may be stale while a name is removed"},
    {"no-collapse", 0, IsCollapse, nullptr,
     "the FUSE client of the kernel refuses COLLAPSE and INSERT_RANGE"},
    {"no-whiteout", 0, IsWhiteout, nullptr,
     "RENAME_WHITEOUT is refused by older FUSE clients"},
    {"no-rename2", 0, IsRenameFlag, nullptr, "servers without rename2 flags"},
    {"no-tmpfile", 0, IsTmpfile, nullptr, "O_TMPFILE needs FUSE protocol 7.37"},
    {"no-direct", 0, IsDirect, "btrfs",
     "servers without O_DIRECT; on btrfs a direct read moves atime only when "
     "it falls back to the page cache, which depends on writeback"},
    {"no-iflags", Bit(Tag::kFlags), IsIflags, nullptr,
     "servers without the inode flag ioctls"},
    {"no-acl", 0, IsAcl, nullptr, "servers without POSIX ACLs"},
    {"no-mmap", 0, IsMmap, nullptr,
     "shared mappings are refused on direct I/O files"},
    {"no-devices", 0, IsDevice, nullptr,
     "device nodes cannot be opened on a nodev mount"},
    {"no-huge", 0, IsHuge, nullptr,
     "the largest file offset differs between file systems"},
    {"no-fallocate", 0, IsFallocate, nullptr, "servers without fallocate"},
    {"no-locks", 0, IsLocks, nullptr, "locks are local to the client"},
};
constexpr int kRows = sizeof(kTable) / sizeof(kTable[0]);

}  // namespace

bool Quirks::Add(const std::string& name) {
  for (int i = 0; i < kRows; i++) {
    if (name != kTable[i].name) continue;
    on_ |= 1ULL << i;
    ignore_ |= kTable[i].ignore;
    return true;
  }
  return false;
}

void Quirks::AddForHost(const std::string& dir) {
  struct statfs st;
  if (statfs(dir.c_str(), &st) != 0) return;
  const char* fs = "other";
  if (st.f_type == EXT4_SUPER_MAGIC) fs = "ext4";
  if (st.f_type == XFS_SUPER_MAGIC) fs = "xfs";
  if (st.f_type == TMPFS_MAGIC) fs = "tmpfs";
  if (st.f_type == static_cast<decltype(st.f_type)>(BTRFS_SUPER_MAGIC)) {
    fs = "btrfs";
  }
  for (const Quirk& q : kTable) {
    if (q.on_fs != nullptr && strstr(q.on_fs, fs) != nullptr) Add(q.name);
  }
}

bool Quirks::Drops(const Op& op) const {
  for (int i = 0; i < kRows; i++) {
    if (((on_ >> i) & 1) && kTable[i].drop != nullptr && kTable[i].drop(op)) {
      return true;
    }
  }
  return false;
}

void Quirks::PrintTable() {
  for (const Quirk& q : kTable) {
    printf("  %-13s %s%s%s%s\n", q.name, q.reason,
           q.on_fs != nullptr ? " (always on: " : "",
           q.on_fs != nullptr ? q.on_fs : "", q.on_fs != nullptr ? ")" : "");
  }
}

}  // namespace oracle

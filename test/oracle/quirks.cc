#include "quirks.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <span>

#include "memory.h"

namespace oracle {

namespace {

constexpr uint64_t Bit(Tag t) { return 1ULL << static_cast<int>(t); }

bool IsCollapse(const Planned& planned) {
  return planned.op.kind == Kind::kFallocate &&
         (planned.op.flags & (8 | 32)) != 0;
}
bool IsWhiteout(const Planned& planned) {
  return planned.op.kind == Kind::kRename && (planned.op.flags & 4) != 0;
}
bool IsRenameFlag(const Planned& planned) {
  return planned.op.kind == Kind::kRename && planned.op.flags != 0;
}
bool IsTmpfile(const Planned& planned) {
  return planned.op.kind == Kind::kOpen &&
         (planned.op.flags & O_TMPFILE) == O_TMPFILE;
}
bool IsDirect(const Planned& planned) {
  return planned.op.kind == Kind::kOpen && (planned.op.flags & O_DIRECT) != 0;
}
bool IsIflags(const Planned& planned) {
  return planned.op.kind == Kind::kGetflags ||
         planned.op.kind == Kind::kSetflags ||
         planned.op.kind == Kind::kFsgetxattr;
}
bool IsAcl(const Planned& planned) {
  return (planned.op.kind == Kind::kSetxattr ||
          planned.op.kind == Kind::kGetxattr ||
          planned.op.kind == Kind::kRmxattr) &&
         XattrName(planned.op.mode).rfind("system.", 0) == 0;
}
bool IsMmap(const Planned& planned) { return planned.op.kind == Kind::kMmap; }
bool IsDevice(const Planned& planned) {
  return planned.op.kind == Kind::kMknod &&
         ((planned.op.mode & 0170000) == 0020000 ||
          (planned.op.mode & 0170000) == 0060000);
}
bool IsHuge(const Planned& planned) { return planned.op.off > (1LL << 40); }
bool IsFallocate(const Planned& planned) {
  return planned.op.kind == Kind::kFallocate;
}
bool IsLocks(const Planned& planned) {
  return planned.op.kind == Kind::kLock || planned.op.kind == Kind::kFlock;
}

// tmpfs allocates the pages of a hole which a mapping reads, and may drop them
// at any time.
bool IsMappedHole(const Seen& seen, const DiffRow& row) {
  return (row.tag == Tag::kBlocks || row.tag == Tag::kSeekHole) &&
         (seen.past & kWasMapped) != 0;
}

bool IsTrustedName(const Seen& seen, const DiffRow& row) {
  if (seen.op == nullptr || seen.op->ident == 0) return false;
  if (row.tag == Tag::kXattrs || row.tag == Tag::kXattr) {
    return row.left.find("trusted.") != std::string::npos &&
           row.right.find("trusted.") == std::string::npos;
  }
  return row.tag == Tag::kRet && seen.op->kind == Kind::kListxattr;
}

const Quirk kTable[] = {
    {.name = "blocks",
     .ignore = Bit(Tag::kBlocks),
     .on_fs = "ext4 xfs btrfs overlay",
     .reason = "delayed allocation decides st_blocks at writeback"},
    {.name = "mapped-holes",
     .excuse = IsMappedHole,
     .on_fs = "tmpfs",
     .reason = "a page of a hole which a mapping reads is allocated, until the "
               "memory is wanted"},
    {.name = "seekhole",
     .ignore = Bit(Tag::kSeekHole),
     .reason = "what counts as a hole depends on which pages are cached"},
    {.name = "trusted-names",
     .excuse = IsTrustedName,
     .only_fs = "btrfs",
     .reason = "servers which hide the names of trusted.* xattrs from users; "
               "of all host file systems only btrfs shows them"},
    {.name = "dirsize",
     .ignore = Bit(Tag::kDirSize),
     .reason = "st_size of a directory is private to the file system"},
    {.name = "atime",
     .ignore = Bit(Tag::kAtime) | Bit(Tag::kMoveA),
     .reason =
         "reads served by a page cache above the host do not move its atime"},
    {.name = "ctime",
     .ignore = Bit(Tag::kMoveC) | Bit(Tag::kCtime),
     .reason = "a writeback cache sends time stamps later"},
    {.name = "mtime",
     .ignore = Bit(Tag::kMoveM) | Bit(Tag::kMtime),
     .reason = "a writeback cache sends time stamps later"},
    {.name = "btime",
     .ignore = Bit(Tag::kBtime) | Bit(Tag::kMoveB),
     .reason = "FUSE before protocol 7.39 has no birth time"},
    {.name = "attrs",
     .ignore = Bit(Tag::kAttrs),
     .reason = "the FUSE client of the kernel drops the statx attribute bits"},
    {.name = "blksize",
     .ignore = Bit(Tag::kBlksize),
     .reason = "st_blksize may be the transfer size of the server"},
    {.name = "dino",
     .ignore = Bit(Tag::kDino),
     .reason = "d_ino of a plain readdir may be a number of the server"},
    {.name = "ino",
     .ignore = Bit(Tag::kIno) | Bit(Tag::kSame),
     .reason = "inode numbers made up by the server"},
    {.name = "statfs",
     .ignore = Bit(Tag::kStatfs),
     .reason = "statfs values of a server's own making"},
    {.name = "pos",
     .ignore = Bit(Tag::kPos),
     .reason = "file position after a failed or short call"},
    {.name = "nlink",
     .ignore = Bit(Tag::kNlink),
     .reason = "cached link counts may be stale while a name is removed"},
    {.name = "no-collapse",
     .drop = IsCollapse,
     .reason =
         "the FUSE client of the kernel refuses COLLAPSE and INSERT_RANGE"},
    {.name = "no-whiteout",
     .drop = IsWhiteout,
     .reason = "RENAME_WHITEOUT is refused by older FUSE clients"},
    {.name = "no-rename2",
     .drop = IsRenameFlag,
     .reason = "servers without rename2 flags"},
    {.name = "no-tmpfile",
     .drop = IsTmpfile,
     .reason = "O_TMPFILE needs FUSE protocol 7.37"},
    {.name = "no-direct",
     .drop = IsDirect,
     .on_fs = "btrfs",
     .reason = "servers without O_DIRECT; on btrfs a direct read moves atime "
               "only when "
               "it falls back to the page cache, which depends on writeback"},
    {.name = "no-iflags",
     .ignore = Bit(Tag::kFlags),
     .drop = IsIflags,
     .reason = "servers without the inode flag ioctls"},
    {.name = "no-acl", .drop = IsAcl, .reason = "servers without POSIX ACLs"},
    {.name = "no-mmap",
     .drop = IsMmap,
     .reason = "shared mappings are refused on direct I/O files"},
    {.name = "no-devices",
     .drop = IsDevice,
     .reason = "device nodes cannot be opened on a nodev mount"},
    {.name = "no-huge",
     .drop = IsHuge,
     .reason = "the largest file offset differs between file systems"},
    {.name = "no-fallocate",
     .drop = IsFallocate,
     .reason = "servers without fallocate"},
    {.name = "no-locks",
     .drop = IsLocks,
     .reason = "locks are local to the client"},
};

std::vector<Quirk> AllRows() {
  std::vector<Quirk> rows(std::begin(kTable), std::end(kTable));
  std::span<const Quirk> fuse = FuseQuirks();
  rows.insert(rows.end(), fuse.begin(), fuse.end());
  return rows;
}

// Fields are looked up in the left result, whose inode numbers are places in
// inos.
Known Find(const Result& left, const std::vector<uint64_t>& inos,
           const Memory& memory, const std::string& label) {
  for (const Field& f : left) {
    if (f.label != label || f.tag != Tag::kIno) continue;
    return memory.Inode(inos[static_cast<size_t>(f.num) - 1]);
  }
  return Known();
}

}  // namespace

bool Quirks::Add(const std::string& name) {
  // Some of the groups have no row, so that a caller may name them all.
  static const char* const kGroups[] = {"fuse",           "cache=none",
                                        "cache=auto",     "cache=always",
                                        "passthrough=on", "passthrough=off"};
  const bool group = std::find(std::begin(kGroups), std::end(kGroups), name) !=
                     std::end(kGroups);
  bool found = group;
  for (const Quirk& q : AllRows()) {
    const bool member =
        group && q.group != nullptr &&
        (" " + std::string(q.group) + " ").find(" " + name + " ") !=
            std::string::npos;
    if (name != q.name && !member) continue;
    found = true;
    if (q.only_fs != nullptr && strstr(q.only_fs, host_.c_str()) == nullptr) {
      continue;
    }
    ignore_ |= q.ignore;
    cached_ = cached_ || q.cached;
    on_.push_back(q);
  }
  return found;
}

void Quirks::AddForHost(const std::string& dir) {
  struct statfs st;
  if (statfs(dir.c_str(), &st) != 0) return;
  if (st.f_type == EXT4_SUPER_MAGIC) host_ = "ext4";
  if (st.f_type == OVERLAYFS_SUPER_MAGIC) host_ = "overlay";
  if (st.f_type == XFS_SUPER_MAGIC) host_ = "xfs";
  if (st.f_type == TMPFS_MAGIC) host_ = "tmpfs";
  if (st.f_type == static_cast<decltype(st.f_type)>(BTRFS_SUPER_MAGIC)) {
    host_ = "btrfs";
  }
  for (const Quirk& q : AllRows()) {
    if (q.on_fs != nullptr && strstr(q.on_fs, host_.c_str()) != nullptr)
      Add(q.name);
  }
}

bool Quirks::Drops(const Op& op, uint32_t open_flags) const {
  const Planned planned = {op, open_flags};
  return std::any_of(on_.begin(), on_.end(), [&](const Quirk& q) {
    return q.drop != nullptr && q.drop(planned);
  });
}

bool Quirks::NeedsPast() const {
  return std::any_of(on_.begin(), on_.end(),
                     [](const Quirk& q) { return q.excuse != nullptr; });
}

void Quirks::Excuse(const Op* op, const Result& left,
                    const std::vector<uint64_t>& inos, const Memory& memory,
                    std::vector<DiffRow>* rows) const {
  std::erase_if(*rows, [&](const DiffRow& row) {
    Known known = Find(left, inos, memory, row.label);
    if (known.mode == 0 && op != nullptr) known = memory.Object(row.label);
    const bool cached =
        S_ISREG(known.mode) && (cached_ || (known.past & kWasSetId) != 0);
    const Seen seen = {op, known.mode, known.past, memory.AnyObject(), cached};
    return std::any_of(on_.begin(), on_.end(), [&](const Quirk& q) {
      return q.excuse != nullptr && q.excuse(seen, row);
    });
  });
}

void Quirks::PrintTable() {
  const char* group = "";
  for (const Quirk& q : AllRows()) {
    if (q.group != nullptr && strcmp(q.group, group) != 0) {
      group = q.group;
      printf("%s:\n", group);
    }
    printf("  %-13s %s%s%s%s\n", q.name, q.reason,
           q.on_fs != nullptr ? " (always on: " : "",
           q.on_fs != nullptr ? q.on_fs : "", q.on_fs != nullptr ? ")" : "");
  }
}

}  // namespace oracle

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

template <bool (*kIs)(const Op&)>
bool Form(const Planned& planned) {
  return kIs(planned.op);
}

// tmpfs allocates the pages of a hole which a mapping reads, and may drop them
// at any time.
bool IsMappedHole(const Seen& seen, const DiffRow& row) {
  return (row.tag == Tag::kBlocks || row.tag == Tag::kSeekHole) &&
         (seen.past & kWasMapped) != 0;
}

const Quirk kTable[] = {
    {.name = "blocks",
     .ignore = Bit(Tag::kBlocks),
     .on_fs = "ext4 xfs btrfs",
     .reason = "delayed allocation decides st_blocks at writeback"},
    {.name = "mapped-holes",
     .excuse = IsMappedHole,
     .on_fs = "tmpfs",
     .reason = "a page of a hole which a mapping reads is allocated, until the "
               "memory is wanted"},
    {.name = "seekhole",
     .ignore = Bit(Tag::kSeekHole),
     .reason = "what counts as a hole depends on which pages are cached"},
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
     .drop = Form<IsCollapse>,
     .reason =
         "the FUSE client of the kernel refuses COLLAPSE and INSERT_RANGE"},
    {.name = "no-whiteout",
     .drop = Form<IsWhiteout>,
     .reason = "RENAME_WHITEOUT is refused by older FUSE clients"},
    {.name = "no-rename2",
     .drop = Form<IsRenameFlag>,
     .reason = "servers without rename2 flags"},
    {.name = "no-tmpfile",
     .drop = Form<IsTmpfile>,
     .reason = "O_TMPFILE needs FUSE protocol 7.37"},
    {.name = "no-direct",
     .drop = Form<IsDirect>,
     .on_fs = "btrfs",
     .reason = "servers without O_DIRECT; on btrfs a direct read moves atime "
               "only when "
               "it falls back to the page cache, which depends on writeback"},
    {.name = "no-iflags",
     .ignore = Bit(Tag::kFlags),
     .drop = Form<IsIflags>,
     .reason = "servers without the inode flag ioctls"},
    {.name = "no-acl",
     .drop = Form<IsAcl>,
     .reason = "servers without POSIX ACLs"},
    {.name = "no-mmap",
     .drop = Form<IsMmap>,
     .reason = "shared mappings are refused on direct I/O files"},
    {.name = "no-devices",
     .drop = Form<IsDevice>,
     .reason = "device nodes cannot be opened on a nodev mount"},
    {.name = "no-huge",
     .drop = Form<IsHuge>,
     .reason = "the largest file offset differs between file systems"},
    {.name = "no-fallocate",
     .drop = Form<IsFallocate>,
     .reason = "servers without fallocate"},
    {.name = "no-locks",
     .drop = Form<IsLocks>,
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
  bool found = false;
  for (const Quirk& q : AllRows()) {
    if (name != q.name && (q.group == nullptr || name != q.group)) continue;
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
  const Planned planned = {op, open_flags, cached_};
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
    const Known known = op != nullptr ? memory.Object(row.label)
                                      : Find(left, inos, memory, row.label);
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

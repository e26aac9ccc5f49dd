#include "handles/host_fs.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "handles/siphash.h"

namespace handlefs {
namespace {

constexpr int kTagShift = 40;
constexpr uint64_t kTagBits = (uint64_t{1} << 23) - 1;
// Subvolume ids below this are their own tag; above are hashes.
constexpr uint64_t kPlainTags = uint64_t{1} << 22;

// Not in <linux/magic.h> of Debian 12 under these names.
constexpr uint64_t kCifsMagic = 0xFF534D42;
constexpr uint64_t kSmb2Magic = 0xFE534D42;
constexpr uint64_t kCephMagic = 0x00C36400;

bool IsRemote(uint64_t magic) {
  return magic == NFS_SUPER_MAGIC || magic == SMB_SUPER_MAGIC ||
         magic == kCifsMagic || magic == kSmb2Magic || magic == kCephMagic ||
         magic == V9FS_MAGIC || magic == FUSE_SUPER_MAGIC ||
         magic == AFS_FS_MAGIC;
}

Result<struct statx> Look(BorrowedFd fd) {
  struct statx stx;
  if (statx(fd.get(), "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID,
            &stx) != 0) {
    return LastErrno();
  }
  return stx;
}

// Since Linux 6.6; before, they were places in the open directory's list.
bool TmpfsPositionsLast() {
  utsname name{};
  if (uname(&name) != 0) return false;
  const char* const end = name.release + std::strlen(name.release);
  int major = 0, minor = 0;
  auto [dot, error] = std::from_chars(name.release, end, major);
  if (error != std::errc() || dot == end || *dot != '.' ||
      std::from_chars(dot + 1, end, minor).ec != std::errc()) {
    return false;
  }
  return major > 6 || (major == 6 && minor >= 6);
}

}  // namespace

absl::StatusOr<std::unique_ptr<HostFsSet>> HostFsSet::Make(const Source& source,
                                                           Identity identity) {
  std::unique_ptr<HostFsSet> set(new HostFsSet);
  set->identity_ = identity;
  UniqueFd mount(fcntl(source.dir.get(), F_DUPFD_CLOEXEC, 0));
  auto fs = set->Inspect(std::move(mount), identity, &set->why_not_handles_);
  if (!fs.ok()) {
    return absl::ErrnoToStatus(
        fs.error().value(),
        absl::StrCat("cannot look at the file system of ", source.path));
  }
  if (identity == Identity::kHandle && !(*fs)->has_handles) {
    return absl::FailedPreconditionError(absl::StrCat(
        "identity=handle is not possible for ", source.path, ": ",
        set->why_not_handles_, "; use identity=fd or identity=auto"));
  }
  absl::MutexLock lock(&set->mutex_);
  (*fs)->tag = 0;
  set->main_ = fs->get();
  set->all_.push_back(std::move(*fs));
  return set;
}

Result<std::unique_ptr<HostFs>> HostFsSet::Inspect(UniqueFd mount,
                                                   Identity identity,
                                                   std::string* why) {
  auto fs = std::make_unique<HostFs>();
  struct statfs sfs;
  if (fstatfs(mount.get(), &sfs) != 0) return LastErrno();
  ASSIGN_OR_RETURN(struct statx stx, Look(mount));
  fs->dev = DevOf(stx);
  fs->magic = static_cast<uint64_t>(sfs.f_type) & 0xffffffff;
  // The id is the same after a reboot where the file system has a uuid.
  uint64_t id[2] = {fs->magic, 0};
  static_assert(sizeof(sfs.f_fsid) == sizeof(id[1]));
  std::memcpy(&id[1], &sfs.f_fsid, sizeof(id[1]));
  fs->tag =
      static_cast<uint32_t>(SipHash(HashKey{}, std::as_bytes(std::span(id))));
  fs->is_remote = IsRemote(fs->magic);
  fs->is_memory = fs->magic == TMPFS_MAGIC || fs->magic == RAMFS_MAGIC;
  fs->is_stacked = fs->magic == OVERLAYFS_SUPER_MAGIC ||
                   fs->magic == FUSE_SUPER_MAGIC ||
                   fs->magic == ECRYPTFS_SUPER_MAGIC;
  fs->dir_positions_last = fs->magic == EXT4_SUPER_MAGIC ||
                           fs->magic == XFS_SUPER_MAGIC ||
                           fs->magic == BTRFS_SUPER_MAGIC ||
                           (fs->magic == TMPFS_MAGIC && TmpfsPositionsLast());
  auto at = NameToHandle(mount, "");
  fs->mount_id = static_cast<int>(stx.stx_mnt_id);
  if (identity == Identity::kFd) {
    *why = "identity=fd was asked for";
  } else if (!at.ok()) {
    *why = absl::StrCat("the file system gives no file handles (",
                        std::strerror(at.error().value()), ")");
  } else if (auto opened = OpenByHandle(mount, at->handle, O_PATH);
             !opened.ok()) {
    *why = opened.error() == Errno(EPERM)
               ? "opening file handles needs CAP_DAC_READ_SEARCH in the "
                 "initial user namespace"
               : absl::StrCat("its file handles cannot be opened (",
                              std::strerror(opened.error().value()), ")");
  } else {
    // The same inode must come back, else the handles mean something else.
    ASSIGN_OR_RETURN(struct statx again, Look(*opened));
    fs->has_handles = again.stx_ino == stx.stx_ino && DevOf(again) == fs->dev;
    if (!fs->has_handles) *why = "its file handles open other files";
    fs->codec = Codec::Probe(at->handle, stx.stx_ino);
  }
  if (fs->has_handles) fs->mount = std::move(mount);
  return fs;
}

namespace {
// In the vault, with a descriptor of the top directory if it is one.
struct Record {
  uint32_t tag;
  int32_t mount_id;
  uint16_t index;
  uint16_t spare[3];
};
}  // namespace

void HostFsSet::TakeOver(Vault& vault) {
  vault_ = &vault;
  std::vector<Vault::Item> items = vault.Inherited(Vault::Kind::kFileSystem);
  auto index_of = [](const Vault::Item& item) {
    Record record;
    return Vault::Read(item, record) ? record.index : uint16_t{0};
  };
  std::sort(items.begin(), items.end(), [&](const auto& a, const auto& b) {
    return index_of(a) < index_of(b);
  });
  for (Vault::Item& item : items) {
    Record record;
    if (!Vault::Read(item, record)) continue;
    auto fs = std::make_unique<HostFs>();
    std::string why;
    if (item.fd) {
      UniqueFd top(fcntl(item.fd.get(), F_DUPFD_CLOEXEC, 0));
      auto inspected = Inspect(std::move(top), identity_, &why);
      if (inspected.ok()) fs = std::move(*inspected);
    }
    fs->kept = std::move(item.fd);
    fs->mount_id = record.mount_id;
    fs->tag = record.tag;
    absl::MutexLock lock(&mutex_);
    // Numbers go on where they were, whatever happened to those between.
    while (all_.size() < record.index) {
      all_.push_back(std::make_unique<HostFs>());
      all_.back()->index = static_cast<uint16_t>(all_.size() - 1);
      all_.back()->mount_id = -1;
    }
    if (all_.size() != record.index) continue;
    fs->index = record.index;
    all_.push_back(std::move(fs));
  }
}

const HostFs& HostFsSet::at(uint16_t index) const {
  if (index == 0) return *main_;
  absl::MutexLock lock(&mutex_);
  return *all_[index < all_.size() ? index : 0];
}

const HostFs* HostFsSet::Met(int mount_id) const {
  if (mount_id == main_->mount_id) return main_;
  absl::MutexLock lock(&mutex_);
  for (const auto& fs : all_) {
    if (fs->mount_id == mount_id) return fs.get();
  }
  return nullptr;
}

Result<const HostFs*> HostFsSet::Of(int mount_id, BorrowedFd dir,
                                    const char* name) {
  if (const HostFs* met = Met(mount_id)) return met;
  // A name that leads into another mount leads to its root; opening it as a
  // directory is safe, other mounted things go by descriptor.
  UniqueFd top(
      openat(dir.get(), name,
             O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_DIRECTORY | O_CLOEXEC));
  // What else fails (EMFILE) says nothing of the file system.
  if (!top && errno != ENOTDIR && errno != ELOOP) return LastErrno();
  std::unique_ptr<HostFs> fs;
  UniqueFd kept;
  if (top) {
    if (vault_ != nullptr) kept.reset(fcntl(top.get(), F_DUPFD_CLOEXEC, 0));
    ASSIGN_OR_RETURN(struct statx stx, Look(top));
    if (stx.stx_mnt_id != static_cast<uint64_t>(mount_id)) {
      return Errno(ESTALE);
    }
    std::string why;
    ASSIGN_OR_RETURN(fs, Inspect(std::move(top), identity_, &why));
  } else {
    fs = std::make_unique<HostFs>();
  }
  fs->mount_id = mount_id;
  absl::MutexLock lock(&mutex_);
  for (const auto& known : all_) {
    if (known->mount_id == mount_id) return known.get();
  }
  // Table entries number file systems with 16 bits.
  if (all_.size() >= 0xffff) return Errno(ENFILE);
  fs->index = static_cast<uint16_t>(all_.size());
  // One file system mounted twice: either mount opens its handles.
  while (ByTagLocked(fs->tag) != nullptr) ++fs->tag;
  if (vault_ != nullptr) {
    (void)vault_->PutStruct(Vault::Kind::kFileSystem,
                            Record{.tag = fs->tag,
                                   .mount_id = mount_id,
                                   .index = fs->index,
                                   .spare = {}},
                            kept);
    fs->kept = std::move(kept);
  }
  all_.push_back(std::move(fs));
  return all_.back().get();
}

const HostFs* HostFsSet::ByTagLocked(uint32_t tag) const {
  for (const auto& fs : all_) {
    if (fs->tag == tag) return fs.get();
  }
  return nullptr;
}

const HostFs* HostFsSet::ByTag(uint32_t tag) const {
  if (tag == 0) return main_;
  absl::MutexLock lock(&mutex_);
  return ByTagLocked(tag);
}

uint64_t HostFsSet::TagOf(uint64_t dev, uint64_t subvolume) {
  absl::MutexLock lock(&mutex_);
  auto it = tags_.find(dev);
  if (it != tags_.end()) return it->second;
  // A subvolume's id is stable over reboots, a device number need not be.
  uint64_t tag = subvolume != 0 && subvolume < kPlainTags
                     ? subvolume
                     : kPlainTags | (dev * 0x9e3779b97f4a7c15u >> 42);
  auto taken = [&](uint64_t t) {
    mutex_.AssertHeld();
    for (const auto& [other, used] : tags_) {
      if (used == t) return true;
    }
    return false;
  };
  while (taken(tag)) tag = kPlainTags | ((tag + 1) & (kPlainTags - 1));
  tags_.emplace(dev, tag);
  return tag;
}

bool HostFsSet::HasTag(uint64_t dev) const {
  absl::MutexLock lock(&mutex_);
  return tags_.contains(dev);
}

uint64_t HostFsSet::ShownIno(uint64_t dev, uint64_t ino, uint64_t subvolume) {
  if (dev == main_->dev) return ino;
  return ino ^ (TagOf(dev, subvolume) & kTagBits) << kTagShift;
}

}  // namespace handlefs

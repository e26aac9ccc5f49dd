// The host file systems of a source: one for the source itself and, where
// submounts are crossed, one for each mount below it. Each knows how its files
// are identified, and whether operations on it can hang.
//
// Also the map that keeps inode numbers unique: the mount shows one st_dev, but
// a tree can hold several (submounts, and every btrfs subvolume, whose roots
// are all inode 256). Numbers of the source's own device are shown as they are;
// others get a tag in bits 40..62.
#ifndef HANDLEFS_HANDLES_HOST_FS_H_
#define HANDLEFS_HANDLES_HOST_FS_H_

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "handles/codec.h"
#include "handles/host_handle.h"
#include "handles/source.h"
#include "io/base/fd.h"
#include "io/base/vault.h"
#include "proto/base/errno.h"

namespace handlefs {

enum class Identity { kAuto, kHandle, kFd };

constexpr uint64_t DevOf(const struct statx& stx) {
  return uint64_t{stx.stx_dev_major} << 32 | stx.stx_dev_minor;
}

// Immutable once made.
struct HostFs {
  uint16_t index = 0;
  // Stands for the file system in what outlives the server; 0 for the source's.
  uint32_t tag = 0;
  int mount_id = 0;
  uint64_t dev = 0;
  uint64_t magic = 0;        // f_type
  UniqueFd mount;            // for open_by_handle_at; none if !has_handles
  UniqueFd kept;             // what the vault has of it
  bool has_handles = false;  // handles can be made and opened
  Codec codec;
  bool is_remote = false;  // NFS, CIFS, 9p, ceph, FUSE: metadata may hang
  bool is_memory = false;  // tmpfs: nothing ever waits
  // Positions in directories mean the same to every descriptor.
  bool dir_positions_last = false;
  // overlayfs, ecryptfs, FUSE: passthrough to it needs another level.
  bool is_stacked = false;
};

class HostFsSet {
 public:
  // `identity` kHandle fails with FAILED_PRECONDITION where the source has no
  // handles or the process may not open them; kAuto falls back to descriptors,
  // and `why_not_handles()` tells the reason.
  static absl::StatusOr<std::unique_ptr<HostFsSet>> Make(const Source& source,
                                                         Identity identity);

  // Before any request: file systems that earlier servers met, with the same
  // index and tag.
  void TakeOver(Vault& vault);

  const HostFs& main() const { return *main_; }
  const HostFs& at(uint16_t index) const;
  // The file system behind a mount id; null: nothing of it was looked up yet.
  const HostFs* Met(int mount_id) const;
  // The same, made known on first sight. `dir`/`name` is the place where it was
  // met; ESTALE if something else is there by now.
  Result<const HostFs*> Of(int mount_id, BorrowedFd dir, const char* name);
  // Null: not met yet by this server.
  const HostFs* ByTag(uint32_t tag) const;
  const std::string& why_not_handles() const { return why_not_handles_; }

  // A number of this device was shown before.
  bool HasTag(uint64_t dev) const;
  // Which number is shown for a file. `subvolume` is the btrfs subvolume of its
  // handle, 0 if unknown.
  uint64_t ShownIno(uint64_t dev, uint64_t ino, uint64_t subvolume = 0);
  uint64_t ShownIno(const struct statx& stx, uint64_t subvolume = 0) {
    return ShownIno(DevOf(stx), stx.stx_ino, subvolume);
  }

 private:
  HostFsSet() = default;
  Result<std::unique_ptr<HostFs>> Inspect(UniqueFd mount, Identity identity,
                                          std::string* why);
  const HostFs* ByTagLocked(uint32_t tag) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t TagOf(uint64_t dev, uint64_t subvolume);

  Vault* vault_ = nullptr;  // set before any request
  Identity identity_ = Identity::kAuto;
  std::string why_not_handles_;
  const HostFs* main_ = nullptr;
  mutable absl::Mutex mutex_;
  std::vector<std::unique_ptr<HostFs>> all_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<uint64_t, uint64_t> tags_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_HOST_FS_H_

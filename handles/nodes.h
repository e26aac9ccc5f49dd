// Identity: which host file a nodeid means, and how to get at it. Everything
// that the server does to the host begins with a descriptor from here.
//
// A node is one of
//   packed   the nodeid is the host handle (codec.h); no memory
//   table    the handle, or a descriptor, is in the table (node_table.h)
//   pinned   either of them, while the inode has no name (fd_cache.h)
//   root     nodeid 1, the source directory
// Names are single components and never followed; special files are never
// opened except O_PATH. Thread-safe. Errors are the host's errno; ESTALE for a
// nodeid that means nothing (any more).
#ifndef HANDLEFS_HANDLES_NODES_H_
#define HANDLEFS_HANDLES_NODES_H_

#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "handles/fd_cache.h"
#include "handles/host_fs.h"
#include "handles/node_handle.h"
#include "handles/node_table.h"
#include "handles/siphash.h"
#include "handles/source.h"
#include "io/base/fd.h"
#include "proto/base/errno.h"
#include "proto/base/ids.h"

namespace handlefs {

class Nodes {
 public:
  enum class Export { kOff, kOn };
  struct Config {
    Identity identity = Identity::kAuto;
    Export exported = Export::kOff;
    HashKey key{};
    // Descriptors that nodes may hold; above it they are found by name again.
    size_t fd_budget = 1024;
  };
  // A file as the kernel is told about it. `stx` has the host's numbers, `ino`
  // the one to show.
  struct Entry {
    NodeId id = kNoNode;
    struct statx stx;
    uint64_t ino = 0;
    uint32_t generation = 0;  // keyed MAC under export, else 0
  };
  struct Opened {
    UniqueFd fd;
    struct statx stx;  // before the open
  };
  // A file that may be about to lose its last name.
  struct Victim {
    NodeId id = kNoNode;  // none: the kernel does not know it
    SharedFd fd;          // null: there is nothing of that name
    uint64_t fingerprint = 0;
    Vault::Ref pin = Vault::kNoRef;
  };

  static absl::StatusOr<std::unique_ptr<Nodes>> Make(Source source,
                                                     const Config& config);

  // Before the first request: what cannot be found again by a nodeid alone goes
  // to the vault from now on, and what earlier servers left there is known.
  // The vault outlives this. In the process that will serve.
  Status TakeOver(Vault& vault);

  // Count one lookup of the node they return.
  Result<Entry> Lookup(NodeId dir, const char* name);
  Result<Entry> LookupIn(BorrowedFd dir_fd, NodeId dir, const char* name);
  // Of a file that was just made without a name: pinned from birth.
  Result<Entry> AdoptNameless(BorrowedFd fd);
  // Of a file that was just made as `name` and opened, whatever a host process
  // has made of the name meanwhile.
  Result<Entry> LookupMade(BorrowedFd file, BorrowedFd dir_fd, NodeId dir,
                           const char* name);
  // Of a node that the kernel knows and will know until it has the answer.
  Result<Entry> LookupKnown(NodeId id, BorrowedFd file);
  // What a handle of the mount leads to (LOOKUP of "." and ".."). ESTALE for
  // directories outside the source; a file's place cannot be told from its
  // inode, so whoever asks for one must compare Entry::generation.
  Result<Entry> LookupSelf(NodeId id);
  Result<Entry> LookupParent(NodeId id);

  void Forget(NodeId id, uint64_t lookups);

  // For kernels that keep node handles (node_handle.h).
  NodeHandle HandleOf(NodeId id);
  // A request about `id` came with this handle; a node that this server does
  // not know is known from now on. ESTALE: the handle is not ours, or of
  // another node. An empty one says nothing.
  Status Vouch(NodeId id, std::span<const std::byte> handle);
  // From now on every request comes with the handles of its nodes: nodes with
  // handles are not kept in the table, but known while a request lasts.
  void KernelKeepsHandles() { kernel_keeps_ = true; }
  // Before a request on this thread, in that case.
  static void BeginRequest();

  // An O_PATH descriptor (the root's and directories' may be more).
  Result<SharedFd> Resolve(NodeId id);
  // The same, ENOTDIR if it is no directory.
  Result<SharedFd> ResolveDir(NodeId id);
  // Opens a regular file or directory; ELOOP for a symlink, ENXIO for a special
  // file, which are not touched.
  Result<Opened> Open(NodeId id, int flags);

  // Around UNLINK, RMDIR and RENAME: look before, tell afterwards how it went.
  Victim LookAtVictim(BorrowedFd dir, const char* name);
  // Somebody uses it: not even the death of the server may take it from him
  // when the name goes.
  void KeepAhead(Victim& victim);
  void LostName(const Victim& victim);
  void KeptName(const Victim& victim) { pins_.Erase(victim.pin); }
  // What tells whether a name still means the same inode, in this and in every
  // later server; 0 if there is nothing of that name. "" is `dir` itself.
  uint64_t Fingerprint(BorrowedFd dir, const char* name) const;
  // LINK gave a file, which may have been nameless, a name.
  void GotName(NodeId id, BorrowedFd file, NodeId dir, const char* name);
  // RENAME moved what is now `name` in `dir`.
  void Moved(NodeId dir, BorrowedFd dir_fd, const char* name);

  uint64_t ShownIno(const struct statx& stx) { return fs_->ShownIno(stx); }
  // The same for a file, or an entry of a directory, on a device that need not
  // have been met yet; `of` is a file on it.
  uint64_t ShownIno(uint64_t dev, uint64_t ino, BorrowedFd of);
  uint64_t ShownIno(const struct statx& stx, BorrowedFd of) {
    return ShownIno(DevOf(stx), stx.stx_ino, of);
  }
  // The host file system of a node as far as its nodeid tells.
  const HostFs& FsOf(NodeId id);
  // The host's path, "/" being the source; ENOENT if it has none.
  Result<std::string> HostPath(NodeId id);

  const Source& source() const { return source_; }
  // O_PATH of /proc/self/fd: the way to use an O_PATH descriptor by name.
  BorrowedFd proc_fds() const { return proc_fds_; }
  const HostFsSet& file_systems() const { return *fs_; }
  // Lets go of descriptors that are only kept for speed.
  void Trim() { hot_.DropFiles(); }
  // Called often, now and then.
  void Tick(absl::Time now) { pins_.Tick(now); }
  struct Stats {
    NodeTable::Stats table;
    size_t pins;
  };
  Stats stats() const { return {table_.stats(), pins_.size()}; }

 private:
  Nodes(Source source, std::unique_ptr<HostFsSet> fs, const Config& config);
  static UniqueFd OpenProcFds();
  Result<Entry> LookupByHandle(BorrowedFd dir_fd, const char* name);
  Result<Entry> LookupByFd(BorrowedFd dir_fd, NodeId dir, const char* name);
  // Stands for the inode number of a file that has none of its own.
  uint64_t NumberOfPlace(NodeId dir, const char* name) const;
  // Has no entry with a count of its own.
  bool IsUncounted(NodeId id);
  Result<NodeId> Identify(const HostFs& fs, const HostHandle& handle);
  uint64_t FingerprintOf(const HostHandle& handle) const;
  uint64_t FingerprintOf(const struct statx& stx) const;
  Result<Entry> MakeEntry(NodeId id, const struct statx& stx,
                          uint64_t subvolume);
  uint32_t GenerationOf(NodeId id) const;
  Result<UniqueFd> OpenHandle(const HostFs& fs, const HostHandle& handle,
                              int flags);
  struct Located {
    const HostFs* fs;
    HostHandle handle;
  };
  // The handle behind an id, if it has one.
  std::optional<Located> Locate(NodeId id);
  // `names` is how many nodes known by name may lead from one to the next: on
  // the host a directory can have come to lie in what lay in it.
  Result<SharedFd> ResolveWith(NodeId id, HotFds::Kind kind, int names);
  Result<UniqueFd> FindByName(const NodeTable::ByNumbers& numbers,
                              const NodeTable::ByName& where, int names);
  Result<UniqueFd> Reopen(BorrowedFd fd, int flags);
  bool IsInside(BorrowedFd dir);

  const Source source_;
  const std::unique_ptr<HostFsSet> fs_;
  const Config config_;
  SharedFd root_;
  struct statx root_stx_ {};
  std::optional<HostHandle> root_handle_;
  UniqueFd proc_fds_;  // /proc/self/fd
  NodeTable table_;
  HotFds hot_;
  Pins pins_;
  std::atomic<bool> any_by_name_{false};
  bool kernel_keeps_ = false;  // set before any request
};

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_NODES_H_

#include "handles/nodes.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "handles/host_names.h"

namespace handlefs {
namespace {

// The two calls of a lookup can see different files under one name while
// somebody renames; after this many mismatches a descriptor settles it.
constexpr int kLookupTries = 3;
constexpr int kDeepestDirectory = 8192;

// The nodes that the request on this thread is about, as it says itself: as
// many as a rename has, and the node that a lookup finds.
struct Known {
  NodeId id = kNoNode;
  const HostFs* fs = nullptr;
  HostHandle handle;
};
constexpr size_t kKnown = 8;
thread_local std::array<Known, kKnown> known;
thread_local size_t known_count = 0;

void Know(NodeId id, const HostFs& fs, const HostHandle& handle) {
  known[known_count++ % kKnown] = {.id = id, .fs = &fs, .handle = handle};
}

NodeTable::ByNumbers NumbersOf(const struct statx& stx, const HostFs* fs) {
  return {.fs = fs == nullptr ? uint16_t{0} : fs->index,
          .dev = DevOf(stx),
          .ino = stx.stx_ino,
          .birth_ns = BirthOf(stx)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Nodes>> Nodes::Make(Source source,
                                                   const Config& config) {
  auto fs = HostFsSet::Make(source, config.identity);
  if (!fs.ok()) return fs.status();
  std::unique_ptr<Nodes> nodes(
      new Nodes(std::move(source), std::move(*fs), config));
  nodes->proc_fds_ = OpenProcFds();
  if (!nodes->proc_fds_) {
    return absl::ErrnoToStatus(
        errno, "cannot open /proc/self/fd: /proc must be mounted");
  }
  auto stx = StatName(nodes->source_.dir, "");
  UniqueFd root(fcntl(nodes->source_.root.get(), F_DUPFD_CLOEXEC, 0));
  if (!stx.ok() || !root) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot look at ", nodes->source_.path));
  }
  nodes->root_stx_ = *stx;
  nodes->root_ = std::make_shared<const UniqueFd>(std::move(root));
  if (auto at = NameToHandle(nodes->source_.dir, ""); at.ok()) {
    nodes->root_handle_ = at->handle;
  }
  return nodes;
}

Nodes::Nodes(Source source, std::unique_ptr<HostFsSet> fs, const Config& config)
    : source_(std::move(source)),
      fs_(std::move(fs)),
      config_(config),
      table_(config.key) {}

uint32_t Nodes::GenerationOf(NodeId id) const {
  if (config_.exported == Export::kOff || id == kRootNode) return 0;
  uint64_t raw = Raw(id);
  uint64_t mac = SipHash(config_.key, std::as_bytes(std::span(&raw, 1)));
  // Never 0, which is what a forger would try first.
  auto low = static_cast<uint32_t>(mac);
  return low != 0 ? low : 1;
}

Result<Nodes::Entry> Nodes::MakeEntry(NodeId id, const struct statx& stx,
                                      uint64_t subvolume) {
  if (id == kNoNode) return Errno(EIO);
  return Entry{.id = id,
               .stx = stx,
               .ino = fs_->ShownIno(stx, subvolume),
               .generation = GenerationOf(id)};
}

Result<NodeId> Nodes::Identify(const HostFs& fs, const HostHandle& handle) {
  if (root_handle_ && fs.index == 0 && handle == *root_handle_) {
    return kRootNode;
  }
  if (fs.index == 0) {
    if (auto id = fs.codec.Pack(handle)) {
      pins_.AddLookup(*id);
      return *id;
    }
  }
  NodeTable::ByHandle file{fs.index, handle, fs.tag};
  if (kernel_keeps_) {
    NodeId id = table_.IdOf(file);
    pins_.AddLookup(id);
    Know(id, fs, handle);
    return id;
  }
  NodeId id = table_.Acquire(file);
  if (id == kNoNode) return Errno(EIO);
  return id;
}

NodeHandle Nodes::HandleOf(NodeId id) {
  if (id == kRootNode) return {};
  NodeHandleContent content;
  if (auto located = Locate(id)) {
    content = {.fs = located->fs->tag, .host = located->handle};
  }
  return PackNodeHandle(config_.key, id, content);
}

Status Nodes::Vouch(NodeId id, std::span<const std::byte> bytes) {
  if (bytes.empty()) return Ok();
  if (id == kRootNode) return Errno(ESTALE);
  ASSIGN_OR_RETURN(NodeHandleContent content,
                   UnpackNodeHandle(config_.key, id, bytes));
  // A packed node's id says the same as its handle.
  if (!IsTableId(id)) return Ok();
  if (!content.host) {
    return table_.Get(id).ok() ? Ok() : Status(Errno(ESTALE));
  }
  // A file system below the source that nobody has come across yet: the kernel
  // looks the path up again, which leads there.
  const HostFs* fs = fs_->ByTag(content.fs);
  if (fs == nullptr || !fs->has_handles) return Errno(ESTALE);
  if (kernel_keeps_) {
    Know(id, *fs, *content.host);
    return Ok();
  }
  bool good =
      table_.Adopt(id, NodeTable::ByHandle{fs->index, *content.host, fs->tag});
  return good ? Ok() : Status(Errno(ESTALE));
}

Result<Nodes::Entry> Nodes::Lookup(NodeId dir, const char* name) {
  ASSIGN_OR_RETURN(SharedFd dir_fd, ResolveDir(dir));
  return LookupIn(*dir_fd, dir, name);
}

Result<Nodes::Entry> Nodes::LookupIn(BorrowedFd dir_fd, NodeId dir,
                                     const char* name) {
  if (fs_->main().has_handles) {
    auto entry = LookupByHandle(dir_fd, name);
    if (entry.ok()) return entry;
    // A file system in the tree, or a file on it, that has no handles; or a
    // name that does not hold still.
    int error = entry.error().value();
    if (error != EOPNOTSUPP && error != EOVERFLOW && error != EAGAIN) {
      return entry;
    }
  }
  return LookupByFd(dir_fd, dir, name);
}

namespace {

// Without a time of birth the last change has to do. Where the file system has
// no fractions of seconds, the second counts.
bool MayBeBornSince(const struct statx& stx, int64_t time_ns) {
  const int64_t birth = BirthOf(stx);
  const statx_timestamp& since = birth != 0 ? stx.stx_btime : stx.stx_ctime;
  if (since.tv_nsec == 0) return since.tv_sec >= time_ns / 1000000000;
  return since.tv_sec * 1000000000 + since.tv_nsec >= time_ns;
}

}  // namespace

Result<Nodes::Entry> Nodes::LookupByHandle(BorrowedFd dir_fd,
                                           const char* name) {
  for (int i = 0; i < kLookupTries; ++i) {
    ASSIGN_OR_RETURN(HandleAt at, NameToHandle(dir_fd, name));
    ASSIGN_OR_RETURN(const HostFs* fs, fs_->Of(at.mount_id, dir_fd, name));
    if (!fs->has_handles || fs->codec.IsPlaceholder(at.handle)) {
      return Errno(EOPNOTSUPP);
    }
    ASSIGN_OR_RETURN(struct statx stx, StatName(dir_fd, name));
    // Both calls must have met the same file. Without a known layout only a
    // descriptor can tell.
    auto ino = fs->codec.Ino(at.handle);
    if (!ino) return Errno(EAGAIN);
    if (*ino != stx.stx_ino) continue;
    // Nor did the second meet a new file with the number of the first.
    if (MayBeBornSince(stx, at.began_ns)) {
      auto again = NameToHandle(dir_fd, name);
      if (!again.ok() || again->handle != at.handle) continue;
    }
    ASSIGN_OR_RETURN(NodeId id, Identify(*fs, at.handle));
    return MakeEntry(id, stx, fs->codec.Subvolume(at.handle));
  }
  return Errno(EAGAIN);
}

uint64_t Nodes::NumberOfPlace(NodeId dir, const char* name) const {
  uint64_t raw = Raw(dir);
  std::string place(reinterpret_cast<const char*>(&raw), sizeof(raw));
  place += name;
  return SipHash(config_.key, std::as_bytes(std::span(place))) | kPlaceBit;
}

Result<Nodes::Entry> Nodes::LookupByFd(BorrowedFd dir_fd, NodeId dir,
                                       const char* name) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenComponent(dir_fd, name, O_PATH));
  ASSIGN_OR_RETURN(struct statx stx, StatName(fd, ""));
  const int mount = static_cast<int>(stx.stx_mnt_id);
  ASSIGN_OR_RETURN(const HostFs* fs, fs_->Of(mount, dir_fd, name));
  NodeTable::ByNumbers numbers = NumbersOf(stx, fs);
  if (fs_->main().has_handles) {
    if (auto at = NameToHandle(fd, ""); at.ok()) {
      if (fs->codec.IsPlaceholder(at->handle)) {
        numbers.ino = NumberOfPlace(dir, name);
      } else if (fs->has_handles) {
        ASSIGN_OR_RETURN(NodeId id, Identify(*fs, at->handle));
        return MakeEntry(id, stx, fs->codec.Subvolume(at->handle));
      }
    }
  }
  if (stx.stx_ino == root_stx_.stx_ino && DevOf(stx) == fs_->main().dev) {
    return MakeEntry(kRootNode, stx, 0);
  }
  // By the name ".." a directory would be found in what lies in it.
  const bool up = std::string_view(name) == "..";
  NodeTable::ByName where{
      .parent = dir, .name = name, .birth_ns = BirthOf(stx)};
  if (up) return MakeEntry(table_.Acquire(numbers, std::move(fd)), stx, 0);
  if (table_.descriptors() < config_.fd_budget) {
    NodeId id = table_.Acquire(numbers, std::move(fd), std::move(where));
    return MakeEntry(id, stx, 0);
  }
  any_by_name_.store(true, std::memory_order_relaxed);
  return MakeEntry(table_.Acquire(numbers, std::move(where)), stx, 0);
}

Result<Nodes::Entry> Nodes::AdoptNameless(BorrowedFd fd) {
  ASSIGN_OR_RETURN(struct statx stx, StatName(fd, ""));
  ASSIGN_OR_RETURN(UniqueFd path, Reopen(fd, O_PATH));
  // That of its directory, which was looked up.
  const HostFs* fs = fs_->Met(static_cast<int>(stx.stx_mnt_id));
  if (fs_->main().has_handles) {
    auto at = NameToHandle(fd, "");
    if (at.ok()) {
      if (fs != nullptr && fs->has_handles) {
        auto pin = std::make_shared<const UniqueFd>(std::move(path));
        // The pin first: it must count the lookup that this is.
        if (auto id =
                fs->index == 0 ? fs->codec.Pack(at->handle) : std::nullopt) {
          pins_.Add(*id, pin, pins_.KeepAhead(*id, *pin));
        }
        ASSIGN_OR_RETURN(NodeId id, Identify(*fs, at->handle));
        if (IsTableId(id)) {
          pins_.Add(id, pin, pins_.KeepAhead(id, *pin));
        }
        return MakeEntry(id, stx, fs->codec.Subvolume(at->handle));
      }
    }
  }
  auto pin =
      std::make_shared<const UniqueFd>(fcntl(path.get(), F_DUPFD_CLOEXEC, 0));
  NodeId id = table_.Acquire(NumbersOf(stx, fs), std::move(path));
  // A successor has nothing else to find it by.
  if (Vault::Ref kept = *pin ? pins_.KeepAhead(id, *pin) : Vault::kNoRef;
      kept != Vault::kNoRef) {
    pins_.Add(id, std::move(pin), kept);
  }
  return MakeEntry(id, stx, 0);
}

Result<Nodes::Entry> Nodes::LookupMade(BorrowedFd file, BorrowedFd dir_fd,
                                       NodeId dir, const char* name) {
  ASSIGN_OR_RETURN(struct statx stx, StatName(file, ""));
  if (stx.stx_nlink == 0) return AdoptNameless(file);
  if (fs_->main().has_handles) {
    auto at = NameToHandle(file, "");
    auto fs = at.ok() ? fs_->Of(at->mount_id, dir_fd, name)
                      : Result<const HostFs*>(at.error());
    if (fs.ok() && (*fs)->has_handles &&
        !(*fs)->codec.IsPlaceholder(at->handle)) {
      ASSIGN_OR_RETURN(NodeId id, Identify(**fs, at->handle));
      return MakeEntry(id, stx, (*fs)->codec.Subvolume(at->handle));
    }
  }
  auto entry = LookupByFd(dir_fd, dir, name);
  if (!entry.ok()) {
    return entry.error() == Errno(ENOENT) ? AdoptNameless(file) : entry;
  }
  if (entry->stx.stx_ino == stx.stx_ino && DevOf(entry->stx) == DevOf(stx)) {
    return entry;
  }
  Forget(entry->id, 1);
  return AdoptNameless(file);
}

Result<Nodes::Entry> Nodes::LookupKnown(NodeId id, BorrowedFd file) {
  ASSIGN_OR_RETURN(struct statx stx, StatName(file, ""));
  pins_.AddLookup(id);
  table_.AddLookup(id);
  auto located = Locate(id);
  return MakeEntry(id, stx,
                   located ? located->fs->codec.Subvolume(located->handle) : 0);
}

bool Nodes::IsInside(BorrowedFd dir) {
  UniqueFd at;
  BorrowedFd here = dir;
  for (int i = 0; i < kDeepestDirectory; ++i) {
    auto stx = StatName(here, "");
    if (!stx.ok()) return false;
    if (stx->stx_ino == root_stx_.stx_ino && DevOf(*stx) == fs_->main().dev) {
      return true;
    }
    auto up = OpenComponent(here, "..", O_PATH | O_DIRECTORY);
    if (!up.ok()) return false;
    auto above = StatName(*up, "");
    if (!above.ok() ||
        (above->stx_ino == stx->stx_ino && DevOf(*above) == DevOf(*stx))) {
      return false;  // the top of the file system
    }
    at = std::move(*up);
    here = at;
  }
  return false;
}

Result<Nodes::Entry> Nodes::LookupSelf(NodeId id) {
  // Counted first, so that a FORGET on its way cannot take the node.
  pins_.AddLookup(id);
  table_.AddLookup(id);
  auto look = [&]() -> Result<Entry> {
    ASSIGN_OR_RETURN(SharedFd fd, Resolve(id));
    ASSIGN_OR_RETURN(struct statx stx, StatName(*fd, ""));
    // A file's place cannot be told from its inode. The kernel compares the
    // generation, a MAC, with the one in the client's handle before the client
    // gets anything.
    if (id != kRootNode && S_ISDIR(stx.stx_mode) && !IsInside(*fd)) {
      return Errno(ESTALE);
    }
    return MakeEntry(id, stx, 0);
  };
  auto entry = look();
  if (!entry.ok()) Forget(id, 1);
  return entry;
}

Result<Nodes::Entry> Nodes::LookupParent(NodeId id) {
  if (id == kRootNode) return LookupSelf(id);
  ASSIGN_OR_RETURN(SharedFd fd, ResolveDir(id));
  if (!IsInside(*fd)) return Errno(ESTALE);
  return LookupIn(*fd, id, "..");
}

void Nodes::BeginRequest() { known_count = 0; }

bool Nodes::IsUncounted(NodeId id) {
  return !IsTableId(id) || (kernel_keeps_ && !table_.Get(id).ok());
}

void Nodes::Forget(NodeId id, uint64_t lookups) {
  if (id == kRootNode) return;
  if (IsUncounted(id)) {
    pins_.Forget(id, lookups);
  } else if (table_.Forget(id, lookups)) {
    pins_.Remove(id);
    hot_.Drop(id);
  }
}

std::optional<Nodes::Located> Nodes::Locate(NodeId id) {
  if (!IsTableId(id)) {
    // Ids below this are none that a codec made.
    if (Raw(id) >> 33 == 0 || !fs_->main().has_handles ||
        fs_->main().codec.layout() == Codec::Layout::kNone) {
      return std::nullopt;
    }
    HostHandle handle = fs_->main().codec.Unpack(id);
    // Never packed: somebody made it up.
    if (fs_->main().codec.IsWildcard(handle)) return std::nullopt;
    return Located{&fs_->main(), handle};
  }
  if (kernel_keeps_) {
    for (size_t i = 0; i < std::min(known_count, kKnown); ++i) {
      if (known[i].id == id) return Located{known[i].fs, known[i].handle};
    }
  }
  auto found = table_.Get(id);
  if (!found.ok() || !found->handle) return std::nullopt;
  return Located{&fs_->at(found->handle->fs), found->handle->handle};
}

Status Nodes::TakeOver(Vault& vault) {
  // It is that of the process which opened it.
  proc_fds_ = OpenProcFds();
  if (!proc_fds_) return LastErrno();
  fs_->TakeOver(vault);
  table_.TakeOver(vault);
  pins_.Restore(vault);
  // A successor knows by name what has no handle.
  any_by_name_.store(true);
  return Ok();
}

uint64_t Nodes::FingerprintOf(const HostHandle& handle) const {
  HashKey key = config_.key;
  key[0] ^= static_cast<uint64_t>(handle.type) + 1;
  return SipHash(key, handle.view()) | 1;
}

uint64_t Nodes::FingerprintOf(const struct statx& stx) const {
  uint64_t numbers[] = {DevOf(stx), stx.stx_ino,
                        static_cast<uint64_t>(BirthOf(stx))};
  return SipHash(config_.key, std::as_bytes(std::span(numbers))) | 1;
}

uint64_t Nodes::Fingerprint(BorrowedFd dir, const char* name) const {
  if (auto at = NameToHandle(dir, name); at.ok()) {
    return FingerprintOf(at->handle);
  }
  auto stx = StatName(dir, name);
  return stx.ok() ? FingerprintOf(*stx) : 0;
}

Nodes::Victim Nodes::LookAtVictim(BorrowedFd dir, const char* name) {
  Victim victim;
  auto fd = OpenComponent(dir, name, O_PATH);
  if (!fd.ok()) return victim;
  auto at = NameToHandle(*fd, "");
  if (at.ok()) victim.fingerprint = FingerprintOf(at->handle);
  std::optional<NodeId> id;
  if (at.ok() && fs_->main().has_handles) {
    auto fs = fs_->Of(at->mount_id, dir, name);
    if (fs.ok() && (*fs)->has_handles) {
      if ((*fs)->index == 0) id = (*fs)->codec.Pack(at->handle);
      if (!id) {
        NodeTable::ByHandle file{(*fs)->index, at->handle, (*fs)->tag};
        id = kernel_keeps_ ? table_.IdOf(file) : table_.Find(file);
      }
    }
  }
  if (!id || victim.fingerprint == 0) {
    auto stx = StatName(*fd, "");
    if (!stx.ok()) return victim;
    if (!id) {
      id = table_.Find(
          NumbersOf(*stx, fs_->Met(static_cast<int>(stx->stx_mnt_id))));
    }
    if (victim.fingerprint == 0) victim.fingerprint = FingerprintOf(*stx);
  }
  // Not in the table: the kernel does not know it, nobody can ask for it.
  if (id) victim.id = *id;
  victim.fd = std::make_shared<const UniqueFd>(std::move(*fd));
  return victim;
}

void Nodes::KeepAhead(Victim& victim) {
  if (victim.id == kNoNode || victim.pin != Vault::kNoRef) return;
  victim.pin = pins_.KeepAhead(victim.id, *victim.fd);
}

void Nodes::LostName(const Victim& victim) {
  if (victim.id == kNoNode) return;
  hot_.Drop(victim.id);
  auto stx = StatName(*victim.fd, "");
  // A directory has one name; its link count need not say so (btrfs). What is
  // known by name would have to be found by this one.
  if (!stx.ok() || S_ISDIR(stx->stx_mode) || stx->stx_nlink == 0 ||
      (any_by_name_.load(std::memory_order_relaxed) &&
       table_.NeedsName(victim.id))) {
    Vault::Ref pin = victim.pin;
    // Somebody may stand in it; or it has another name, by which it can be
    // opened at any moment.
    if (pin == Vault::kNoRef && stx.ok() &&
        (S_ISDIR(stx->stx_mode) || stx->stx_nlink > 0)) {
      pin = pins_.KeepAhead(victim.id, *victim.fd);
    }
    pins_.Add(victim.id, victim.fd, pin);
  } else {
    pins_.Erase(victim.pin);
  }
}

void Nodes::GotName(NodeId id, BorrowedFd file, NodeId dir, const char* name) {
  auto stx = StatName(file, "");
  // A host process can have taken it away again.
  if (!stx.ok() || stx->stx_nlink == 0) return;
  if (IsTableId(id)) {
    table_.Named(id, {.parent = dir, .name = name, .birth_ns = BirthOf(*stx)});
  }
  pins_.Remove(id);
}

void Nodes::Moved(NodeId dir, BorrowedFd dir_fd, const char* name) {
  if (!any_by_name_.load(std::memory_order_relaxed)) return;
  auto stx = StatName(dir_fd, name);
  if (!stx.ok()) return;
  auto id =
      table_.Find(NumbersOf(*stx, fs_->Met(static_cast<int>(stx->stx_mnt_id))));
  if (id) table_.Moved(*id, dir, name);
}

uint64_t Nodes::ShownIno(uint64_t dev, uint64_t ino, BorrowedFd of) {
  uint64_t subvolume = 0;
  // A server that has just started can be asked about files before any lookup:
  // the numbers must be those of before.
  if (dev != fs_->main().dev && !fs_->HasTag(dev)) {
    if (auto at = NameToHandle(of, ""); at.ok()) {
      subvolume = fs_->main().codec.Subvolume(at->handle);
    }
  }
  return fs_->ShownIno(dev, ino, subvolume);
}

const HostFs& Nodes::FsOf(NodeId id) {
  if (!IsTableId(id)) return fs_->main();
  auto found = table_.Get(id);
  if (!found.ok()) return fs_->main();
  return fs_->at(found->handle ? found->handle->fs : found->numbers.fs);
}

Result<std::string> Nodes::HostPath(NodeId id) {
  ASSIGN_OR_RETURN(SharedFd fd, Resolve(id));
  char name[16];
  std::snprintf(name, sizeof(name), "%d", fd->get());
  std::array<char, PATH_MAX> text;
  ssize_t n = readlinkat(proc_fds_.get(), name, text.data(), text.size());
  if (n < 0) return LastErrno();
  std::string path(text.data(), static_cast<size_t>(n));
  // In a mount of its own the path begins at the source.
  if (!source_.is_private && path.starts_with(source_.path)) {
    path.erase(0, source_.path.size());
    if (path.empty()) path.push_back('/');
  }
  if (id == kRootNode) return path;
  // A file that was removed, or opened by its handle while nobody has it in a
  // cache, has a path that leads elsewhere.
  open_how how{};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;
  UniqueFd there(static_cast<int>(syscall(SYS_openat2, source_.root.get(),
                                          path.c_str(), &how, sizeof(how))));
  if (!there) return Errno(ENOENT);
  ASSIGN_OR_RETURN(struct statx a, StatName(*fd, ""));
  ASSIGN_OR_RETURN(struct statx b, StatName(there, ""));
  if (a.stx_ino != b.stx_ino || DevOf(a) != DevOf(b)) return Errno(ENOENT);
  return path;
}

}  // namespace handlefs

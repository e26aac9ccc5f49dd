// From a node to a descriptor of its file.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "handles/host_names.h"
#include "handles/nodes.h"

namespace handlefs {
namespace {

// So many directories that are known by name alone may lie above each other.
constexpr int kMostNames = 512;

}  // namespace

Result<UniqueFd> Nodes::OpenHandle(const HostFs& fs, const HostHandle& handle,
                                   int flags) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenByHandle(fs.mount, handle, flags));
  if (fs.codec.IsWildcard(handle)) {
    // Generation 0 opens whatever has the inode number; only a file whose own
    // generation is 0 is the one that was meant.
    ASSIGN_OR_RETURN(HandleAt at, NameToHandle(fd, ""));
    if (at.handle != handle) return Errno(ESTALE);
  }
  return fd;
}

Result<UniqueFd> Nodes::Reopen(BorrowedFd fd, int flags) {
  char name[16];
  std::snprintf(name, sizeof(name), "%d", fd.get());
  UniqueFd out(openat(proc_fds_.get(), name, flags | O_CLOEXEC));
  if (!out) return LastErrno();
  return out;
}

Result<UniqueFd> Nodes::FindByName(const NodeTable::ByNumbers& numbers,
                                   const NodeTable::ByName& where, int names) {
  if (names == 0) return Errno(ESTALE);
  ASSIGN_OR_RETURN(
      SharedFd parent,
      ResolveWith(where.parent, HotFds::Kind::kDirectory, names - 1));
  auto fd = OpenComponent(*parent, where.name.c_str(), O_PATH);
  if (!fd.ok()) {
    return fd.error() == Errno(ENOENT) ? Errno(ESTALE) : fd.error();
  }
  ASSIGN_OR_RETURN(struct statx stx, StatName(*fd, ""));
  bool same_ino = stx.stx_ino == numbers.ino || (numbers.ino & kPlaceBit) != 0;
  if (!same_ino || DevOf(stx) != numbers.dev ||
      BirthOf(stx) != where.birth_ns) {
    return Errno(ESTALE);
  }
  return std::move(*fd);
}

Result<SharedFd> Nodes::ResolveWith(NodeId id, HotFds::Kind kind, int names) {
  if (id == kRootNode) return root_;
  const bool directory = kind == HotFds::Kind::kDirectory;
  auto checked = [&](SharedFd fd) -> Result<SharedFd> {
    if (!directory) return fd;
    ASSIGN_OR_RETURN(struct statx stx, StatName(*fd, ""));
    if (!S_ISDIR(stx.stx_mode)) return Errno(ENOTDIR);
    return fd;
  };
  if (SharedFd fd = pins_.Find(id)) return checked(std::move(fd));
  HotFds::Kind known = kind;
  if (SharedFd fd = hot_.Find(id, &known)) {
    if (!directory || known == kind) return fd;
    ASSIGN_OR_RETURN(fd, checked(std::move(fd)));
    hot_.Insert(id, fd, kind);
    return fd;
  }
  SharedFd shared;
  if (auto located = Locate(id)) {
    int flags = O_PATH | (directory ? O_DIRECTORY : 0);
    ASSIGN_OR_RETURN(UniqueFd fd,
                     OpenHandle(*located->fs, located->handle, flags));
    shared = std::make_shared<const UniqueFd>(std::move(fd));
  } else if (IsTableId(id)) {
    ASSIGN_OR_RETURN(NodeTable::Found found, table_.Get(id));
    if (found.name) {
      ASSIGN_OR_RETURN(found.fd, FindByName(found.numbers, *found.name, names));
    }
    ASSIGN_OR_RETURN(
        shared, checked(std::make_shared<const UniqueFd>(std::move(found.fd))));
  } else {
    return Errno(ESTALE);
  }
  hot_.Insert(id, shared, kind);
  return shared;
}

Result<SharedFd> Nodes::Resolve(NodeId id) {
  return ResolveWith(id, HotFds::Kind::kFile, kMostNames);
}

Result<SharedFd> Nodes::ResolveDir(NodeId id) {
  return ResolveWith(id, HotFds::Kind::kDirectory, kMostNames);
}

Result<Nodes::Opened> Nodes::Open(NodeId id, int flags) {
  ASSIGN_OR_RETURN(SharedFd path, Resolve(id));
  ASSIGN_OR_RETURN(struct statx stx, StatName(*path, ""));
  if (S_ISLNK(stx.stx_mode)) return Errno(ELOOP);
  if (!S_ISREG(stx.stx_mode) && !S_ISDIR(stx.stx_mode)) return Errno(ENXIO);
  if (id != kRootNode && stx.stx_nlink > 0) {
    if (auto located = Locate(id)) {
      ASSIGN_OR_RETURN(UniqueFd fd,
                       OpenHandle(*located->fs, located->handle, flags));
      return Opened{.fd = std::move(fd), .stx = stx};
    }
  }
  ASSIGN_OR_RETURN(UniqueFd fd, Reopen(*path, flags & ~O_NOFOLLOW));
  return Opened{.fd = std::move(fd), .stx = stx};
}

UniqueFd Nodes::OpenProcFds() {
  return UniqueFd(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

}  // namespace handlefs

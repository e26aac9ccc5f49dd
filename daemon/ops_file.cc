#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/ops.h"
#include "daemon/restart/failpoint.h"
#include "daemon/xattr_at.h"

namespace handlefs {
namespace {

using namespace proto;  // NOLINT: the names of flags

// What of a client's flags is meant for the host's open. Creation flags are the
// kernel's business by then, and FMODE_EXEC and others are internal to it.
constexpr int kHostFlags = O_ACCMODE | O_APPEND | O_TRUNC | O_DIRECT | O_SYNC |
                           O_DSYNC | O_NOATIME | O_NONBLOCK;

int HostFlags(uint32_t flags) { return static_cast<int>(flags) & kHostFlags; }

Backings::Access AccessOf(int flags) {
  return (flags & O_ACCMODE) == O_RDONLY ? Backings::Access::kRead
                                         : Backings::Access::kWrite;
}

// Each WRITE says by itself whether it appends (the client may change that with
// fcntl, and pages of a mapping never do), so the host's file must not; nor
// does copy_file_range take a file that appends. It was opened with the flag
// because an append-only inode demands it; that keeps it.
void StopAppending(BorrowedFd fd, int& flags) {
  if ((flags & O_APPEND) == 0) return;
  int without = flags & ~O_APPEND;
  if (fcntl(fd.get(), F_SETFL, without & (O_NONBLOCK | O_DIRECT | O_NOATIME)) ==
      0) {
    flags = without;
  }
}

// Whether a file opened with `have` does for what `want` would be opened for.
bool Allows(int have, int want) {
  have &= O_ACCMODE;
  want &= O_ACCMODE;
  return have == O_RDWR || have == want;
}

SetIdScope::Bits BitsFor(uint32_t open_flags, int flags) {
  return (open_flags & kOpenKillSuidgid) != 0 && (flags & O_TRUNC) != 0
             ? SetIdScope::Bits::kClear
             : SetIdScope::Bits::kKeep;
}

}  // namespace

Result<Ops::FilePtr> Ops::FileOf(Fh fh, NodeId node, uint32_t open_flags) {
  auto file = files_.Find(fh);
  if (!files_.IsForeign(fh)) return file;
  int flags = HostFlags(open_flags) & ~O_TRUNC;
  if (fh == kNoFh) {
    // A directory that the kernel takes for open, without asking.
    ASSIGN_OR_RETURN(Nodes::Opened opened,
                     nodes_.Open(node, flags | O_DIRECTORY));
    auto once = std::make_shared<OpenFile>();
    once->fd = std::move(opened.fd);
    once->flags = flags;
    once->node = node;
    return once;
  }
  // The server was restarted: the kernel still names what an earlier one had
  // open. The node and the flags are enough to go on.
  if (file.ok() && (*file)->record != Vault::kNoRef) {
    if ((*file)->fd) return file;
    return Woken(fh, **file);
  }
  if (file.ok() && Allows((*file)->flags, flags)) return file;
  ASSIGN_OR_RETURN(Nodes::Opened opened, nodes_.Open(node, flags));
  StopAppending(opened.fd, flags);
  auto again = std::make_shared<OpenFile>();
  again->fd = std::move(opened.fd);
  again->flags = flags;
  again->node = node;
  again->backing =
      backings_.Open(node, again->fd, Backings::Wish::kServer, AccessOf(flags));
  if (file.ok()) {
    backings_.Release(node, (*file)->backing, AccessOf((*file)->flags));
  }
  files_.Adopt(fh, again);
  return again;
}

Result<Ops::FilePtr> Ops::Woken(Fh fh, const OpenFile& asleep) {
  auto awake = std::make_shared<OpenFile>();
  awake->flags = asleep.flags;
  awake->node = asleep.node;
  awake->backing = asleep.backing;
  awake->record = asleep.record;
  ASSIGN_OR_RETURN(Nodes::Opened opened,
                   nodes_.Open(asleep.node, asleep.flags));
  StopAppending(opened.fd, awake->flags);
  awake->fd = std::move(opened.fd);
  return files_.Wake(fh, std::move(awake));
}

void Ops::Restore(std::atomic<uint64_t>& highest) {
  backings_.CountHighest(highest);
  std::vector<BackingId> closing;
  files_.Restore([&](const OpenFile& file, OpenFiles::Left left) {
    if (left == OpenFiles::Left::kOpen) {
      backings_.Restore(file.node, file.backing, AccessOf(file.flags));
    } else if (file.backing != kNoBacking) {
      closing.push_back(file.backing);
    }
  });
  backings_.Sweep(closing);
  locks_.Restore();
}

void Ops::Close(const OpenFile& file) {
  files_.Closing(file);
  backings_.Release(file.node, file.backing, AccessOf(file.flags));
  files_.Closed(file);
}

void Ops::CloseEarlier(OpContext context) {
  if (!context.intent->is_again()) return;
  if (auto fh = files_.OfRequest(context.intent->unique())) CloseUnused(*fh);
}

Result<abi::OpenOut> Ops::Opened(OpContext context, NodeId node, UniqueFd fd,
                                 int flags, uint32_t mode) {
  CloseEarlier(context);
  const int host_flags = flags;
  StopAppending(fd, flags);
  auto file = std::make_shared<OpenFile>();
  file->fd = std::move(fd);
  file->flags = flags;
  file->node = node;
  // A set-id file never goes past the server: only then are the bits cleared
  // and kept as on the host, by root and by users.
  auto wish =
      policy_.passthrough && S_ISREG(mode) && (mode & (S_ISUID | S_ISGID)) == 0
          ? Backings::Wish::kPassthrough
          : Backings::Wish::kServer;
  file->backing = backings_.Open(node, file->fd, wish, AccessOf(flags));
  abi::OpenOut out{};
  out.backing_id = Raw(file->backing);
  if (file->backing != kNoBacking) {
    out.open_flags |= fopen::kPassthrough;
  } else if (policy_.keep_cache) {
    out.open_flags |= fopen::kKeepCache;
  }
  // POSIX locks on the host are let go by FLUSH; without them it tells nothing.
  if (!policy_.host_locks) out.open_flags |= fopen::kNoflush;
  BackingId backing = file->backing;
  context.intent->Mark({});
  auto fh =
      files_.Insert(std::move(file), host_flags, context.intent->unique());
  if (!fh.ok()) {
    backings_.Release(node, backing, AccessOf(flags));
    return fh.error();
  }
  out.fh = Raw(*fh);
  return out;
}

Result<abi::OpenOut> Ops::Open(OpContext context,
                               const Req<Opcode::kOpen>& request) {
  if (context.chain != nullptr && context.chain->made) {
    return Opened(context, request.node(), std::move(context.chain->made),
                  context.chain->made_flags, S_IFREG);
  }
  int flags = HostFlags(request.in.flags);
  // Breaking another process's lease can take long. O_NONBLOCK has no other
  // effect on a regular file.
  int try_flags = context.place == Place::kReader ? O_NONBLOCK : 0;
  ASSIGN_OR_RETURN(SharedFd path, nodes_.Resolve(request.node()));
  SetIdScope set_id(BitsFor(request.in.open_flags, flags), *path,
                    CallerOf(request.header));
  auto opened = nodes_.Open(request.node(), flags | try_flags);
  if (!opened.ok()) {
    bool would_wait = opened.error() == Errno(EWOULDBLOCK) && try_flags != 0 &&
                      (flags & O_NONBLOCK) == 0;
    return would_wait ? kWouldWait : opened.error();
  }
  return Opened(context, request.node(), std::move(opened->fd),
                flags & ~O_TRUNC, opened->stx.stx_mode);
}

Result<abi::CreateOut> Ops::Created(OpContext context,
                                    const Nodes::Entry& entry, UniqueFd fd,
                                    int flags) {
  auto open =
      Opened(context, entry.id, std::move(fd), flags, entry.stx.stx_mode);
  if (!open.ok()) {
    nodes_.Forget(entry.id, 1);
    return open.error();
  }
  return abi::CreateOut{.entry = ToEntryOut(entry), .open = *open};
}

Result<UniqueFd> Ops::MakeFile(OpContext context, BorrowedFd dir,
                               const char* name, const abi::CreateIn& in,
                               const abi::InHeader& header,
                               const proto::Extensions& ext) {
  SetThreadUmask(in.umask);
  UniqueFd fd;
  context.intent->Mark({});
  const int flags = HostFlags(in.flags) & ~O_TRUNC;
  ASSIGN_OR_RETURN(fd, OpenMadeEarlier(context, dir, name, flags, header.uid));
  if (!fd) {
    AsCaller caller(header.uid, header.gid, ext.group);
    // Always exclusive: the kernel has checked the rights to make a file, not
    // those to open one that somebody made meanwhile.
    fd = UniqueFd(openat(dir.get(), name,
                         flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                         in.mode & 07777));
    if (!fd) {
      // ESTALE makes the kernel look the name up again, and then it opens what
      // is there with all its checks.
      bool exclusive = (in.flags & O_EXCL) != 0;
      if (errno == EEXIST && !exclusive) return Errno(ESTALE);
      return LastErrno();
    }
  }
  PassFailpoint("made");
  if (ext.secctx && !ext.secctx->value.empty()) {
    Status status = SetXattrAt(nodes_.proc_fds(), fd, ext.secctx->name.c_str(),
                               ext.secctx->value, 0);
    if (!status.ok()) {
      Unmake(dir, name, fd);
      return status.error();
    }
  }
  return fd;
}

Result<UniqueFd> Ops::OpenMadeEarlier(OpContext context, BorrowedFd dir,
                                      const char* name, int flags,
                                      uid_t caller) const {
  const Journal::Earlier* earlier = context.intent->earlier();
  if (earlier == nullptr) return UniqueFd();
  // What is opened must be what was looked at: never a FIFO or a device.
  UniqueFd path(openat(dir.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!path || !IsMadeSince(*earlier, path, "", S_IFREG, caller)) {
    return UniqueFd();
  }
  UniqueFd fd(openat(nodes_.proc_fds().get(), absl::StrCat(path.get()).c_str(),
                     flags | O_CLOEXEC));
  if (!fd) return LastErrno();
  return fd;
}

void Ops::Unmake(BorrowedFd dir, const char* name, BorrowedFd file) {
  // Not what somebody on the host has put there meanwhile.
  struct stat made, there;
  if (fstat(file.get(), &made) != 0 ||
      fstatat(dir.get(), name, &there, AT_SYMLINK_NOFOLLOW) != 0 ||
      made.st_ino != there.st_ino || made.st_dev != there.st_dev) {
    return;
  }
  unlinkat(dir.get(), name, 0);
}

Result<abi::CreateOut> Ops::Create(OpContext context,
                                   const Req<Opcode::kCreate>& request) {
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  const char* name = request.text.c_str();
  ASSIGN_OR_RETURN(UniqueFd fd, MakeFile(context, *dir, name, request.in,
                                         request.header, request.ext));
  auto entry = nodes_.LookupMade(fd, *dir, request.node(), name);
  if (!entry.ok()) {
    Unmake(*dir, name, fd);
    return entry.error();
  }
  return Created(context, *entry, std::move(fd),
                 HostFlags(request.in.flags) & ~O_TRUNC);
}

Status Ops::MkobjHandle(OpContext context,
                        const Req<Opcode::kMkobjHandle>& request,
                        ReplyBuffer& out) {
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  const char* name = request.text.c_str();
  if (request.in.mode != 0 && !S_ISREG(request.in.mode)) return Errno(EINVAL);
  ASSIGN_OR_RETURN(UniqueFd fd, MakeFile(context, *dir, name, request.in,
                                         request.header, request.ext));
  auto entry = nodes_.LookupMade(fd, *dir, request.node(), name);
  if (!entry.ok()) {
    Unmake(*dir, name, fd);
    return entry.error();
  }
  if (context.chain != nullptr) {
    context.chain->made = std::move(fd);
    context.chain->made_flags = HostFlags(request.in.flags) & ~O_TRUNC;
  }
  PutEntry(*entry, out);
  return Ok();
}

Result<abi::CreateOut> Ops::Tmpfile(OpContext context,
                                    const Req<Opcode::kTmpfile>& request) {
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  int flags = HostFlags(request.in.flags) & ~O_TRUNC;
  // O_EXCL says that the file may never get a name.
  int exclusive = static_cast<int>(request.in.flags) & O_EXCL;
  SetThreadUmask(request.in.umask);
  UniqueFd fd;
  {
    AsCaller caller(request.header.uid, request.header.gid, request.ext.group);
    fd = UniqueFd(openat(dir->get(), ".",
                         flags | exclusive | O_TMPFILE | O_CLOEXEC,
                         request.in.mode & 07777));
    if (!fd) return LastErrno();
  }
  if (request.ext.secctx && !request.ext.secctx->value.empty()) {
    RETURN_IF_ERROR(SetXattrAt(nodes_.proc_fds(), fd,
                               request.ext.secctx->name.c_str(),
                               request.ext.secctx->value, 0));
  }
  ASSIGN_OR_RETURN(Nodes::Entry entry, nodes_.AdoptNameless(fd));
  return Created(context, entry, std::move(fd), flags);
}

void Ops::CloseUnused(Fh fh) {
  auto file = files_.Remove(fh);
  if (file.ok()) Close(**file);
}

void Ops::ForgetTimes(const OpenFile& file) {
  if (file.backing == kNoBacking ||
      AccessOf(file.flags) == Backings::Access::kRead) {
    return;
  }
  // ENOENT: the kernel does not know the node any more, all the better.
  (void)connection_.Notify(InvalAttributes(file.node)).ok();
}

Status Ops::Flush(OpContext context, const Req<Opcode::kFlush>& request) {
  // Whatever happens, the owner's locks on the file are gone.
  if (policy_.host_locks &&
      locks_.DropOwner(request.node(), LockOwner{request.in.lock_owner})) {
    waiters_.Wake(request.node());
  }
  auto file = files_.Find(Fh{request.in.fh});
  if (!file.ok()) {
    return files_.IsForeign(Fh{request.in.fh}) ? Ok() : Status(file.error());
  }
  ForgetTimes(**file);
  if ((*file)->fd && nodes_.FsOf(request.node()).is_remote) {
    // Network file systems report what went wrong with writes at close.
    if (context.place == Place::kReader) return kWouldWait;
    UniqueFd copy(fcntl((*file)->fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) return LastErrno();
    return Check(close(copy.release()));
  }
  return Ok();
}

Status Ops::Release(OpContext, const Req<Opcode::kRelease>& request) {
  Fh fh{request.in.fh};
  auto removed = files_.Remove(fh);
  if (!removed.ok()) {
    return files_.IsForeign(fh) ? Ok() : Status(removed.error());
  }
  const OpenFile& file = **removed;
  if (policy_.host_locks) {
    bool woke = locks_.DropFh(file.node, fh);
    // A description that the keeper has too does not let go by itself.
    if ((request.in.release_flags & kReleaseFlockUnlock) != 0 || file.is_kept) {
      flock(file.flock_fd().get(), LOCK_UN);
      woke = true;
    }
    if (woke) waiters_.Wake(file.node);
  }
  ForgetTimes(file);
  Close(file);
  return Ok();
}

Status Ops::Fsync(OpContext context, const Req<Opcode::kFsync>& request) {
  ASSIGN_OR_RETURN(FilePtr file,
                   FileOf(Fh{request.in.fh}, request.node(), O_RDONLY));
  if (context.place == Place::kReader &&
      !nodes_.FsOf(request.node()).is_memory) {
    return kWouldWait;
  }
  bool data_only = (request.in.fsync_flags & kFsyncFdatasync) != 0;
  int fd = file->fd.get();
  RETURN_IF_ERROR(Check(data_only ? fdatasync(fd) : fsync(fd)));
  ForgetTimes(*file);
  return Ok();
}

Status Ops::Syncfs(OpContext context, const Req<Opcode::kSyncfs>& request) {
  if (context.place == Place::kReader) return kWouldWait;
  ASSIGN_OR_RETURN(Nodes::Opened opened,
                   nodes_.Open(request.node(), O_RDONLY | O_NONBLOCK));
  return Check(syncfs(opened.fd.get()));
}

}  // namespace handlefs

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "daemon/ops.h"

namespace handlefs {
namespace {

using namespace proto;  // NOLINT: the names of flags

bool IsDots(const char* name) {
  return std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0;
}

// No room for the next entry. An empty page would mean the end of the
// directory, so a page too small for one entry is an error, as in getdents(2).
Status PageFull(const ReplyBuffer& out) {
  return out.size() > 0 ? Ok() : Status(Errno(EINVAL));
}

Result<uint64_t> DevOfFd(BorrowedFd fd) {
  struct statx stx;
  if (statx(fd.get(), "", AT_EMPTY_PATH, STATX_INO, &stx) != 0) {
    return LastErrno();
  }
  return DevOf(stx);
}

}  // namespace

Result<abi::OpenOut> Ops::Opendir(OpContext context,
                                  const Req<Opcode::kOpendir>& request) {
  // The kernel takes it as "open" and "keep what is cached", for all
  // directories from now on. Who may read one it has checked by the mode.
  if (policy_.no_opendir) return Errno(ENOSYS);
  const int flags =
      O_RDONLY | O_DIRECTORY | (static_cast<int>(request.in.flags) & O_NOATIME);
  ASSIGN_OR_RETURN(Nodes::Opened opened, nodes_.Open(request.node(), flags));
  auto file = std::make_shared<OpenFile>();
  file->fd = std::move(opened.fd);
  file->flags = flags;
  file->node = request.node();
  abi::OpenOut out{};
  if (policy_.keep_cache) {
    out.open_flags |= fopen::kCacheDir | fopen::kKeepCache;
  }
  CloseEarlier(context);
  context.intent->Mark({});
  ASSIGN_OR_RETURN(
      Fh fh, files_.Insert(std::move(file), flags, context.intent->unique()));
  out.fh = Raw(fh);
  return out;
}

Result<Ops::FilePtr> Ops::DirOf(Fh fh, NodeId node) {
  // Whether the reader gave O_NOATIME is not known. Most listings come from the
  // kernel's cache and leave the host's atime alone; so do all.
  return FileOf(fh, node, policy_.no_opendir ? O_NOATIME : O_RDONLY);
}

Status Ops::Readdir(OpContext, const Req<Opcode::kReaddir>& request,
                    ReplyBuffer& out) {
  ASSIGN_OR_RETURN(FilePtr file, DirOf(Fh{request.in.fh}, request.node()));
  const size_t limit = std::min<size_t>(request.in.size, out.capacity());
  absl::MutexLock lock(&file->dir_mutex);
  RETURN_IF_ERROR(file->dir.Seek(file->fd, request.in.offset));
  ASSIGN_OR_RETURN(uint64_t dev, DevOfFd(file->fd));
  while (true) {
    auto item = file->dir.Peek(file->fd);
    if (!item.ok()) return out.size() > 0 ? Ok() : Status(item.error());
    if (!*item) return Ok();
    const DirStream::Item& entry = **item;
    DirEntry wire{.ino = nodes_.ShownIno(dev, entry.ino, file->fd),
                  .off = entry.next,
                  .type = entry.type,
                  .name = {entry.name, entry.name_size}};
    if (!AddDirent(out, limit, wire)) return PageFull(out);
    file->dir.Advance();
  }
}

Status Ops::Readdirplus(OpContext, const Req<Opcode::kReaddirplus>& request,
                        ReplyBuffer& out) {
  ASSIGN_OR_RETURN(FilePtr file, DirOf(Fh{request.in.fh}, request.node()));
  const size_t limit = std::min<size_t>(request.in.size, out.capacity());
  absl::MutexLock lock(&file->dir_mutex);
  RETURN_IF_ERROR(file->dir.Seek(file->fd, request.in.offset));
  ASSIGN_OR_RETURN(uint64_t dev, DevOfFd(file->fd));
  while (true) {
    auto item = file->dir.Peek(file->fd);
    if (!item.ok()) return out.size() > 0 ? Ok() : Status(item.error());
    if (!*item) return Ok();
    const DirStream::Item& entry = **item;
    // Before the lookup, so that none is counted for an entry that does not
    // fit.
    if (out.size() + DirentplusSize(entry.name_size) > limit) {
      return PageFull(out);
    }
    DirEntry wire{.ino = nodes_.ShownIno(dev, entry.ino, file->fd),
                  .off = entry.next,
                  .type = entry.type,
                  .name = {entry.name, entry.name_size}};
    abi::EntryOut node{};
    if (!IsDots(entry.name)) {
      // A name that went away meanwhile, or no descriptor left for the node:
      // the plain entry is still right, and the kernel looks it up if it must.
      auto found = nodes_.LookupIn(file->fd, request.node(), entry.name);
      if (found.ok()) {
        node = ToEntryOut(*found);
        wire.ino = found->ino;
        wire.type = IFTODT(found->stx.stx_mode);
      }
    }
    AddDirentplus(out, limit, wire, node);
    file->dir.Advance();
  }
}

Status Ops::Releasedir(OpContext, const Req<Opcode::kReleasedir>& request) {
  Fh fh{request.in.fh};
  auto removed = files_.Remove(fh);
  if (!removed.ok()) {
    return files_.IsForeign(fh) ? Ok() : Status(removed.error());
  }
  // What is known from an earlier server, and what FileOf opened again, is
  // counted as an open file.
  if (files_.IsForeign(fh)) {
    Close(**removed);
  } else {
    files_.Closed(**removed);
  }
  return Ok();
}

Status Ops::Fsyncdir(OpContext context, const Req<Opcode::kFsyncdir>& request) {
  ASSIGN_OR_RETURN(FilePtr file, DirOf(Fh{request.in.fh}, request.node()));
  if (context.place == Place::kReader &&
      !nodes_.FsOf(request.node()).is_memory) {
    return kWouldWait;
  }
  bool data_only = (request.in.fsync_flags & kFsyncFdatasync) != 0;
  int fd = file->fd.get();
  return Check(data_only ? fdatasync(fd) : fsync(fd));
}

}  // namespace handlefs

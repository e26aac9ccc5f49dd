#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "daemon/ops.h"
#include "daemon/restart/failpoint.h"
#include "daemon/xattr_at.h"

namespace handlefs {

using proto::EntryShape;

Ops::Ops(Nodes& nodes, OpenFiles& files, io::Connection& connection,
         Vault* vault)
    : nodes_(nodes),
      files_(files),
      connection_(connection),
      backings_(&connection),
      locks_(vault),
      waiters_(ThreadStart) {}

Validity Ops::AttrValidity(NodeId node) {
  // Times and size of a file that is written past the server are not to be
  // believed for long; a second is what cache=auto gives.
  if (policy_.attr.seconds > 1 && backings_.IsWritten(node)) {
    return {.seconds = 1, .nanoseconds = 0};
  }
  return policy_.attr;
}

abi::EntryOut Ops::ToEntryOut(const Nodes::Entry& entry) {
  Validity attr = AttrValidity(entry.id);
  return {.nodeid = Raw(entry.id),
          .generation = entry.generation,
          .entry_valid = policy_.entry.seconds,
          .attr_valid = attr.seconds,
          .entry_valid_nsec = policy_.entry.nanoseconds,
          .attr_valid_nsec = attr.nanoseconds,
          .attr = ToAttr(entry.stx, entry.ino)};
}

void Ops::PutEntry(const Nodes::Entry& entry, ReplyBuffer& out) {
  // The kernel (RFC v3) takes the name's lifetime for that of the attributes
  // too when it revalidates: they are one.
  const Validity valid = AttrValidity(entry.id);
  if (policy_.entry_shape == EntryShape::kInline) {
    out.Put(abi::EntryHandleOut{.nodeid = Raw(entry.id),
                                .generation = entry.generation,
                                .entry_valid = valid.seconds,
                                .attr_valid = valid.seconds,
                                .entry_valid_nsec = valid.nanoseconds,
                                .attr_valid_nsec = valid.nanoseconds,
                                .stat = ToStatx(entry.stx, entry.ino)});
  } else {
    out.Put(abi::Entry2Out{.nodeid = Raw(entry.id),
                           .generation = entry.generation,
                           .entry_valid = valid.seconds,
                           .entry_valid_nsec = valid.nanoseconds,
                           .flags = 0,
                           .spare = 0});
  }
  // The size is always there, also 0: the kernel would take what comes next.
  NodeHandle handle = nodes_.HandleOf(entry.id);
  out.Put(abi::FileHandle{.size = handle.size});
  out.PutBytes(handle.view());
}

Result<Nodes::Entry> Ops::LookupDots(NodeId node, bool self) {
  // "." and ".." come from handles of the mount alone.
  if (!policy_.exported) return Errno(ESTALE);
  return self ? nodes_.LookupSelf(node) : nodes_.LookupParent(node);
}

Result<abi::EntryOut> Ops::Lookup(OpContext context,
                                  const Req<Opcode::kLookup>& request) {
  const char* name = request.text.c_str();
  bool self = request.text.view() == ".";
  if (self || request.text.view() == "..") {
    ASSIGN_OR_RETURN(Nodes::Entry entry, LookupDots(request.node(), self));
    return ToEntryOut(entry);
  }
  auto entry = nodes_.Lookup(request.node(), name);
  if (entry.ok()) return ToEntryOut(*entry);
  const Validity& negative = policy_.negative;
  // What follows in a compound would be about node 0.
  if (entry.error() == Errno(ENOENT) && context.chain == nullptr &&
      (negative.seconds != 0 || negative.nanoseconds != 0)) {
    abi::EntryOut out{};  // nodeid 0: there is no such name
    out.entry_valid = negative.seconds;
    out.entry_valid_nsec = negative.nanoseconds;
    return out;
  }
  return entry.error();
}

Status Ops::LookupHandle(OpContext, const Req<Opcode::kLookupHandle>& request,
                         ReplyBuffer& out) {
  bool self = request.text.view() == ".";
  auto entry = self || request.text.view() == ".."
                   ? LookupDots(request.node(), self)
                   : nodes_.Lookup(request.node(), request.text.c_str());
  if (!entry.ok()) return entry.error();
  PutEntry(*entry, out);
  return Ok();
}

void Ops::Forget(OpContext, const Req<Opcode::kForget>& request) {
  nodes_.Forget(request.node(), request.in.nlookup);
}

void Ops::BatchForget(OpContext, const Req<Opcode::kBatchForget>& request) {
  proto::Cursor cursor(request.data);
  for (uint32_t i = 0; i < request.in.count; ++i) {
    auto one = cursor.Take<abi::ForgetOne>();
    if (!one) return;
    nodes_.Forget(NodeId{one->nodeid}, one->nlookup);
  }
}

Status Ops::ApplyContext(const proto::Extensions& ext, BorrowedFd dir,
                         const char* name, mode_t type) {
  if (!ext.secctx || ext.secctx->value.empty()) return Ok();
  UniqueFd fd(openat(dir.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!fd || fstat(fd.get(), &st) != 0) return LastErrno();
  if ((st.st_mode & S_IFMT) != type) return Errno(ENOENT);
  return SetXattrAt(nodes_.proc_fds(), fd, ext.secctx->name.c_str(),
                    ext.secctx->value, 0);
}

abi::EntryOut Ops::GoneEntry(OpContext context, mode_t type) {
  // Codecs make no ids below 2^33. The request's number makes it one that no
  // other entry has which the kernel still knows.
  constexpr uint64_t kGone = uint64_t{1} << 32;
  const uint64_t id =
      kGone | static_cast<uint32_t>(Raw(context.intent->unique()) >> 1);
  abi::EntryOut out{};  // valid for no time
  out.nodeid = id;
  out.attr.ino = id;
  out.attr.mode = type;
  out.attr.nlink = 1;
  return out;
}

Result<abi::EntryOut> Ops::Made(OpContext context, BorrowedFd dir_fd,
                                NodeId dir, const char* name, mode_t type,
                                const proto::Extensions& ext) {
  PassFailpoint("made");
  auto look = [&]() -> Result<Nodes::Entry> {
    RETURN_IF_ERROR(ApplyContext(ext, dir_fd, name, type));
    ASSIGN_OR_RETURN(Nodes::Entry entry, nodes_.LookupIn(dir_fd, dir, name));
    if ((entry.stx.stx_mode & S_IFMT) == type) return entry;
    nodes_.Forget(entry.id, 1);
    return Errno(ENOENT);
  };
  auto entry = look();
  if (entry.ok()) return ToEntryOut(*entry);
  if (entry.error() != Errno(ENOENT)) return entry.error();
  // A host process was faster: it is as if it came after the program's call,
  // which has succeeded. An error would be wrong (ESTALE makes the kernel do it
  // all a second time), and an entry of another type is EIO to the program. In
  // a compound the next part would be about it.
  if (context.chain != nullptr) return Errno(ESTALE);
  return GoneEntry(context, type);
}

bool Ops::MadeEarlier(OpContext context, BorrowedFd dir, const char* name,
                      mode_t type, uid_t caller) const {
  const Journal::Earlier* earlier = context.intent->earlier();
  return earlier != nullptr && IsMadeSince(*earlier, dir, name, type, caller);
}

bool Ops::IsMadeSince(const Journal::Earlier& earlier, BorrowedFd file,
                      const char* name, mode_t type, uid_t caller) {
  struct statx stx;
  const int empty = *name == '\0' ? AT_EMPTY_PATH : 0;
  if (statx(file.get(), name, empty | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
            STATX_BASIC_STATS | STATX_BTIME, &stx) != 0) {
    return false;
  }
  // Without a time of birth the last change has to do.
  const statx_timestamp& since =
      (stx.stx_mask & STATX_BTIME) != 0 ? stx.stx_btime : stx.stx_ctime;
  // Nobody is told that a file is his which a host process made for another.
  // (Who is root may have all, also where the host does not store owners.)
  if (caller != 0 && stx.stx_uid != caller) return false;
  if ((stx.stx_mode & S_IFMT) != type) return false;
  // The file system may have no fractions of seconds.
  if (since.tv_nsec == 0) return since.tv_sec >= earlier.began_ns / 1000000000;
  return since.tv_sec * 1000000000 + since.tv_nsec >= earlier.began_ns;
}

Result<abi::EntryOut> Ops::Mkdir(OpContext context,
                                 const Req<Opcode::kMkdir>& request) {
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  const char* name = request.text.c_str();
  SetThreadUmask(request.in.umask);
  context.intent->Mark({});
  if (!MadeEarlier(context, *dir, name, S_IFDIR, request.header.uid)) {
    AsCaller caller(request.header.uid, request.header.gid, request.ext.group);
    RETURN_IF_ERROR(Check(mkdirat(dir->get(), name, request.in.mode)));
  }
  return Made(context, *dir, request.node(), name, S_IFDIR, request.ext);
}

Result<abi::EntryOut> Ops::Mknod(OpContext context,
                                 const Req<Opcode::kMknod>& request) {
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  const char* name = request.text.c_str();
  SetThreadUmask(request.in.umask);
  context.intent->Mark({});
  mode_t type = request.in.mode & S_IFMT;
  if (type == 0) type = S_IFREG;
  if (!MadeEarlier(context, *dir, name, type, request.header.uid)) {
    AsCaller caller(request.header.uid, request.header.gid, request.ext.group,
                    AsCaller::Extra::kMknod);
    RETURN_IF_ERROR(Check(mknodat(dir->get(), name, request.in.mode,
                                  DecodeDev(request.in.rdev))));
  }
  return Made(context, *dir, request.node(), name, type, request.ext);
}

Result<abi::EntryOut> Ops::Symlink(OpContext context,
                                   const Req<Opcode::kSymlink>& request) {
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  const char* name = request.text.c_str();
  context.intent->Mark({});
  if (!MadeEarlier(context, *dir, name, S_IFLNK, request.header.uid)) {
    AsCaller caller(request.header.uid, request.header.gid, request.ext.group);
    RETURN_IF_ERROR(Check(symlinkat(request.text2.c_str(), dir->get(), name)));
  }
  return Made(context, *dir, request.node(), name, S_IFLNK, request.ext);
}

Result<abi::EntryOut> Ops::Linked(NodeId node, BorrowedFd file, NodeId dir,
                                  const char* name) {
  PassFailpoint("made");
  nodes_.GotName(node, file, dir, name);
  // Not of the name, which a host process can have given to another file.
  ASSIGN_OR_RETURN(Nodes::Entry entry, nodes_.LookupKnown(node, file));
  return ToEntryOut(entry);
}

Result<abi::EntryOut> Ops::Link(OpContext context,
                                const Req<Opcode::kLink>& request) {
  NodeId old{request.in.oldnodeid};
  ASSIGN_OR_RETURN(SharedFd file, nodes_.Resolve(old));
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  const char* name = request.text.c_str();
  context.intent->Mark({});
  if (context.intent->earlier() != nullptr) {
    uint64_t there = nodes_.Fingerprint(*dir, name);
    if (there != 0 && there == nodes_.Fingerprint(*file, "")) {
      return Linked(old, *file, request.node(), name);
    }
  }
  int rc = linkat(file->get(), "", dir->get(), name, AT_EMPTY_PATH);
  if (rc != 0 && errno == ENOENT) {
    // AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH before 6.10; by the magic link
    // anybody may.
    char path[32];
    std::snprintf(path, sizeof(path), "/proc/self/fd/%d", file->get());
    rc = linkat(AT_FDCWD, path, dir->get(), name, AT_SYMLINK_FOLLOW);
  }
  RETURN_IF_ERROR(Check(rc));
  return Linked(old, *file, request.node(), name);
}

Status Ops::Remove(OpContext context, NodeId dir, const char* name, int flags) {
  ASSIGN_OR_RETURN(SharedFd dir_fd, nodes_.ResolveDir(dir));
  Nodes::Victim victim = nodes_.LookAtVictim(*dir_fd, name);
  if (const Journal::Earlier* earlier = context.intent->earlier()) {
    // Another file of that name can only have come after the first was gone.
    if (earlier->before.first != 0 &&
        victim.fingerprint != earlier->before.first) {
      return Ok();
    }
  }
  context.intent->Mark({.first = victim.fingerprint});
  if (flags == AT_REMOVEDIR || backings_.IsOpen(victim.id)) {
    nodes_.KeepAhead(victim);
  }
  Status status = Check(unlinkat(dir_fd->get(), name, flags));
  if (status.ok()) {
    nodes_.LostName(victim);
  } else {
    nodes_.KeptName(victim);
  }
  return status;
}

Status Ops::Unlink(OpContext context, const Req<Opcode::kUnlink>& request) {
  return Remove(context, request.node(), request.text.c_str(), 0);
}

Status Ops::Rmdir(OpContext context, const Req<Opcode::kRmdir>& request) {
  return Remove(context, request.node(), request.text.c_str(), AT_REMOVEDIR);
}

Status Ops::Move(OpContext context, NodeId from, const char* from_name,
                 NodeId to, const char* to_name, uint32_t flags,
                 const abi::InHeader& header) {
  ASSIGN_OR_RETURN(SharedFd from_fd, nodes_.ResolveDir(from));
  ASSIGN_OR_RETURN(SharedFd to_fd, nodes_.ResolveDir(to));
  Nodes::Victim victim;
  const bool replaces = (flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)) == 0;
  if (replaces) victim = nodes_.LookAtVictim(*to_fd, to_name);
  bool is_done = false;
  if (context.intent->is_kept()) {
    uint64_t moved = nodes_.Fingerprint(*from_fd, from_name);
    if (const Journal::Earlier* earlier = context.intent->earlier()) {
      // Still there under its old name, or never: nothing was done.
      is_done = earlier->before.first != 0 && moved != earlier->before.first;
    }
    context.intent->Mark({.first = moved, .second = victim.fingerprint});
  }
  Status status = Ok();
  if (!is_done) {
    if (victim.fd && backings_.IsOpen(victim.id)) {
      nodes_.KeepAhead(victim);
    }
    auto rename = [&] {
      return Check(
          renameat2(from_fd->get(), from_name, to_fd->get(), to_name, flags));
    };
    if ((flags & RENAME_WHITEOUT) != 0) {
      // It leaves a device node behind, which is the caller's.
      AsCaller caller(header.uid, header.gid, std::nullopt,
                      AsCaller::Extra::kMknod);
      status = rename();
    } else {
      status = rename();
    }
    if (!status.ok()) {
      nodes_.KeptName(victim);
      return status;
    }
    nodes_.LostName(victim);
  }
  nodes_.Moved(to, *to_fd, to_name);
  if ((flags & RENAME_EXCHANGE) != 0) nodes_.Moved(from, *from_fd, from_name);
  return Ok();
}

Status Ops::Rename(OpContext context, const Req<Opcode::kRename>& request) {
  return Move(context, request.node(), request.text.c_str(),
              NodeId{request.in.newdir}, request.text2.c_str(), 0,
              request.header);
}

Status Ops::Rename2(OpContext context, const Req<Opcode::kRename2>& request) {
  return Move(context, request.node(), request.text.c_str(),
              NodeId{request.in.newdir}, request.text2.c_str(),
              request.in.flags, request.header);
}

void Ops::TakeBack(const proto::RawRequest& request, proto::Bytes payload,
                   Undo what) {
  const proto::OpRow* row = proto::FindRow(request.header.opcode);
  const bool makes_entry = (row->flags & proto::kMakesEntry) != 0;
  proto::Cursor cursor(payload);
  // Names first: the pin of a file that loses its last name counts lookups.
  if (what == Undo::kNames && makes_entry &&
      (row->flags & proto::kMutates) != 0 && row->op != Opcode::kTmpfile) {
    proto::Cursor text(request.tail);
    auto name = text.TakeText(proto::Text::kName);
    auto dir = nodes_.ResolveDir(NodeId{request.header.nodeid});
    if (name.ok() && dir.ok()) {
      Nodes::Victim victim = nodes_.LookAtVictim(**dir, name->c_str());
      int flags = row->op == Opcode::kMkdir ? AT_REMOVEDIR : 0;
      if (unlinkat((*dir)->get(), name->c_str(), flags) == 0) {
        nodes_.LostName(victim);
      }
    }
  }
  std::optional<abi::OpenOut> open;
  if (row->op == Opcode::kOpen || row->op == Opcode::kOpendir) {
    open = cursor.Take<abi::OpenOut>();
  } else if (row->op == Opcode::kCreate || row->op == Opcode::kTmpfile) {
    auto create = cursor.Take<abi::CreateOut>();
    if (create) open = create->open;
  }
  if (open) CloseUnused(Fh{open->fh});
  if (makes_entry) {
    if (auto id = proto::Cursor(payload).Take<uint64_t>()) {
      nodes_.Forget(NodeId{*id}, 1);
    }
  }
}

}  // namespace handlefs

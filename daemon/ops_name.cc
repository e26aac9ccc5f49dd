#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "daemon/ops.h"
#include "daemon/xattr_at.h"

namespace handlefs {

using proto::EntryShape;

Ops::Ops(Nodes& nodes, OpenFiles& files, io::Connection& connection)
    : nodes_(nodes),
      files_(files),
      connection_(connection),
      backings_(&connection),
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
                         const char* name) {
  if (!ext.secctx || ext.secctx->value.empty()) return Ok();
  UniqueFd fd(openat(dir.get(), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return LastErrno();
  return SetXattrAt(nodes_.proc_fds(), fd, ext.secctx->name.c_str(),
                    ext.secctx->value, 0);
}

Result<abi::EntryOut> Ops::Made(BorrowedFd dir_fd, NodeId dir, const char* name,
                                const proto::Extensions& ext) {
  RETURN_IF_ERROR(ApplyContext(ext, dir_fd, name));
  ASSIGN_OR_RETURN(Nodes::Entry entry, nodes_.LookupIn(dir_fd, dir, name));
  return ToEntryOut(entry);
}

Result<abi::EntryOut> Ops::Mkdir(OpContext,
                                 const Req<Opcode::kMkdir>& request) {
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  const char* name = request.text.c_str();
  SetThreadUmask(request.in.umask);
  {
    AsCaller caller(request.header.uid, request.header.gid, request.ext.group);
    RETURN_IF_ERROR(Check(mkdirat(dir->get(), name, request.in.mode)));
  }
  return Made(*dir, request.node(), name, request.ext);
}

Result<abi::EntryOut> Ops::Mknod(OpContext,
                                 const Req<Opcode::kMknod>& request) {
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  const char* name = request.text.c_str();
  SetThreadUmask(request.in.umask);
  {
    AsCaller caller(request.header.uid, request.header.gid, request.ext.group,
                    AsCaller::Extra::kMknod);
    RETURN_IF_ERROR(Check(mknodat(dir->get(), name, request.in.mode,
                                  DecodeDev(request.in.rdev))));
  }
  return Made(*dir, request.node(), name, request.ext);
}

Result<abi::EntryOut> Ops::Symlink(OpContext,
                                   const Req<Opcode::kSymlink>& request) {
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  const char* name = request.text.c_str();
  {
    AsCaller caller(request.header.uid, request.header.gid, request.ext.group);
    RETURN_IF_ERROR(Check(symlinkat(request.text2.c_str(), dir->get(), name)));
  }
  return Made(*dir, request.node(), name, request.ext);
}

Result<abi::EntryOut> Ops::Link(OpContext, const Req<Opcode::kLink>& request) {
  NodeId old{request.in.oldnodeid};
  ASSIGN_OR_RETURN(SharedFd file, nodes_.Resolve(old));
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  const char* name = request.text.c_str();
  int rc = linkat(file->get(), "", dir->get(), name, AT_EMPTY_PATH);
  if (rc != 0 && errno == ENOENT) {
    // AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH before 6.10; by the magic link
    // anybody may.
    char path[32];
    std::snprintf(path, sizeof(path), "/proc/self/fd/%d", file->get());
    rc = linkat(AT_FDCWD, path, dir->get(), name, AT_SYMLINK_FOLLOW);
  }
  RETURN_IF_ERROR(Check(rc));
  nodes_.GotName(old);
  return Made(*dir, request.node(), name, {});
}

Status Ops::Unlink(OpContext, const Req<Opcode::kUnlink>& request) {
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  auto victim = nodes_.LookAtVictim(*dir, request.text.c_str());
  RETURN_IF_ERROR(Check(unlinkat(dir->get(), request.text.c_str(), 0)));
  if (victim) nodes_.LostName(*victim);
  return Ok();
}

Status Ops::Rmdir(OpContext, const Req<Opcode::kRmdir>& request) {
  ASSIGN_OR_RETURN(SharedFd dir, nodes_.ResolveDir(request.node()));
  auto victim = nodes_.LookAtVictim(*dir, request.text.c_str());
  RETURN_IF_ERROR(
      Check(unlinkat(dir->get(), request.text.c_str(), AT_REMOVEDIR)));
  if (victim) nodes_.LostName(*victim);
  return Ok();
}

Status Ops::Move(NodeId from, const char* from_name, NodeId to,
                 const char* to_name, uint32_t flags,
                 const abi::InHeader& header) {
  ASSIGN_OR_RETURN(SharedFd from_fd, nodes_.ResolveDir(from));
  ASSIGN_OR_RETURN(SharedFd to_fd, nodes_.ResolveDir(to));
  std::optional<Nodes::Victim> victim;
  if ((flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)) == 0) {
    victim = nodes_.LookAtVictim(*to_fd, to_name);
  }
  auto rename = [&] {
    return Check(
        renameat2(from_fd->get(), from_name, to_fd->get(), to_name, flags));
  };
  if ((flags & RENAME_WHITEOUT) != 0) {
    // It leaves a device node behind, which is the caller's.
    AsCaller caller(header.uid, header.gid, std::nullopt,
                    AsCaller::Extra::kMknod);
    RETURN_IF_ERROR(rename());
  } else {
    RETURN_IF_ERROR(rename());
  }
  if (victim) nodes_.LostName(*victim);
  nodes_.Moved(to, *to_fd, to_name);
  if ((flags & RENAME_EXCHANGE) != 0) nodes_.Moved(from, *from_fd, from_name);
  return Ok();
}

Status Ops::Rename(OpContext, const Req<Opcode::kRename>& request) {
  return Move(request.node(), request.text.c_str(), NodeId{request.in.newdir},
              request.text2.c_str(), 0, request.header);
}

Status Ops::Rename2(OpContext, const Req<Opcode::kRename2>& request) {
  return Move(request.node(), request.text.c_str(), NodeId{request.in.newdir},
              request.text2.c_str(), request.in.flags, request.header);
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
      auto victim = nodes_.LookAtVictim(**dir, name->c_str());
      int flags = row->op == Opcode::kMkdir ? AT_REMOVEDIR : 0;
      if (unlinkat((*dir)->get(), name->c_str(), flags) == 0 && victim) {
        nodes_.LostName(*victim);
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

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "daemon/ops.h"
#include "daemon/xattr_at.h"

namespace handlefs {
namespace {

using namespace proto;  // NOLINT: the names of flags

Result<struct statx> StatOf(BorrowedFd fd) {
  struct statx stx;
  if (statx(fd.get(), "", AT_EMPTY_PATH, STATX_GID, &stx) != 0) {
    return LastErrno();
  }
  return stx;
}

// Takes the names out that a caller without CAP_SYS_ADMIN does not see on the
// host. The kernel passes lists on as they are. Returns the new size.
size_t HideTrusted(std::span<std::byte> list) {
  char* begin = reinterpret_cast<char*>(list.data());
  char* end = begin + list.size();
  char* out = begin;
  for (char* name = begin; name < end;) {
    size_t size = strnlen(name, static_cast<size_t>(end - name)) + 1;
    if (!std::string_view(name, size - 1).starts_with("trusted.")) {
      std::memmove(out, name, size);
      out += size;
    }
    name += size;
  }
  return static_cast<size_t>(out - begin);
}

}  // namespace

Status Ops::Setxattr(OpContext context, const Req<Opcode::kSetxattr>& request) {
  if (request.in.size != request.data.size()) return Errno(EINVAL);
  ASSIGN_OR_RETURN(SharedFd fd, nodes_.Resolve(request.node()));
  const char* name = request.text.c_str();
  auto flags = static_cast<int>(request.in.flags);
  if ((flags & XATTR_CREATE) != 0 && context.intent->is_kept()) {
    // Done already, unless it was there before anything was done.
    const Journal::Earlier* earlier = context.intent->earlier();
    bool is_there = GetXattrAt(nodes_.proc_fds(), *fd, name, {}).ok();
    if (earlier != nullptr && is_there && earlier->before.size == 0) {
      return Ok();
    }
    context.intent->Mark({.size = is_there});
  }
  if ((request.in.setxattr_flags & kSetxattrAclKillSgid) != 0) {
    // The caller is outside the file's group: as on the host the ACL takes the
    // setgid bit away, which it does not for a server with all rights.
    AsCaller caller(0, request.header.gid, std::nullopt);
    SetIdScope set_id(SetIdScope::Bits::kClear, *fd, CallerOf(request.header));
    return SetXattrAt(nodes_.proc_fds(), *fd, name, request.data, flags);
  }
  return SetXattrAt(nodes_.proc_fds(), *fd, name, request.data, flags);
}

Result<size_t> Ops::XattrOf(NodeId node, const char* name,
                            std::span<std::byte> out) {
  // The first write to a new file asks for security.capability.
  if (auto file = files_.OfNode(node)) return GetXattr(file->fd, name, out);
  ASSIGN_OR_RETURN(SharedFd fd, nodes_.Resolve(node));
  return GetXattrAt(nodes_.proc_fds(), *fd, name, out);
}

Status Ops::Getxattr(OpContext, const Req<Opcode::kGetxattr>& request,
                     ReplyBuffer& out) {
  size_t room = std::min<size_t>(request.in.size, out.capacity());
  // For a buffer of nothing the host would tell the size.
  if (room == 0 && request.in.size != 0) return Errno(ERANGE);
  ASSIGN_OR_RETURN(size_t size, XattrOf(request.node(), request.text.c_str(),
                                        out.Space().first(room)));
  if (request.in.size == 0) {
    out.Put(
        abi::GetxattrOut{.size = static_cast<uint32_t>(size), .padding = 0});
  } else {
    out.Use(size);
  }
  return Ok();
}

Status Ops::Listxattr(OpContext, const Req<Opcode::kListxattr>& request,
                      ReplyBuffer& out) {
  ASSIGN_OR_RETURN(SharedFd fd, nodes_.Resolve(request.node()));
  // Read whole, because hidden names may not count towards the size.
  auto space = out.Space();
  ASSIGN_OR_RETURN(size_t size, ListXattrAt(nodes_.proc_fds(), *fd, space));
  if (size > space.size()) return Errno(ERANGE);
  // btrfs shows them to everybody.
  if (request.header.uid != 0 &&
      nodes_.FsOf(request.node()).magic != BTRFS_SUPER_MAGIC) {
    size = HideTrusted(space.first(size));
  }
  if (request.in.size == 0) {
    out.Put(
        abi::GetxattrOut{.size = static_cast<uint32_t>(size), .padding = 0});
    return Ok();
  }
  if (size > request.in.size) return Errno(ERANGE);
  out.Use(size);
  return Ok();
}

Status Ops::Removexattr(OpContext context,
                        const Req<Opcode::kRemovexattr>& request) {
  ASSIGN_OR_RETURN(SharedFd fd, nodes_.Resolve(request.node()));
  const char* name = request.text.c_str();
  if (context.intent->is_kept()) {
    const Journal::Earlier* earlier = context.intent->earlier();
    bool is_there = GetXattrAt(nodes_.proc_fds(), *fd, name, {}).ok();
    if (earlier != nullptr && !is_there && earlier->before.size != 0) {
      return Ok();
    }
    context.intent->Mark({.size = is_there});
  }
  if (request.header.uid != 0 &&
      request.text.view() == "system.posix_acl_access") {
    // What the kernel says of SETXATTR by a flag and of this not at all: tmpfs
    // takes the setgid bit away here too.
    ASSIGN_OR_RETURN(struct statx stx, StatOf(*fd));
    if (!CallerIsInGroup(CallerOf(request.header), stx.stx_gid)) {
      AsCaller caller(0, request.header.gid, std::nullopt);
      SetIdScope set_id(SetIdScope::Bits::kClear, *fd,
                        CallerOf(request.header));
      return RemoveXattrAt(nodes_.proc_fds(), *fd, name);
    }
  }
  RETURN_IF_ERROR(RemoveXattrAt(nodes_.proc_fds(), *fd, name));
  if (request.text.view() == "security.capability") {
    NoteLostCapability(request.node(), request.header.pid);
  }
  return Ok();
}

}  // namespace handlefs

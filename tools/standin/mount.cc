#include "mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdlib>

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000
#endif

namespace handlefs::standin {
namespace {

Result<uint64_t> MountId(int dir, const char* path, int flags) {
  struct statx stx;
  // Answered without the server, which may be gone.
  if (statx(dir, path, flags | AT_STATX_DONT_SYNC, STATX_MNT_ID, &stx) != 0) {
    return LastErrno();
  }
  return stx.stx_mnt_id;
}

}  // namespace

Result<Mounted> Mount(const std::string& path, std::string* why) {
  Mounted mounted;
  char real[PATH_MAX];
  *why = "cannot find the mount point";
  if (realpath(path.c_str(), real) == nullptr) return LastErrno();
  mounted.path = real;
  *why = "cannot open /dev/fuse";
  mounted.device = UniqueFd(open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!mounted.device) return LastErrno();
  *why = "the kernel refuses the mount";
  UniqueFd context(fsopen("fuse", FSOPEN_CLOEXEC));
  if (!context) return LastErrno();
  auto set = [&](const char* key, const char* value) {
    return fsconfig(context.get(),
                    value != nullptr ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
                    key, value, 0) == 0;
  };
  if (!set("source", "handlefs-standin") || !set("subtype", "handlefs") ||
      !set("fd", std::to_string(mounted.device.get()).c_str()) ||
      !set("rootmode", "40000") || !set("user_id", "0") ||
      !set("group_id", "0") || !set("default_permissions", nullptr) ||
      !set("allow_other", nullptr) ||
      fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return LastErrno();
  }
  mounted.tree = UniqueFd(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  if (!mounted.tree) return LastErrno();
  return mounted;
}

Status Attach(Mounted& mounted) {
  auto id = MountId(mounted.tree.get(), "", AT_EMPTY_PATH);
  RETURN_IF_ERROR(
      Check(move_mount(mounted.tree.get(), "", AT_FDCWD, mounted.path.c_str(),
                       MOVE_MOUNT_F_EMPTY_PATH)));
  if (id.ok()) mounted.id = *id;
  // Kept open, it would keep the mount busy.
  mounted.tree.reset();
  return Ok();
}

void Detach(Mounted& mounted) {
  mounted.tree.reset();
  auto id = MountId(AT_FDCWD, mounted.path.c_str(), AT_SYMLINK_NOFOLLOW);
  if (!id.ok() || *id != mounted.id) return;
  umount2(mounted.path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
}

}  // namespace handlefs::standin

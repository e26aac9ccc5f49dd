#include "daemon/credentials.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <string>

namespace handlefs {
namespace {

constexpr uint64_t Cap(int number) { return uint64_t{1} << number; }

constexpr uint64_t kServing =
    Cap(CAP_SYS_ADMIN) | Cap(CAP_DAC_READ_SEARCH) | Cap(CAP_DAC_OVERRIDE) |
    Cap(CAP_CHOWN) | Cap(CAP_FOWNER) | Cap(CAP_FSETID) | Cap(CAP_SETUID) |
    Cap(CAP_SETGID) | Cap(CAP_MKNOD) | Cap(CAP_SETFCAP) |
    Cap(CAP_LINUX_IMMUTABLE) | Cap(CAP_SYS_NICE);

// What the kernel takes out of the effective set when fsuid leaves 0, and puts
// back when it returns (CAP_FS_MASK).
constexpr uint64_t kTiedToFsuid =
    Cap(CAP_CHOWN) | Cap(CAP_MKNOD) | Cap(CAP_DAC_OVERRIDE) |
    Cap(CAP_DAC_READ_SEARCH) | Cap(CAP_FOWNER) | Cap(CAP_FSETID) |
    Cap(CAP_LINUX_IMMUTABLE) | Cap(CAP_MAC_OVERRIDE);

// The permitted set after ReducePrivileges: set once, before there are threads.
uint64_t permitted = 0;
bool can_switch = false;

uint64_t ReadPermitted() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) != 0) return 0;
  return data[0].permitted | uint64_t{data[1].permitted} << 32;
}

// Effective capabilities of this thread; they are always a part of `permitted`.
void SetEffective(uint64_t effective, uint64_t keep) {
  effective &= keep;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  data[0].effective = static_cast<uint32_t>(effective);
  data[1].effective = static_cast<uint32_t>(effective >> 32);
  data[0].permitted = static_cast<uint32_t>(keep);
  data[1].permitted = static_cast<uint32_t>(keep >> 32);
  syscall(SYS_capset, &header, data);
}

}  // namespace

Privileges ReducePrivileges() {
  permitted = ReadPermitted() & kServing;
  SetEffective(permitted, permitted);
  Privileges privileges{
      .switch_ids =
          (permitted & Cap(CAP_SETUID)) && (permitted & Cap(CAP_SETGID)),
      .open_handles = (permitted & Cap(CAP_DAC_READ_SEARCH)) != 0,
      .mount = (permitted & Cap(CAP_SYS_ADMIN)) != 0,
  };
  can_switch = privileges.switch_ids;
  return privileges;
}

namespace {
thread_local mode_t thread_umask = 0;
}  // namespace

void ThreadStart() {
  // glibc shares the umask among threads; the kernel does not have to.
  (void)unshare(CLONE_FS);
  thread_umask = 0;
  umask(0);
  // The raw call changes this thread alone.
  if (can_switch) syscall(SYS_setgroups, 0, nullptr);
}

void SetThreadUmask(mode_t mask) {
  if (mask == thread_umask) return;
  thread_umask = mask;
  umask(mask);
}

AsCaller::AsCaller(uint32_t uid, uint32_t gid, std::optional<uint32_t> group,
                   Extra extra) {
  if (!can_switch) return;
  if (group) {
    gid_t one = *group;
    group_ = syscall(SYS_setgroups, 1, &one) == 0;
  }
  if (gid != 0) {
    setfsgid(gid);
    gid_ = true;
  }
  if (uid == 0) return;
  setfsuid(uid);
  uid_ = true;
  uint64_t effective = permitted & ~kTiedToFsuid;
  effective |= Cap(CAP_DAC_OVERRIDE) | Cap(CAP_DAC_READ_SEARCH);
  if (extra == Extra::kMknod) effective |= Cap(CAP_MKNOD);
  SetEffective(effective, permitted);
}

AsCaller::~AsCaller() {
  // Callers read errno of the system call after this scope.
  int saved = errno;
  if (uid_) {
    setfsuid(0);
    SetEffective(permitted, permitted);
  }
  if (gid_) setfsgid(0);
  if (group_) syscall(SYS_setgroups, 0, nullptr);
  errno = saved;
}

bool CallerIsInGroup(const Caller& caller, uint32_t gid) {
  if (caller.gid == gid) return true;
  std::ifstream status("/proc/" + std::to_string(caller.pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("Groups:")) continue;
    std::stringstream groups(line.substr(sizeof("Groups:") - 1));
    for (uint32_t group; groups >> group;) {
      if (group == gid) return true;
    }
  }
  return false;
}

SetIdScope::SetIdScope(Bits bits, BorrowedFd file, const Caller& caller) {
  if (bits == Bits::kKeep || (permitted & Cap(CAP_FSETID)) == 0) return;
  struct statx stx;
  if (statx(file.get(), "", AT_EMPTY_PATH, STATX_MODE | STATX_GID, &stx) == 0 &&
      (stx.stx_mode & (S_ISGID | S_IXGRP)) == S_ISGID && can_switch) {
    setfsgid(CallerIsInGroup(caller, stx.stx_gid) ? stx.stx_gid : caller.gid);
    gid_ = true;
  }
  lowered_ = true;
  SetEffective(permitted & ~Cap(CAP_FSETID), permitted);
}

SetIdScope::~SetIdScope() {
  if (!lowered_) return;
  int saved = errno;
  SetEffective(permitted, permitted);
  if (gid_) setfsgid(0);
  errno = saved;
}

}  // namespace handlefs

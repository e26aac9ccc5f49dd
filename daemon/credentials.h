// Who the server is to the host. It runs as root and lets the kernel check
// access; only where the host derives something from the caller (owner, group,
// setgid inheritance, set-id bits) does a thread become the caller for one
// system call, with a scope guard that turns it back.
//
// All state here is per thread: fsuid, fsgid, groups, effective capabilities
// and, after ThreadStart, the umask.
#ifndef HANDLEFS_DAEMON_CREDENTIALS_H_
#define HANDLEFS_DAEMON_CREDENTIALS_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "io/base/fd.h"

namespace handlefs {

// What the process may do, found once at start, before threads.
struct Privileges {
  bool switch_ids = false;    // CAP_SETUID and CAP_SETGID
  bool open_handles = false;  // CAP_DAC_READ_SEARCH
  bool mount = false;         // CAP_SYS_ADMIN
};

// Keeps only the capabilities that serving needs; in particular lets go of
// CAP_SYS_RESOURCE, which would make quotas void. Call in the process that will
// serve, before it makes threads; they inherit it.
Privileges ReducePrivileges();

// Once on every thread that runs operations: an own umask, no groups.
void ThreadStart();
// The umask for the creation that follows on this thread.
void SetThreadUmask(mode_t umask);

// Becomes the caller, but keeps the rights to search and write directories: the
// kernel has checked access already. CAP_FSETID goes with the ids, so setgid
// bits come out as on the host.
class AsCaller {
 public:
  enum class Extra { kNone, kMknod };
  AsCaller(uint32_t uid, uint32_t gid, std::optional<uint32_t> group,
           Extra extra = Extra::kNone);
  ~AsCaller();
  AsCaller(const AsCaller&) = delete;
  AsCaller& operator=(const AsCaller&) = delete;

 private:
  bool uid_ = false;
  bool gid_ = false;
  bool group_ = false;
};

// Who sent a request.
struct Caller {
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t pid = 0;
};

// Whether the caller is in a group, by its gid or by the supplementary groups
// that /proc tells. Not for access checks: the process may have changed since.
bool CallerIsInGroup(const Caller& caller, uint32_t gid);

// Without CAP_FSETID, so that writing to or truncating `file` clears its set-id
// bits. S_ISGID without group execution goes only if the writer is outside the
// group, so fsgid stands for the caller's membership. kKeep does nothing.
class SetIdScope {
 public:
  enum class Bits { kKeep, kClear };
  SetIdScope(Bits bits, BorrowedFd file, const Caller& caller);
  ~SetIdScope();
  SetIdScope(const SetIdScope&) = delete;
  SetIdScope& operator=(const SetIdScope&) = delete;

 private:
  bool lowered_ = false;
  bool gid_ = false;
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_CREDENTIALS_H_

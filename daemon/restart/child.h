// A process that this one forked, watched by its descriptor.
#ifndef HANDLEFS_DAEMON_RESTART_CHILD_H_
#define HANDLEFS_DAEMON_RESTART_CHILD_H_

#include <sys/types.h>

#include <optional>
#include <string>

#include "io/base/fd.h"

namespace handlefs {

class Child {
 public:
  Child() = default;
  // EAGAIN and ENOMEM of fork: nothing in `pid`. In the child `is_child` holds.
  static Child Fork();
  // A process that another one forked: how it ended is not known then.
  static Child Adopt(pid_t pid);

  bool is_child() const { return pid_ == 0; }
  bool exists() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  // Readable when every thread of it has ended.
  BorrowedFd fd() const { return fd_; }
  void Kill(int signal) const;
  // It was killed, and hangs in the kernel: its threads cannot end, but will
  // never run again either.
  bool IsStuckDead() const;
  // Its wait status once it has ended; then it does not exist any more.
  std::optional<int> Reap();

 private:
  pid_t pid_ = -1;
  UniqueFd fd_;
};

// "signal 9 (Killed)", "exit status 3".
std::string DescribeEnd(int wait_status);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_CHILD_H_

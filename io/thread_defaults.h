// A thread inherits the CPUs and the class of the one that starts it. Lanes and
// readers, which stay on a CPU or yield, start others: these call Take().
#ifndef HANDLEFS_IO_THREAD_DEFAULTS_H_
#define HANDLEFS_IO_THREAD_DEFAULTS_H_

namespace handlefs::io {

class ThreadDefaults {
 public:
  // What the calling thread has is what threads of this process shall have.
  // Before one of them is pinned or yields; only the first call counts.
  static void Remember();
  // By a thread that starts. Without Remember() nothing changes.
  static void Take();
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_THREAD_DEFAULTS_H_

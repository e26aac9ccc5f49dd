// Has other processes ask a mount for something, from CPUs that are named:
// what is in the kernel's queues over io_uring is moved on by requests alone,
// and the queue is that of the CPU that asks.
#ifndef HANDLEFS_DAEMON_RESTART_ASKING_H_
#define HANDLEFS_DAEMON_RESTART_ASKING_H_

#include <cstddef>
#include <string>
#include <vector>

namespace handlefs {

struct CpuAsks {
  int cpu = 0;
  size_t times = 1;
};

// Returns at once. The process that asks is nobody's child and ends with the
// last answer. From a CPU that cannot be used here nothing is asked. To be
// called by a process of one thread.
void AskFromCpus(const std::string& mount_point,
                 const std::vector<CpuAsks>& asks);

// Once from each CPU that may be there.
std::vector<CpuAsks> OnceFromEach();

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_ASKING_H_

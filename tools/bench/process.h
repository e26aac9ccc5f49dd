// What /proc tells about processes and slabs, and signals as a descriptor.
#ifndef HANDLEFS_TOOLS_BENCH_PROCESS_H_
#define HANDLEFS_TOOLS_BENCH_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/fd.h"

namespace handlefs::bench {

// The whole file, "" if it cannot be read.
std::string ReadFile(const std::string& path);

// Of /proc/PID/stat.
struct ProcessStat {
  pid_t parent = 0;
  // utime and stime of children that have ended and were waited for.
  uint64_t child_ticks = 0;
};
std::optional<ProcessStat> ParseStat(std::string_view text);

// All processes below `root`, without those in `except` and what is below
// them. `parents` is child to parent.
std::vector<pid_t> Below(const std::map<pid_t, pid_t>& parents, pid_t root,
                         const std::vector<pid_t>& except);
std::vector<pid_t> Descendants(pid_t root, const std::vector<pid_t>& except);

struct Usage {
  uint64_t cpu_ns = 0;  // utime and stime of all threads, dead ones included
  uint64_t rss = 0;
  uint64_t descriptors = 0;
};
uint64_t CpuOf(const std::vector<pid_t>& processes);
Usage UsageOf(const std::vector<pid_t>& processes);

// Bytes in use by a kmem cache in the text of /proc/slabinfo.
std::optional<uint64_t> SlabBytes(std::string_view slabinfo,
                                  std::string_view cache);

// Whether a mount point stands in the text of /proc/self/mountinfo.
bool HasMount(const std::string& mountinfo, const std::string& path);

// SIGINT, SIGTERM and SIGHUP wait here, so that nothing is interrupted in the
// middle of what must be undone.
class Signals {
 public:
  Signals();
  BorrowedFd fd() const { return fd_; }
  // The signal that came, and stays so; 0 if none has.
  int Pending();
  // In a child: as if nothing had been set.
  static void Restore();

 private:
  UniqueFd fd_;
  int pending_ = 0;
};

// Waits until a child has ended, a signal has come, or the time is over; the
// wait status, or nothing.
std::optional<int> WaitFor(pid_t pid, int milliseconds);
void KillAndReap(pid_t pid);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_PROCESS_H_

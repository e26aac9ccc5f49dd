#include "daemon/restart/asking.h"

#include <sched.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

namespace handlefs {
namespace {

// More at once than a queue ever has entries for is no help.
constexpr size_t kMost = 1024;

void AskFrom(int cpu, const char* mount_point) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(cpu), &one);
  if (sched_setaffinity(0, sizeof(one), &one) != 0) return;
  struct statfs ignored;
  (void)statfs(mount_point, &ignored);
}

}  // namespace

void AskFromCpus(const std::string& mount_point,
                 const std::vector<CpuAsks>& asks) {
  pid_t child = fork();
  if (child > 0) {
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  if (child != 0) return;
  if (fork() != 0) _exit(0);
  // It must not hold what it waits for: with a copy of the device here the
  // mount of a keeper and a server that die together would hang, not end.
  (void)close_range(0, ~0U, 0);
  std::vector<std::thread> threads;
  for (const CpuAsks& ask : asks) {
    if (ask.cpu < 0 || ask.cpu >= CPU_SETSIZE) continue;
    for (size_t i = 0; i < ask.times && threads.size() < kMost; ++i) {
      threads.emplace_back(AskFrom, ask.cpu, mount_point.c_str());
    }
  }
  for (std::thread& thread : threads) thread.join();
  _exit(0);
}

std::vector<CpuAsks> OnceFromEach() {
  std::vector<CpuAsks> out;
  const long cpus = sysconf(_SC_NPROCESSORS_CONF);
  for (long cpu = 0; cpu < cpus; ++cpu) {
    out.push_back({.cpu = static_cast<int>(cpu)});
  }
  return out;
}

}  // namespace handlefs

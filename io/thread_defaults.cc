#include "io/thread_defaults.h"

#include <sched.h>

#include <atomic>
#include <mutex>

namespace handlefs::io {
namespace {

std::once_flag once;
std::atomic<bool> is_known{false};
cpu_set_t cpus;
int policy = SCHED_OTHER;
sched_param parameters{};

}  // namespace

void ThreadDefaults::Remember() {
  std::call_once(once, [] {
    policy = sched_getscheduler(0);
    is_known = policy >= 0 && sched_getparam(0, &parameters) == 0 &&
               sched_getaffinity(0, sizeof(cpus), &cpus) == 0;
  });
}

// Fails only where nothing could be changed before.
void ThreadDefaults::Take() {
  if (!is_known) return;
  (void)sched_setaffinity(0, sizeof(cpus), &cpus);
  if (sched_getscheduler(0) != policy) {
    (void)sched_setscheduler(0, policy, &parameters);
  }
}

}  // namespace handlefs::io

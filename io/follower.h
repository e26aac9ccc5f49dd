// Keeps a thread that yields on the CPU of its only client. Where a client
// finds the thread's CPU free it goes on there by itself (see yielding.h); but
// once they are apart, both CPUs are free, and each wakes the other's.
//
// Used by the thread that is kept, alone.
#ifndef HANDLEFS_IO_FOLLOWER_H_
#define HANDLEFS_IO_FOLLOWER_H_

#include <sched.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "io/base/fd.h"

namespace handlefs::io {

// The CPU that a thread ran on last; `text` is its /proc/PID/stat.
std::optional<int> CpuInStat(std::string_view text);

// When it is worth to look where the client is. No system calls.
class FollowRule {
 public:
  using Clock = std::chrono::steady_clock;
  // A request of the thread `client` came.
  bool OnRequest(uint32_t client, Clock::time_point now);
  // What the look showed.
  void FoundHere();
  void FoundElsewhere() { skip_ = kAfterMove; }

 private:
  static constexpr int kAfterMove = 8;
  uint32_t client_ = 0;
  int in_row_ = 0;     // requests of that client
  int skip_ = 0;       // requests until the next look
  int next_skip_ = 0;  // if it shows that they are together
  Clock::time_point last_{};
};

class Follower {
 public:
  // Before anything else; remembers where the thread may run.
  void Attach();
  // A request of `client` came, which waits for the answer.
  void OnRequest(uint32_t client);
  // Anywhere again.
  void Release();

 private:
  std::optional<int> CpuOf(uint32_t client);

  cpu_set_t home_{};
  bool is_attached_ = false;
  bool is_kept_ = false;
  uint32_t client_ = 0;  // whose stat_ is
  UniqueFd stat_;
  FollowRule rule_;
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_FOLLOWER_H_

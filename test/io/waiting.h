// How tests wait: for a state, never for a time. The limit only keeps a broken
// build from hanging.
#ifndef HANDLEFS_TEST_IO_WAITING_H_
#define HANDLEFS_TEST_IO_WAITING_H_

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

namespace handlefs::test {

inline constexpr std::chrono::seconds kLimit{30};

template <typename Condition>
bool Eventually(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + kLimit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// A door that is opened once.
class Gate {
 public:
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool Wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLimit, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// True if the thread of this process sleeps in the system call.
inline bool SleepsIn(pid_t tid, long syscall) {
  std::ifstream file("/proc/self/task/" + std::to_string(tid) + "/syscall");
  std::string word;
  file >> word;
  return word == std::to_string(syscall);
}

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_IO_WAITING_H_

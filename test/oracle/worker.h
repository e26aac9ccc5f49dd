// One process per side and identity, so that the working directory, the umask,
// the lock owner and the descriptors of a side are its own.
#ifndef HANDLEFS_TEST_ORACLE_WORKER_H_
#define HANDLEFS_TEST_ORACLE_WORKER_H_

#include <sys/types.h>

#include <string>

#include "op.h"
#include "result.h"

namespace oracle {

enum class Request : char {
  kRun = 'r',
  kBefore = 'b',
  kPeek = 'p',
  kWalk = 'w',
  kSlots = 's',
  kReset = 'z',
  kEmpty = 'e',
  kSync = 'y',
};

enum class Reply { kOk, kHang, kDied };

class Worker {
 public:
  Worker() = default;
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  // The pid is also stored in pids[ident], which is shared memory.
  bool Start(const std::string& dir, int ident, int64_t start_sec, pid_t* pids);
  bool Send(Request request, const Op& op);
  Reply Receive(Result* out);

 private:
  pid_t pid_ = -1;
  int fd_ = -1;
  std::string buffer_;
};

constexpr int kHangSeconds = 20;

}  // namespace oracle

#endif  // HANDLEFS_TEST_ORACLE_WORKER_H_

// metrics_file=: the counters as a text file for Prometheus, replaced whole
// every 15 seconds and in the end. Written by a process of its own each time: a
// disk that hangs holds nobody up. One thread.
#ifndef HANDLEFS_DAEMON_CONTROL_METRICS_FILE_H_
#define HANDLEFS_DAEMON_CONTROL_METRICS_FILE_H_

#include <functional>
#include <string>

#include "absl/time/time.h"
#include "daemon/restart/child.h"
#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs {

// Makes PATH.tmp and renames it. Async-signal-safe but for its arguments.
Status ReplaceFile(const std::string& path, const std::string& text);
// Whether ReplaceFile could: it leaves what is there.
Status TryReplaceFile(const std::string& path);

class MetricsFile {
 public:
  static constexpr absl::Duration kEvery = absl::Seconds(15);

  // An empty path: nothing is ever written.
  explicit MetricsFile(std::string path)
      : path_(std::move(path)),
        next_(path_.empty() ? absl::InfiniteFuture() : absl::InfinitePast()) {}

  // When to look again at the latest.
  absl::Time next() const { return next_; }
  BorrowedFd fd() const {
    return writer_.exists() ? writer_.fd() : BorrowedFd();
  }
  // Writes if it is time, and tells how the last time went if that is new.
  void Look(const std::function<std::string()>& text);
  // The last time; waits for a while.
  void End(const std::function<std::string()>& text);

 private:
  void Begin(const std::string& text);
  void Reap();

  const std::string path_;
  absl::Time next_;
  Child writer_;
  int told_ = 0;  // errno that was logged
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_CONTROL_METRICS_FILE_H_

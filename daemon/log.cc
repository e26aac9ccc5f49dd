#include "daemon/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>

#include "absl/base/const_init.h"
#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace handlefs {
namespace {

enum class Target { kStderr, kJournal, kSyslog, kFile };
std::atomic<Target> log_target{Target::kStderr};
// Held shared while a line is written: the descriptor is not closed meanwhile.
constinit absl::Mutex log_mutex(absl::kConstInit);  // NOLINT: cannot throw
int log_fd ABSL_GUARDED_BY(log_mutex) = STDERR_FILENO;
std::atomic<LogLevel> log_level{LogLevel::kInfo};

constexpr int Priority(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return LOG_ERR;
    case LogLevel::kWarning:
      return LOG_WARNING;
    case LogLevel::kInfo:
      return LOG_INFO;
    case LogLevel::kDebug:
      return LOG_DEBUG;
  }
  return LOG_INFO;
}

constexpr std::string_view Label(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "error: ";
    case LogLevel::kWarning:
      return "warning: ";
    case LogLevel::kInfo:
    case LogLevel::kDebug:
      break;
  }
  return "";
}

void WriteLine(const std::string& line) {
  absl::ReaderMutexLock lock(&log_mutex);
  // One write, so that lines of several threads do not mix.
  (void)!write(log_fd, line.data(), line.size());
}

void Direct(Target target, int fd) {
  absl::MutexLock lock(&log_mutex);
  if (log_fd != STDERR_FILENO) close(log_fd);
  log_fd = fd;
  log_target.store(target);
}

// stderr is the journal if systemd says so and it is still that stream.
bool StderrIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat st;
  if (stream == nullptr || fstat(STDERR_FILENO, &st) != 0) return false;
  return absl::StrCat(st.st_dev, ":", st.st_ino) == stream;
}

}  // namespace

absl::Status SetLog(const std::string& target, LogLevel level) {
  log_level.store(level);
  if (target == "stderr") {
    Direct(StderrIsJournal() ? Target::kJournal : Target::kStderr,
           STDERR_FILENO);
  } else if (target == "syslog") {
    openlog("handlefs", LOG_PID, LOG_DAEMON);
    Direct(Target::kSyslog, STDERR_FILENO);
  } else {
    int fd = open(target.c_str(),
                  O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0) {
      return absl::ErrnoToStatus(
          errno, absl::StrCat("cannot open the log file ", target));
    }
    Direct(Target::kFile, fd);
  }
  return absl::OkStatus();
}

void Log(LogLevel level, std::string_view message) {
  if (level > log_level.load(std::memory_order_relaxed)) return;
  Target target = log_target.load();
  std::string text(Label(level));
  text += message;
  switch (target) {
    case Target::kSyslog:
      syslog(Priority(level), "%s", text.c_str());
      return;
    case Target::kJournal:
      WriteLine(absl::StrCat("<", Priority(level), ">handlefs: ", text, "\n"));
      return;
    case Target::kStderr:
    case Target::kFile:
      WriteLine(absl::StrCat("handlefs: ", text, "\n"));
      return;
  }
}

void LogTrace(std::string_view line) {
  std::string text(line);
  text += '\n';
  if (log_target.load() == Target::kSyslog) {
    syslog(LOG_DEBUG, "%s", text.c_str());
  } else {
    WriteLine(text);
  }
}

}  // namespace handlefs

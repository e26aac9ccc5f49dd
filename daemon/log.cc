#include "daemon/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "absl/base/const_init.h"
#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "daemon/log_limit.h"

namespace handlefs {
namespace {

enum class Target : uint8_t { kStderr, kSyslog, kFile };
std::atomic<Target> log_target{Target::kStderr};
std::atomic<LogFormat> log_format{LogFormat::kText};
std::array<std::atomic<LogLevel>, kLogFolders> log_levels{
    LogLevel::kInfo, LogLevel::kInfo, LogLevel::kInfo,
    LogLevel::kInfo, LogLevel::kInfo, LogLevel::kInfo};

// Held shared while a line is written: the descriptor is not closed meanwhile.
constinit absl::Mutex log_mutex(absl::kConstInit);  // NOLINT: cannot throw
int log_fd ABSL_GUARDED_BY(log_mutex) = STDERR_FILENO;

struct Counted {
  LogLimit limit;
  // What a parent has counted is the parent's to say.
  pid_t owner = 0;
  std::string mount;
};
constinit absl::Mutex counted_mutex(absl::kConstInit);  // NOLINT: as above
Counted& TheCounted() ABSL_EXCLUSIVE_LOCKS_REQUIRED(counted_mutex) {
  // Never destroyed: threads may log while the process ends.
  static auto* counted = new Counted;
  if (counted->owner != getpid()) {
    counted->owner = getpid();
    counted->limit = {};
  }
  return *counted;
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

void Write(const LogMessage& message, std::string_view mount) {
  const Target target = log_target.load();
  const LogFormat format = log_format.load();
  std::string text = format == LogFormat::kJson
                         ? JsonOf(message, absl::Now(), getpid(), mount)
                         : TextOf(message);
  if (target == Target::kSyslog) {
    syslog(PriorityOf(message.level), "%s", text.c_str());
    return;
  }
  switch (format) {
    case LogFormat::kJson:
      break;
    case LogFormat::kJournal:
      text = absl::StrCat("<", PriorityOf(message.level), ">handlefs: ", text);
      break;
    case LogFormat::kAuto:
    case LogFormat::kText:
      text = absl::StrCat("handlefs: ", text);
      break;
  }
  text += '\n';
  WriteLine(text);
}

}  // namespace

absl::Status SetLog(const std::string& target, const LogLevels& levels,
                    LogFormat format) {
  if (target == "stderr") {
    Direct(Target::kStderr, STDERR_FILENO);
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
  SetLogStyle(levels, format);
  return absl::OkStatus();
}

void SetLogStyle(const LogLevels& levels, LogFormat format) {
  for (size_t i = 0; i < kLogFolders; ++i) {
    log_levels[i].store(levels.Of(static_cast<LogFolder>(i)));
  }
  if (format == LogFormat::kAuto) {
    format = log_target.load() == Target::kStderr && StderrIsJournal()
                 ? LogFormat::kJournal
                 : LogFormat::kText;
  }
  log_format.store(format);
}

void SetLogMount(std::string_view mount_point) {
  absl::MutexLock lock(&counted_mutex);
  TheCounted().mount = mount_point;
}

bool Logs(LogFolder folder, LogLevel level) {
  return level <= log_levels[static_cast<size_t>(folder)].load(
                      std::memory_order_relaxed);
}

void LogOf(LogFolder folder, LogLevel level, std::string_view text,
           LogAbout about, const char* file, int line) {
  if (!Logs(folder, level)) return;
  LogMessage message{.level = level,
                     .folder = folder,
                     .text = std::string(text),
                     .op = std::string(about.op),
                     .error = about.error};
  std::vector<LogMessage> due;
  LogLimit::Verdict verdict;
  std::string mount;
  {
    absl::MutexLock lock(&counted_mutex);
    Counted& counted = TheCounted();
    const absl::Time now = absl::Now();
    due = counted.limit.TakeDue(now);
    verdict = counted.limit.Judge({file, line}, message, now);
    mount = counted.mount;
  }
  for (const LogMessage& late : due) Write(late, mount);
  if (verdict == LogLimit::Verdict::kCount) return;
  if (verdict == LogLimit::Verdict::kSayLast) {
    message.text += " (more like it are counted for a minute)";
  }
  Write(message, mount);
}

void Log(LogLevel level, std::string_view message, LogAbout about,
         const char* file, int line) {
  LogOf(FolderOf(file), level, message, about, file, line);
}

void LogTrace(std::string_view line) {
  if (log_format.load() == LogFormat::kJson) {
    std::string mount;
    {
      absl::MutexLock lock(&counted_mutex);
      mount = TheCounted().mount;
    }
    Write({.level = LogLevel::kDebug,
           .folder = LogFolder::kProto,
           .text = std::string(line),
           .op = {}},
          mount);
    return;
  }
  std::string text(line);
  text += '\n';
  if (log_target.load() == Target::kSyslog) {
    syslog(LOG_DEBUG, "%s", text.c_str());
  } else {
    WriteLine(text);
  }
}

void FlushLog() {
  std::vector<LogMessage> all;
  std::string mount;
  {
    absl::MutexLock lock(&counted_mutex);
    all = TheCounted().limit.TakeAll();
    mount = TheCounted().mount;
  }
  for (const LogMessage& message : all) Write(message, mount);
}

}  // namespace handlefs

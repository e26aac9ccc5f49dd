#include "daemon/control/metrics_file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "daemon/log.h"

namespace handlefs {
namespace {

constexpr int kLastWaitMs = 2000;

Result<UniqueFd> MakeTemporary(const std::string& name) {
  UniqueFd fd(open(name.c_str(),
                   O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                   0644));
  if (!fd) return LastErrno();
  // Whoever collects it is not root.
  (void)fchmod(fd.get(), 0644);
  return fd;
}

Status WriteAndRename(const std::string& temporary, const std::string& path,
                      const std::string& text) {
  ASSIGN_OR_RETURN(UniqueFd fd, MakeTemporary(temporary));
  for (size_t at = 0; at < text.size();) {
    ssize_t n = write(fd.get(), text.data() + at, text.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      Errno error = LastErrno();
      (void)unlink(temporary.c_str());
      return error;
    }
    at += static_cast<size_t>(n);
  }
  fd.reset();
  return Check(rename(temporary.c_str(), path.c_str()));
}

}  // namespace

Status ReplaceFile(const std::string& path, const std::string& text) {
  return WriteAndRename(path + ".tmp", path, text);
}

Status TryReplaceFile(const std::string& path) {
  struct stat st;
  if (lstat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode)) {
    return Errno(S_ISDIR(st.st_mode) ? EISDIR : EINVAL);
  }
  const std::string temporary = path + ".tmp";
  ASSIGN_OR_RETURN(UniqueFd fd, MakeTemporary(temporary));
  return Check(unlink(temporary.c_str()));
}

void MetricsFile::Begin(const std::string& text) {
  const std::string temporary = path_ + ".tmp";
  writer_ = Child::Fork();
  if (!writer_.is_child()) return;
  // It may hang, and must not keep the device open then.
  close_range(3, ~0U, 0);
  Status written = WriteAndRename(temporary, path_, text);
  _exit(written.ok() ? 0 : written.error().value());
}

void MetricsFile::Reap() {
  if (!writer_.exists()) return;
  auto status = writer_.Reap();
  if (!status) return;
  const int error = WIFEXITED(*status) ? WEXITSTATUS(*status) : EIO;
  if (error != 0 && error != told_) {
    Log(LogLevel::kWarning,
        absl::StrCat("cannot write the metrics to ", path_, ": ",
                     std::strerror(error), "; they are tried again"));
  }
  told_ = error;
}

void MetricsFile::Look(const std::function<std::string()>& text) {
  Reap();
  if (absl::Now() < next_) return;
  next_ = absl::Now() + kEvery;
  if (!writer_.exists()) Begin(text());
}

void MetricsFile::End(const std::function<std::string()>& text) {
  if (path_.empty()) return;
  for (bool last : {false, true}) {
    if (last) Begin(text());
    if (!writer_.exists()) continue;
    pollfd ended{writer_.fd().get(), POLLIN, 0};
    (void)poll(&ended, 1, kLastWaitMs);
    Reap();
    if (writer_.exists()) return;  // it hangs
  }
}

}  // namespace handlefs

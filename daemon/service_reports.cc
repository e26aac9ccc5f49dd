#include "daemon/service_reports.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "daemon/log.h"

namespace handlefs {
namespace {

// Looks of the watchdog are a quarter of a second apart when nothing happens.
constexpr std::chrono::seconds kShortestWatchdog{1};

void Tell(Status sent, const char* what) {
  if (sent.ok()) return;
  Log(LogLevel::kWarning,
      absl::StrCat("cannot tell the service manager ", what, ": ",
                   std::strerror(sent.error().value())));
}

}  // namespace

ServiceManager TakeServiceManager() {
  auto manager = ServiceManager::FromEnvironment();
  if (manager.ok()) return *std::move(manager);
  std::string why(manager.status().message().data(),
                  manager.status().message().size());
  Log(LogLevel::kWarning,
      absl::StrCat("the service manager is not told anything: ", why));
  return {};
}

ServiceReports::~ServiceReports() {
  if (asker_.joinable()) asker_.join();
}

void ServiceReports::FeedWatchdog(Server& server) {
  auto period = manager_.watchdog();
  if (!period) return;
  if (*period < kShortestWatchdog) {
    Log(LogLevel::kWarning,
        "WatchdogSec= of less than a second is shorter than our own looks: "
        "the service manager may end a server that is well");
  }
  server.OnProgress(*period / 2, [this] {
    // Full is its queue: the next one will do.
    (void)manager_.FeedWatchdog().ok();
  });
}

void ServiceReports::Serving(const std::string& mount_point,
                             const std::string& status) {
  if (!manager_.present()) return;
  if (mount_point.empty()) {
    Tell(manager_.Ready(status), "that the server is ready");
    return;
  }
  // Not a thread of the server: its requests are answered.
  asker_ = std::thread([this, mount_point, status] {
    struct statx stx;
    if (statx(AT_FDCWD, mount_point.c_str(), AT_STATX_FORCE_SYNC,
              STATX_BASIC_STATS, &stx) != 0) {
      Log(LogLevel::kError,
          absl::StrCat("the mount at ", mount_point,
                       " does not answer: ", std::strerror(errno)));
      return;
    }
    Tell(manager_.Ready(status), "that the mount is ready");
  });
}

void ServiceReports::Reload(
    const std::function<absl::StatusOr<std::vector<std::string>>()>& reload) {
  Tell(manager_.Reloading(), "of the reload");
  auto waiting = reload();
  if (!waiting.ok()) {
    Log(LogLevel::kError, absl::StrCat("reload: ", waiting.status().message(),
                                       "; it is as it was"));
  } else if (!waiting->empty()) {
    Log(LogLevel::kWarning,
        absl::StrCat("reload: another value of ", absl::StrJoin(*waiting, ", "),
                     " takes effect at the next start"));
  }
  Tell(manager_.Ready(""), "that it is ready again");
}

void ServiceReports::Stopping(const std::string& status) {
  Tell(manager_.Stopping(status), "that the server stops");
}

}  // namespace handlefs

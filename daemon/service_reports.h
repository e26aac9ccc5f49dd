// What this service tells its manager, and when: READY once the mount has
// answered a request, WATCHDOG while requests get on, STOPPING at an orderly
// end. Without a manager all of it is nothing.
#ifndef HANDLEFS_DAEMON_SERVICE_REPORTS_H_
#define HANDLEFS_DAEMON_SERVICE_REPORTS_H_

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "daemon/server.h"
#include "daemon/service_manager.h"

namespace handlefs {

// That of the environment; one that cannot be reached is logged and is none.
ServiceManager TakeServiceManager();

class ServiceReports {
 public:
  explicit ServiceReports(ServiceManager manager)
      : manager_(std::move(manager)) {}
  // After the connection is over: a question to the mount has its end then.
  ~ServiceReports();
  ServiceReports(const ServiceReports&) = delete;
  ServiceReports& operator=(const ServiceReports&) = delete;

  const ServiceManager& manager() const { return manager_; }

  // Before the server's transport runs.
  void FeedWatchdog(Server& server);
  // INIT was answered, or is about to be: asks the mount from a thread of its
  // own and says READY when the answer is there. Without a mount point that one
  // can ask (a descriptor was given) at once. To be called once.
  void Serving(const std::string& mount_point, const std::string& status);
  // Runs `reload`, and tells of its beginning and end; what fails is logged and
  // the service goes on with what it had.
  // `reload` returns the options that it could not change.
  void Reload(
      const std::function<absl::StatusOr<std::vector<std::string>>()>& reload);
  void Stopping(const std::string& status);

 private:
  const ServiceManager manager_;
  std::thread asker_;
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_SERVICE_REPORTS_H_

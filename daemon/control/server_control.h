// What people ask of the server itself: where a node is, to have caches
// dropped, to see the trace. Each command has a thread of its own while it
// lasts, so that one that hangs on the host or in the kernel holds up neither
// requests nor, up to a number, other commands.
#ifndef HANDLEFS_DAEMON_CONTROL_SERVER_CONTROL_H_
#define HANDLEFS_DAEMON_CONTROL_SERVER_CONTROL_H_

#include <list>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "daemon/control/words.h"
#include "daemon/server.h"
#include "handles/nodes.h"
#include "io/base/fd.h"
#include "io/transport.h"

namespace handlefs {

class ServerControl {
 public:
  static constexpr size_t kMostThreads = 4;

  ServerControl(Server& server, Nodes& nodes, io::Connection& connection)
      : server_(server), nodes_(nodes), connection_(connection) {}
  // Waits for what is being done.
  ~ServerControl();

  // Answers later, or at once that it cannot. Never waits.
  void Do(ServerWork work, UniqueFd connection);

 private:
  struct Worker {
    std::thread thread;
    bool done = false;
  };
  nlohmann::ordered_json AnswerTo(ServerWork work);
  nlohmann::ordered_json PathOf(NodeId node);
  nlohmann::ordered_json Drop();

  Server& server_;
  Nodes& nodes_;
  io::Connection& connection_;
  absl::Mutex mutex_;
  std::list<Worker> workers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_CONTROL_SERVER_CONTROL_H_

// The control socket of a mount without a keeper (restart=off), and its metrics
// file: a thread beside those that serve, which waits for none of them.
#ifndef HANDLEFS_DAEMON_CONTROL_LONE_CONTROL_H_
#define HANDLEFS_DAEMON_CONTROL_LONE_CONTROL_H_

#include <functional>
#include <thread>

#include "daemon/control/drain.h"
#include "daemon/control/metrics_file.h"
#include "daemon/control/server_control.h"
#include "daemon/control/socket.h"
#include "daemon/mount.h"
#include "daemon/options.h"
#include "daemon/server.h"
#include "daemon/stats/report.h"
#include "handles/nodes.h"
#include "io/dev_transport.h"

namespace handlefs {

// The socket of a mount that root made, or none, which is logged if it should
// be there.
struct ControlListening {
  UniqueFd fd;
  ControlName name;
};
ControlListening ListenFor(const std::string& mount_point);

class LoneControl {
 public:
  // All outlive it. `on_abort` is called when the connection was ended.
  LoneControl(const Options& options, const Mounted& mounted, Nodes& nodes,
              Server& server, io::DevTransport& transport,
              std::function<void()> on_abort);
  ~LoneControl();
  // `is_ours`: else nobody can name the mount, and nothing listens.
  enum class Socket { kNone, kListen };
  void Start(Socket socket);

 private:
  void Serve();
  void Obey(ControlRequest request);
  void Abort(UniqueFd connection);
  nlohmann::ordered_json StatusOf() const;
  StatsReport Report() const;

  const Mounted& mounted_;
  Nodes& nodes_;
  Server& server_;
  const std::function<void()> on_abort_;
  const int64_t began_ns_;
  ControlListening listening_;
  ControlPort port_;
  ServerControl control_;
  Drain drain_;
  MetricsFile metrics_;
  UniqueFd end_;
  std::thread thread_;
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_CONTROL_LONE_CONTROL_H_

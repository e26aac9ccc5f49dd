// The socket that handlefsctl talks to: /run/handlefs/NAME.sock, NAME being the
// mount point with '-' for '/', for root alone. A connection is one command,
// words on a line, and one answer, a line of JSON:
//   {"ok":true, ...}   or   {"ok":false,"error":"..."}
#ifndef HANDLEFS_DAEMON_RESTART_CONTROL_SOCKET_H_
#define HANDLEFS_DAEMON_RESTART_CONTROL_SOCKET_H_

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "io/base/fd.h"
#include "proto/base/errno.h"

namespace handlefs {

inline constexpr char kControlDirectory[] = "/run/handlefs";

std::string ControlPath(std::string_view mount_point);

// UNAVAILABLE: one line that names the step. Another keeper's socket at that
// path is replaced: it can have no mount there any more.
absl::StatusOr<UniqueFd> ListenAt(const std::string& path);

// The socket's name, to be taken away in the end, unless another keeper has put
// its own there meanwhile: the mount it is of may have been detached long ago.
class ControlName {
 public:
  ControlName() = default;
  // Of the socket that is there now; of nothing if there is none.
  static ControlName At(std::string path);
  void Remove();

 private:
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

// A command that was read, and where its answer goes.
struct ControlRequest {
  std::vector<std::string> words;
  UniqueFd connection;
};
// EAGAIN: nobody is there, or what is there is no command.
Result<ControlRequest> AcceptControl(BorrowedFd listening);

// {"ok":true} and more; {"ok":false,"error":why}.
nlohmann::ordered_json OkAnswer();
nlohmann::ordered_json ErrorAnswer(std::string_view why);

// Never waits; who does not read his answer does not get it.
void Answer(UniqueFd connection, const nlohmann::ordered_json& answer);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_CONTROL_SOCKET_H_

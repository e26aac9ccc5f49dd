// The socket that handlefsctl talks to: /run/handlefs/NAME.sock, NAME being the
// mount point with '-' for '/', for root alone. A connection is one command,
// words on a line, and one answer, a line of JSON:
//   {"ok":true, ...}   or   {"ok":false,"error":"..."}
// (behind that of "trace follow" come lines of the trace until one side ends).
#ifndef HANDLEFS_DAEMON_CONTROL_SOCKET_H_
#define HANDLEFS_DAEMON_CONTROL_SOCKET_H_

#include <sys/types.h>

#include <list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
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

// Reads commands of several clients at a time and waits for none: one that says
// nothing, or not all, is dropped after a while, and so is the oldest of too
// many. One thread.
class ControlPort {
 public:
  static constexpr size_t kMostClients = 64;
  static constexpr absl::Duration kPatience = absl::Seconds(2);

  ControlPort() = default;
  // UNAVAILABLE: no descriptors are left.
  absl::Status Open(BorrowedFd listening);
  void Close();
  // Readable when Collect has something to do; none if it is not open.
  BorrowedFd fd() const { return events_; }
  // Somebody has not said all yet: Collect is to be called again.
  bool waits() const { return !clients_.empty(); }
  // The commands that are there now.
  std::vector<ControlRequest> Collect();

 private:
  struct Client {
    UniqueFd fd;
    std::string line;
    absl::Time until;
  };
  void Accept();
  UniqueFd events_;
  BorrowedFd listening_;
  std::list<Client> clients_;  // the oldest first
};

// {"ok":true} and more; {"ok":false,"error":why}.
nlohmann::ordered_json OkAnswer();
nlohmann::ordered_json ErrorAnswer(std::string_view why);

// Never waits; who does not read his answer does not get it.
void Answer(UniqueFd connection, const nlohmann::ordered_json& answer);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_CONTROL_SOCKET_H_

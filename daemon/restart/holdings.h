// What a keeper holds, in a form that another process can take: a program that
// replaces it (upgrade), or one that a server starts because its keeper died.
// A list of lines "NAME VALUE" in a memfd; the descriptors in it are inherited.
#ifndef HANDLEFS_DAEMON_RESTART_HOLDINGS_H_
#define HANDLEFS_DAEMON_RESTART_HOLDINGS_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "daemon/mount.h"
#include "daemon/restart/kept.h"
#include "daemon/restart/state.h"
#include "handles/source.h"
#include "io/base/fd.h"
#include "io/uring_memory.h"

namespace handlefs {

struct Holdings {
  UniqueFd state;
  Source source;
  Mounted mounted;
  bool is_ours = true;
  KeptFds fds;
  std::unique_ptr<io::UringMemory> rings;  // none without io_uring
  UniqueFd control;  // the listening socket; none if there is none
  // A server that goes on, and this end of the pair it talks through; or none.
  pid_t server = 0;
  UniqueFd server_socket;
  // The program to go back to, and who asked for this one; or none.
  UniqueFd fallback;
  UniqueFd asker;
  UniqueFd guard;         // who waits until this program serves (upgrade.h)
  int64_t paused_ns = 0;  // CLOCK_REALTIME since which nobody serves
  std::string failure;    // why the fallback is what runs now
  std::string stored;     // names in the service manager's fd store
};

// The environment variable that names the list's descriptor.
inline constexpr char kHoldingsVariable[] = "HANDLEFS_HOLDINGS";

// Views of descriptors that stay where they are.
struct HoldingsView {
  BorrowedFd state;
  const Source& source;
  const Mounted& mounted;
  bool is_ours;
  const KeptFds& fds;
  BorrowedFd control;
  pid_t server = 0;
  BorrowedFd server_socket;
  const io::UringMemory* rings = nullptr;
  BorrowedFd fallback;
  BorrowedFd asker;
  BorrowedFd guard;
  int64_t paused_ns = 0;
  std::string failure;
  std::string stored;
};
// The lines about what is no descriptor.
std::string DescribeHoldings(const HoldingsView& view);
// The list, whose descriptors and itself outlive the next exec.
// Errors: no memory.
absl::StatusOr<UniqueFd> WriteHoldings(const HoldingsView& view);
// After an exec that failed: nothing is inherited any more.
void TakeBackHoldings(const HoldingsView& view);

// Of such lines, of which all that are of descriptors too; it owns these then.
// INVALID_ARGUMENT: what is wrong with them.
absl::StatusOr<Holdings> ParseHoldings(const std::string& text);

// Of the environment, which is cleared of it; nothing if there are none.
// INVALID_ARGUMENT: damaged.
absl::StatusOr<std::optional<Holdings>> TakeHoldings();

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_HOLDINGS_H_

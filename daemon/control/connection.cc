#include "daemon/control/connection.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "daemon/mountinfo.h"

namespace handlefs {
namespace {

// Empty if the mount is not there.
std::string FileOf(const Mounted& mounted, const char* name) {
  const std::string number = ConnectionOf(mounted);
  if (number.empty()) return "";
  return absl::StrCat("/sys/fs/fuse/connections/", number, "/", name);
}

}  // namespace

std::string ConnectionOf(const Mounted& mounted) {
  auto mount = MountOfId(mounted.mount_id);
  return mount ? mount->minor : "";
}

std::optional<uint64_t> WaitingIn(const Mounted& mounted) {
  std::ifstream file(FileOf(mounted, "waiting"));
  uint64_t waiting = 0;
  if (!(file >> waiting)) return std::nullopt;
  return waiting;
}

bool AbortConnection(const Mounted& mounted) {
  const std::string path = FileOf(mounted, "abort");
  UniqueFd abort(path.empty() ? -1 : open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return abort && write(abort.get(), "1", 1) == 1;
}

}  // namespace handlefs

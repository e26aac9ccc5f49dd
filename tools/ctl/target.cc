#include "target.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "daemon/control/socket.h"
#include "daemon/mountinfo.h"
#include "io/base/fd.h"

namespace handlefs::ctl {
namespace {

namespace fs = std::filesystem;

constexpr char kType[] = "fuse.handlefs";

Failure NoMount(const std::string& what) {
  return {ExitStatus::kUnreachable, what};
}

std::optional<Failure> WhyNotOurs(const std::string& point,
                                  const std::optional<MountLine>& mount) {
  if (!mount) {
    return NoMount(absl::StrCat("nothing is mounted at ", point,
                                ": findmnt -t ", kType,
                                " lists the mounts of handlefs"));
  }
  if (mount->type != kType) {
    return NoMount(absl::StrCat("what is mounted at ", point, " is ",
                                mount->type, ", not ", kType, ": findmnt -t ",
                                kType, " lists the mounts of handlefs"));
  }
  return std::nullopt;
}

// The path whose last component is left alone, absolute and without links.
std::variant<std::string, Failure> ResolveParent(fs::path path) {
  std::error_code error;
  if (path.is_relative()) path = fs::current_path(error) / path;
  if (error) return NoMount("the working directory is gone: name a full path");
  while (path != "/" && (path.filename().empty() || path.filename() == ".")) {
    path = path.parent_path();
  }
  if (path == "/") return std::string("/");
  if (path.filename() == "..") {
    return Failure{ExitStatus::kUsage,
                   "name the mount point itself, not by '..'"};
  }
  fs::path parent = fs::canonical(path.parent_path(), error);
  if (error) {
    return NoMount(absl::StrCat("no mount at ", path.string(), ": ",
                                path.parent_path().string(), ": ",
                                error.message()));
  }
  return (parent / path.filename()).string();
}

}  // namespace

std::variant<Target, Failure> FindTarget(const std::string& named) {
  if (named.ends_with(".sock"))
    return Target{.socket = named, .mount_point = ""};
  auto resolved = ResolveParent(named);
  if (auto* failure = std::get_if<Failure>(&resolved)) return *failure;
  std::string point = std::get<std::string>(resolved);
  auto mount = TopMountAt(point);
  if (!mount) {
    // Nothing is mounted there, so it may be looked at: a link to it?
    std::error_code error;
    fs::path link = fs::read_symlink(point, error);
    if (!error) {
      resolved = ResolveParent(fs::path(point).parent_path() / link);
      if (auto* failure = std::get_if<Failure>(&resolved)) return *failure;
      point = std::get<std::string>(resolved);
      mount = TopMountAt(point);
    }
  }
  if (auto failure = WhyNotOurs(point, mount)) return *failure;
  return Target{.socket = ControlPath(point), .mount_point = point};
}

std::optional<Failure> AbortMount(const std::string& point) {
  auto mount = TopMountAt(point);
  if (auto failure = WhyNotOurs(point, mount)) return failure;
  const std::string path =
      absl::StrCat("/sys/fs/fuse/connections/", mount->minor, "/abort");
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) {
    return NoMount(absl::StrCat(
        "cannot open ", path, ": ", std::strerror(errno),
        errno == ENOENT
            ? ": mount -t fusectl fusectl /sys/fs/fuse/connections, if it is "
              "not mounted"
            : ""));
  }
  // The number may have become another mount's meanwhile.
  if (TopMountAt(point) != mount) {
    return NoMount(absl::StrCat(point, " is just being unmounted or mounted"));
  }
  if (write(file.get(), "1", 1) != 1) {
    return NoMount(
        absl::StrCat("cannot write to ", path, ": ", std::strerror(errno)));
  }
  return std::nullopt;
}

}  // namespace handlefs::ctl

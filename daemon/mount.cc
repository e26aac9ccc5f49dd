#include "daemon/mount.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "daemon/mountinfo.h"
#include "io/base/rights.h"

namespace handlefs {
namespace {

constexpr char kType[] = "fuse.handlefs";

StartError Fail(ExitCode code, const std::string& what, int error,
                const std::string& cure) {
  std::string message = absl::StrCat(what, ": ", std::strerror(error));
  if (!cure.empty()) absl::StrAppend(&message, "; ", cure);
  return {code, message};
}

bool On(const std::optional<Switch>& option, bool by_default) {
  return option ? *option == Switch::kOn : by_default;
}

uint64_t MountAttributes(const Options& options) {
  uint64_t attributes = options.mount_attributes;
  if (options.read_only == Switch::kOn) attributes |= MOUNT_ATTR_RDONLY;
  // As root like a bind mount: set-id programs and devices work.
  if (options.allow_suid == Switch::kOff) attributes |= MOUNT_ATTR_NOSUID;
  if (options.allow_dev == Switch::kOff) attributes |= MOUNT_ATTR_NODEV;
  return attributes;
}

std::vector<std::string> Words(const std::string& list) {
  std::vector<std::string> words;
  std::stringstream stream(list);
  for (std::string word; std::getline(stream, word, ',');) {
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

std::string FsName(const Options& options, const std::string& source) {
  return options.fsname.empty() ? source : options.fsname;
}

// What the file system says about why it refused.
std::string Complaint(BorrowedFd context) {
  char text[256];
  ssize_t n = read(context.get(), text, sizeof(text) - 1);
  if (n <= 0) return "";
  text[n] = '\0';
  return absl::StrCat(" (", text, ")");
}

Result<UniqueFd> NewApi(const Options& options, BorrowedFd device,
                        const std::string& source, std::string* complaint) {
  UniqueFd context(fsopen("fuse", FSOPEN_CLOEXEC));
  if (!context) return LastErrno();
  auto set = [&](const char* key, const std::string& value) {
    return fsconfig(context.get(), FSCONFIG_SET_STRING, key, value.c_str(),
                    0) == 0;
  };
  auto flag = [&](const char* key) {
    return fsconfig(context.get(), FSCONFIG_SET_FLAG, key, nullptr, 0) == 0;
  };
  bool good =
      set("source", FsName(options, source)) && set("subtype", "handlefs") &&
      set("fd", absl::StrCat(device.get())) && set("rootmode", "40000") &&
      set("user_id", absl::StrCat(options.owner_uid)) &&
      set("group_id", absl::StrCat(options.owner_gid)) &&
      flag("default_permissions");
  if (good && On(options.allow_other, true)) good = flag("allow_other");
  if (good && options.max_read != 0) {
    good = set("max_read", absl::StrCat(options.max_read));
  }
  if (good && options.read_only == Switch::kOn) good = flag("ro");
  for (const std::string& word : Words(options.superblock_flags)) {
    good = good && flag(word.c_str());
  }
  good = good &&
         fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0;
  if (!good) {
    int error = errno;
    *complaint = Complaint(context);
    return Errno(error);
  }
  UniqueFd mount(fsmount(context.get(), FSMOUNT_CLOEXEC,
                         static_cast<unsigned>(MountAttributes(options))));
  if (!mount) return LastErrno();
  return mount;
}

// The words of the older interfaces, mount(2) and fusermount3.
struct OldFlag {
  uint64_t attribute;
  unsigned long flag;
  const char* word;  // of fusermount3; none if it has none
};
constexpr OldFlag kOldFlags[] = {
    {MOUNT_ATTR_RDONLY, MS_RDONLY, "ro"},
    {MOUNT_ATTR_NOSUID, MS_NOSUID, "nosuid"},
    {MOUNT_ATTR_NODEV, MS_NODEV, "nodev"},
    {MOUNT_ATTR_NOEXEC, MS_NOEXEC, "noexec"},
    {MOUNT_ATTR_NODIRATIME, MS_NODIRATIME, "nodiratime"},
    {MOUNT_ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW, nullptr},
};

unsigned long OldFlags(const Options& options) {
  uint64_t attributes = MountAttributes(options);
  unsigned long flags = 0;
  for (const OldFlag& row : kOldFlags) {
    if ((attributes & row.attribute) != 0) flags |= row.flag;
  }
  switch (attributes & MOUNT_ATTR__ATIME) {
    case MOUNT_ATTR_NOATIME:
      flags |= MS_NOATIME;
      break;
    case MOUNT_ATTR_STRICTATIME:
      flags |= MS_STRICTATIME;
      break;
    default:
      flags |= MS_RELATIME;
  }
  for (const std::string& word : Words(options.superblock_flags)) {
    if (word == "sync") flags |= MS_SYNCHRONOUS;
    if (word == "async") flags &= ~static_cast<unsigned long>(MS_SYNCHRONOUS);
    if (word == "dirsync") flags |= MS_DIRSYNC;
    if (word == "lazytime") flags |= MS_LAZYTIME;
    if (word == "nolazytime") flags &= ~static_cast<unsigned long>(MS_LAZYTIME);
  }
  return flags;
}

Status OldApi(const Options& options, BorrowedFd device,
              const std::string& source, const std::string& mount_point) {
  std::string data = absl::StrCat(
      "fd=", device.get(), ",rootmode=40000,user_id=", options.owner_uid,
      ",group_id=", options.owner_gid, ",default_permissions");
  if (On(options.allow_other, true)) absl::StrAppend(&data, ",allow_other");
  if (options.max_read != 0) {
    absl::StrAppend(&data, ",max_read=", options.max_read);
  }
  return Check(::mount(FsName(options, source).c_str(), mount_point.c_str(),
                       kType, OldFlags(options), data.c_str()));
}

std::variant<Mounted, StartError> MountByKernel(const Options& options,
                                                const std::string& mount_point,
                                                const std::string& source) {
  Mounted mounted;
  mounted.mount_point = mount_point;
  mounted.device = UniqueFd(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!mounted.device) {
    return Fail(ExitCode::kFuse, "cannot open /dev/fuse", errno,
                "load the fuse module (modprobe fuse) and see that /dev/fuse "
                "exists");
  }
  std::string complaint;
  // fsconfig takes strings of up to 255 bytes, mount a page.
  Result<UniqueFd> tree =
      FsName(options, source).size() <= 255
          ? NewApi(options, mounted.device, source, &complaint)
          : Result<UniqueFd>(Errno(ENOSYS));
  if (tree.ok()) {
    if (move_mount(tree->get(), "", AT_FDCWD, mount_point.c_str(),
                   MOVE_MOUNT_F_EMPTY_PATH) != 0) {
      return Fail(ExitCode::kMount,
                  absl::StrCat("cannot mount on ", mount_point), errno, "");
    }
    return mounted;
  }
  // A filter or an old kernel refuses the new calls as such; other errors are
  // about the options.
  if (tree.error() == Errno(ENOSYS) || tree.error() == Errno(EPERM)) {
    Status old = OldApi(options, mounted.device, source, mount_point);
    if (old.ok()) return mounted;
    return Fail(ExitCode::kMount, absl::StrCat("cannot mount on ", mount_point),
                old.error().value(),
                "mounting needs CAP_SYS_ADMIN, or fusermount3 of the fuse3 "
                "package");
  }
  return Fail(ExitCode::kMount,
              absl::StrCat("the kernel refuses the mount", complaint),
              tree.error().value(), "see the mount options");
}

struct HelperEnd {
  int status = -1;   // exit status; -1 with errno where it could not be run
  std::string said;  // the last line on its stderr
};

// Runs fusermount3.
HelperEnd RunHelper(const std::vector<std::string>& args, const char* comm_fd) {
  std::vector<char*> argv;
  argv.reserve(args.size() + 1);
  for (const std::string& arg : args) {
    argv.push_back(const_cast<char*>(arg.c_str()));
  }
  argv.push_back(nullptr);
  std::vector<char*> env;
  for (char** e = environ; *e != nullptr; ++e) {
    if (std::strncmp(*e, "_FUSE_COMMFD=", 13) != 0) env.push_back(*e);
  }
  std::string comm;
  if (comm_fd != nullptr) {
    comm = absl::StrCat("_FUSE_COMMFD=", comm_fd);
    env.push_back(comm.data());
  }
  env.push_back(nullptr);
  int pair[2];
  if (pipe2(pair, O_CLOEXEC) != 0) return {};
  UniqueFd out(pair[0]), in(pair[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.get(), STDERR_FILENO);
  pid_t pid;
  int error =
      posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), env.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    errno = error;
    return {};
  }
  in.reset();
  HelperEnd end;
  char text[512];
  for (ssize_t n; (n = read(out.get(), text, sizeof(text))) != 0;) {
    if (n > 0) end.said.append(text, static_cast<size_t>(n));
    if (n < 0 && errno != EINTR) break;
  }
  while (!end.said.empty() && end.said.back() == '\n') end.said.pop_back();
  end.said.erase(0, end.said.rfind('\n') + 1);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  end.status = WIFEXITED(status) ? WEXITSTATUS(status) : 255;
  return end;
}

// As a value in an option list of fusermount3.
std::string EscapeOption(const std::string& value) {
  std::string out;
  for (char c : value) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::variant<Mounted, StartError> MountByHelper(const Options& options,
                                                const std::string& mount_point,
                                                const std::string& source) {
  std::string list =
      absl::StrCat("fsname=", EscapeOption(FsName(options, source)),
                   ",subtype=handlefs,default_permissions");
  if (On(options.allow_other, false)) absl::StrAppend(&list, ",allow_other");
  if (options.max_read != 0) {
    absl::StrAppend(&list, ",max_read=", options.max_read);
  }
  // It always mounts nosuid and nodev for users.
  if (options.allow_suid == Switch::kOn || options.allow_dev == Switch::kOn) {
    return StartError{ExitCode::kMount,
                      "the options suid and dev need root: leave them out"};
  }
  uint64_t attributes = MountAttributes(options);
  for (const OldFlag& row : kOldFlags) {
    if ((attributes & row.attribute) == 0) continue;
    if (row.word == nullptr) {
      return StartError{ExitCode::kMount,
                        "the option nosymfollow needs root: leave it out"};
    }
    absl::StrAppend(&list, ",", row.word);
  }
  if ((attributes & MOUNT_ATTR__ATIME) == MOUNT_ATTR_NOATIME) {
    absl::StrAppend(&list, ",noatime");
  }
  if (!options.superblock_flags.empty()) {
    absl::StrAppend(&list, ",", options.superblock_flags);
  }
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
    return Fail(ExitCode::kMount, "cannot make a socket pair", errno, "");
  }
  UniqueFd ours(pair[0]), theirs(pair[1]);
  fcntl(ours.get(), F_SETFD, FD_CLOEXEC);
  std::string comm = absl::StrCat(theirs.get());
  HelperEnd end =
      RunHelper({"fusermount3", "-o", list, "--", mount_point}, comm.c_str());
  if (end.status < 0) {
    return Fail(ExitCode::kMount, "cannot run fusermount3", errno,
                "without root it does the mounting: install the fuse3 package");
  }
  theirs.reset();
  Mounted mounted;
  mounted.mount_point = mount_point;
  mounted.by_helper = true;
  if (end.status == 0) {
    std::byte byte;
    auto packet = ReceiveWithFd(ours, std::span(&byte, 1), 0);
    if (packet.ok()) mounted.device = std::move(packet->fd);
  }
  if (!mounted.device) {
    return StartError{
        ExitCode::kMount,
        absl::StrCat(
            "cannot mount on ", mount_point, " without root: ",
            end.said.empty() ? "fusermount3 failed silently" : end.said)};
  }
  return mounted;
}

}  // namespace

std::variant<std::string, StartError> CheckMountPoint(const std::string& path,
                                                      StaleMount stale) {
  struct stat st;
  auto look = [&] { return stat(path.c_str(), &st) == 0; };
  auto is_dead = [] { return errno == ENOTCONN || errno == ECONNABORTED; };
  bool found = look();
  // They can lie on top of each other.
  while (!found && is_dead() && stale == StaleMount::kReplace) {
    if (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
      return Fail(ExitCode::kMountPoint,
                  absl::StrCat("replace_stale: cannot take away the dead FUSE "
                               "mount at ",
                               path),
                  errno, "");
    }
    found = look();
  }
  if (!found) {
    if (is_dead()) {
      return Fail(
          ExitCode::kMountPoint,
          absl::StrCat("the mount point ", path, " is a dead FUSE mount"),
          errno,
          absl::StrCat("take it away with: umount -l ", path,
                       ", or let replace_stale do it"));
    }
    return Fail(
        ExitCode::kMountPoint,
        absl::StrCat("cannot find the mount point ", path), errno,
        errno == ENOENT ? absl::StrCat("make it with: mkdir -p ", path) : "");
  }
  if (!S_ISDIR(st.st_mode)) {
    return StartError{
        ExitCode::kMountPoint,
        absl::StrCat("the mount point ", path, " is not a directory")};
  }
  char real[PATH_MAX];
  if (realpath(path.c_str(), real) == nullptr) {
    return Fail(ExitCode::kMountPoint,
                absl::StrCat("cannot find the mount point ", path), errno, "");
  }
  return std::string(real);
}

std::variant<Mounted, StartError> MountFuse(const Options& options,
                                            const std::string& mount_point,
                                            const std::string& source,
                                            MountBy by) {
  auto result = by == MountBy::kKernel
                    ? MountByKernel(options, mount_point, source)
                    : MountByHelper(options, mount_point, source);
  if (auto* mounted = std::get_if<Mounted>(&result)) {
    if (auto top = TopMountAt(mount_point)) mounted->mount_id = top->id;
  }
  return result;
}

Status RemountFuse(const Options& options, const std::string& mount_point) {
  auto top = TopMountAt(mount_point);
  if (!top || top->type != kType) return Errno(EINVAL);
  // The old interface: the new one refuses what mount(8) adds of the mount's
  // own options, and changes superblock and mount in two steps.
  return Check(::mount(nullptr, mount_point.c_str(), nullptr,
                       MS_REMOUNT | OldFlags(options), nullptr));
}

std::optional<Mounted> FindMount(const std::string& mount_point) {
  auto top = TopMountAt(mount_point);
  if (!top || top->type != kType) return std::nullopt;
  return Mounted{.device = {},
                 .mount_point = mount_point,
                 .mount_id = top->id,
                 .by_helper = false};
}

bool IsMounted(const Mounted& mounted) {
  auto mount = MountOfId(mounted.mount_id);
  return mount && mount->point == mounted.mount_point;
}

Status UnmountFuse(const Mounted& mounted, Unmount how) {
  const std::string& path = mounted.mount_point;
  auto top = TopMountAt(path);
  if (!top || top->id != mounted.mount_id) return Errno(ENOENT);
  if (mounted.by_helper) {
    std::vector<std::string> args = {"fusermount3", "-u", "-q"};
    if (how == Unmount::kDetach) args.push_back("-z");
    args.push_back("--");
    args.push_back(path);
    return RunHelper(args, nullptr).status == 0 ? Ok() : Status(Errno(EBUSY));
  }
  int flags = UMOUNT_NOFOLLOW | (how == Unmount::kDetach ? MNT_DETACH : 0);
  return Check(umount2(path.c_str(), flags));
}

}  // namespace handlefs

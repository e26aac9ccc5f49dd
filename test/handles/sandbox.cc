#include "sandbox.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace handlefs::test {
namespace {

std::string root;
std::string why_none = "Sandbox::Enter was not called";

[[noreturn]] void Fail(const std::string& step) {
  throw std::runtime_error(step + ": " + std::strerror(errno));
}

void MakeImage(const std::string& path, off_t size) {
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, size) != 0) Fail("cannot make " + path);
  close(fd);
}

void MakeDir(const std::string& path) {
  if (mkdir(path.c_str(), 0755) != 0) Fail("cannot make " + path);
}

}  // namespace

void Sandbox::Enter() {
  const char* top = std::getenv("TMPDIR");
  std::string place = top != nullptr ? top : "/tmp";
  place += "/handles-tests.XXXXXX";
  if (geteuid() != 0) {
    why_none = "these tests mount file systems and must be run by root";
  } else if (unshare(CLONE_NEWNS) != 0) {
    why_none = std::string("no mount namespace: ") + std::strerror(errno);
  } else if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    why_none = std::string("mounts stay shared: ") + std::strerror(errno);
  } else if (mkdtemp(place.data()) == nullptr) {
    why_none = "no folder " + place + ": " + std::strerror(errno);
  } else {
    if (mount("handles-tests", place.c_str(), "tmpfs", 0, "mode=0700") == 0) {
      root = place;
    } else {
      why_none = std::string("no tmpfs: ") + std::strerror(errno);
    }
    // Other namespaces see an empty folder. It is all that a crash leaves.
    static std::string cleanup = place;
    std::atexit([] {
      umount2(cleanup.c_str(), MNT_DETACH);
      rmdir(cleanup.c_str());
    });
  }
}

const std::string& Sandbox::Root() {
  if (root.empty()) throw std::runtime_error("no sandbox: " + why_none);
  return root;
}

void Run(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  std::string line;
  for (const std::string& word : command) {
    argv.push_back(const_cast<char*>(word.c_str()));
    line += word + " ";
  }
  argv.push_back(nullptr);
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) Fail("pipe");
  pid_t pid = fork();
  if (pid < 0) Fail("fork");
  if (pid == 0) {
    dup2(out[1], 1);
    dup2(out[1], 2);
    execvp(argv[0], argv.data());
    dprintf(2, "cannot run it: %s", std::strerror(errno));
    _exit(127);
  }
  close(out[1]);
  std::string said;
  char buffer[512];
  for (ssize_t n; (n = read(out[0], buffer, sizeof(buffer))) > 0;) {
    said.append(buffer, static_cast<size_t>(n));
  }
  close(out[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  if (status != 0) throw std::runtime_error(line + "failed: " + said);
}

void DropInodes() {
  int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "2", 1) != 1) Fail("drop_caches");
  close(fd);
}

const char* NameOf(FsKind kind) {
  switch (kind) {
    case FsKind::kExt4:
      return "ext4";
    case FsKind::kXfs:
      return "xfs";
    case FsKind::kBtrfs:
      return "btrfs";
    case FsKind::kTmpfs:
      return "tmpfs";
    case FsKind::kOverlay:
      return "overlay";
    case FsKind::kOverlayExport:
      return "overlay-export";
  }
  return "?";
}

MountedFs::MountedFs(FsKind kind) {
  std::string name = Sandbox::Root() + "/" + NameOf(kind) + ".XXXXXX";
  if (mkdtemp(name.data()) == nullptr) Fail("mkdtemp");
  place_ = name;
  path_ = place_ + "/mnt";
  MakeDir(path_);
  std::string image = place_ + "/image";
  auto loop = [&](off_t mib, std::vector<std::string> mkfs,
                  const std::string& where) {
    MakeImage(image, mib << 20);
    mkfs.push_back(image);
    Run(mkfs);
    Run({"mount", "-n", "-o", "loop", image, where});
    mounted_.push_back(where);
  };
  switch (kind) {
    case FsKind::kExt4:
      loop(64, {"mkfs.ext4", "-q", "-F"}, path_);
      break;
    case FsKind::kXfs:
      loop(320, {"mkfs.xfs", "-q", "-f"}, path_);
      break;
    case FsKind::kBtrfs:
      loop(192, {"mkfs.btrfs", "-q", "-f"}, path_);
      break;
    case FsKind::kTmpfs:
      Run({"mount", "-n", "-t", "tmpfs", "handles-tests", path_});
      mounted_.push_back(path_);
      break;
    case FsKind::kOverlay:
    case FsKind::kOverlayExport: {
      std::string layers = place_ + "/layers";
      MakeDir(layers);
      loop(64, {"mkfs.ext4", "-q", "-F"}, layers);
      for (const char* dir : {"/lower", "/upper", "/work"}) {
        MakeDir(layers + dir);
      }
      std::string options = "lowerdir=" + layers + "/lower,upperdir=" + layers +
                            "/upper,workdir=" + layers + "/work,";
      options += kind == FsKind::kOverlay ? "index=off,nfs_export=off"
                                          : "index=on,nfs_export=on";
      Run({"mount", "-n", "-t", "overlay", "-o", options, "overlay", path_});
      mounted_.push_back(path_);
      break;
    }
  }
}

MountedFs::~MountedFs() {
  for (auto it = mounted_.rbegin(); it != mounted_.rend(); ++it) {
    umount2(it->c_str(), MNT_DETACH);
  }
  std::error_code ignored;
  std::filesystem::remove_all(place_, ignored);
}

Mounted::Mounted(std::vector<std::string> command, std::string where)
    : where_(std::move(where)) {
  command.push_back(where_);
  Run(command);
}

Mounted::~Mounted() { umount2(where_.c_str(), MNT_DETACH); }

}  // namespace handlefs::test

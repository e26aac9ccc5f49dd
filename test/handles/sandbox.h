// A place for file systems: a private mount namespace with a tmpfs in which
// images and mount points live. It and all loop devices go with the process.
#ifndef HANDLEFS_TEST_HANDLES_SANDBOX_H_
#define HANDLEFS_TEST_HANDLES_SANDBOX_H_

#include <string>
#include <vector>

namespace handlefs::test {

class Sandbox {
 public:
  // Called once, by main, before the first thread. An error is kept for Root().
  static void Enter();
  // The folder for mounted file systems. Throws, with the reason, if there is
  // none: tests that need it must fail, never be skipped.
  static const std::string& Root();
};

// Runs a program and throws with its output if it fails.
void Run(const std::vector<std::string>& command);
// Drops the kernel's unused dentries and inodes.
void DropInodes();

enum class FsKind { kExt4, kXfs, kBtrfs, kTmpfs, kOverlay, kOverlayExport };
const char* NameOf(FsKind kind);

// A fresh file system, mounted while this lives.
class MountedFs {
 public:
  explicit MountedFs(FsKind kind);
  ~MountedFs();
  MountedFs(const MountedFs&) = delete;
  MountedFs& operator=(const MountedFs&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string place_;  // holds the image, the layers, the mount point
  std::string path_;
  std::vector<std::string> mounted_;
};

// Something mounted by a test on a place of its own choice.
class Mounted {
 public:
  Mounted(std::vector<std::string> command, std::string where);
  ~Mounted();
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;

 private:
  std::string where_;
};

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_HANDLES_SANDBOX_H_

// The daemon as a child process that serves a socket instead of a mount, and
// the directory tree it serves.
#ifndef HANDLEFS_TEST_WIRE_PROCESS_H_
#define HANDLEFS_TEST_WIRE_PROCESS_H_

#include <sys/resource.h>
#include <sys/types.h>

#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/fd.h"

namespace handlefs::test {

// Whatever the framework finds wrong. A test that does not expect it fails.
class WireFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A directory with `source/` in it, which is served, and room beside it for
// what must never be reached. Removed with everything below it.
class TempTree {
 public:
  TempTree();
  ~TempTree();
  TempTree(const TempTree&) = delete;
  TempTree& operator=(const TempTree&) = delete;

  std::filesystem::path source() const { return top_ / "source"; }
  std::filesystem::path outside() const { return top_ / "outside"; }
  // Paths below the source.
  std::filesystem::path Path(std::string_view name) const {
    return source() / name;
  }
  void Write(std::string_view name, std::string_view content) const;
  std::string Read(std::string_view name) const;

 private:
  std::filesystem::path top_;
};

class DaemonProcess {
 public:
  // The program comes from the environment's HANDLEFS, or from the build.
  DaemonProcess(const std::filesystem::path& source,
                const std::vector<std::string>& options, UniqueFd socket);
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  bool Alive();
  pid_t pid() const { return pid_; }
  // Waits for the end and throws unless the exit status is `status` and no
  // sanitizer said anything.
  void ExpectEnd(int status);
  std::string Stderr() const;
  // Leaves it `free` descriptors more than it has open; destroyed, none are
  // missing any more.
  class FewDescriptors {
   public:
    FewDescriptors(const DaemonProcess& process, size_t free);
    ~FewDescriptors();
    FewDescriptors(const FewDescriptors&) = delete;
    FewDescriptors& operator=(const FewDescriptors&) = delete;

   private:
    const pid_t pid_;
    rlimit before_{};
  };

 private:
  bool Wait(int milliseconds);
  void Kill();

  pid_t pid_ = -1;
  UniqueFd pidfd_;
  UniqueFd stderr_;
  int status_ = 0;
  bool ended_ = false;
};

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_WIRE_PROCESS_H_

// How a mount ends, seen by the server of a real one.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "kernel_mount.h"

namespace handlefs::test {
namespace {

// Many open files, which all end with their process and then with the mount:
// the kernel sends their RELEASEs and takes the connection down meanwhile.
TEST_CASE("the last close of a detached mount is no abort", "[device]") {
  for (int round = 0; round < 300; ++round) {
    DevMount m;
    m.Serve();
    const std::string path = m.Path();
    m.Start(static_cast<size_t>(round) % 2, [&path] {
      for (int i = 0; i < 40; ++i) {
        if (open(path.c_str(), O_RDONLY) < 0) return 1;
      }
      return 0;
    });
    m.root.reset();
    REQUIRE(m.clients.Next() == 0);
    m.thread.join();
    REQUIRE(m.end.reason == io::StopReason::kUnmounted);
  }
}

}  // namespace
}  // namespace handlefs::test

// Sockets that nobody listens at.
#include "daemon/control/stale_sockets.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "io/base/fd.h"
#include "temporary.h"

namespace handlefs::test {
namespace {

enum class Listen { kYes, kNo };

UniqueFd MakeSocket(const std::string& path, Listen listens) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(bind(fd.get(), reinterpret_cast<sockaddr*>(&address),
               sizeof(address)) == 0);
  if (listens == Listen::kYes) REQUIRE(listen(fd.get(), 1) == 0);
  return fd;
}

bool IsThere(const std::string& path) {
  return std::filesystem::is_socket(path) ||
         std::filesystem::is_symlink(path) || std::filesystem::exists(path);
}

TEST_CASE("only sockets that nobody listens at are taken away", "[control]") {
  Temporary directory;
  // Closed: its owner was killed.
  MakeSocket(directory / "dead.sock", Listen::kYes).reset();
  UniqueFd live = MakeSocket(directory / "live.sock", Listen::kYes);
  MakeSocket(directory / "other", Listen::kYes).reset();
  UniqueFd file(
      open((directory / "file.sock").c_str(), O_CREAT | O_WRONLY, 0600));
  // What a link points to is not ours.
  MakeSocket(directory / "elsewhere", Listen::kYes).reset();
  std::filesystem::create_symlink(directory / "elsewhere",
                                  directory / "link.sock");
  REQUIRE(mkfifo((directory / "fifo.sock").c_str(), 0600) == 0);
  // One that does not get on: its queue is full.
  UniqueFd busy = MakeSocket(directory / "busy.sock", Listen::kYes);
  std::vector<UniqueFd> waiting;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  (directory / "busy.sock").copy(address.sun_path, sizeof(address.sun_path));
  while (true) {
    UniqueFd client(
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connect(client.get(), reinterpret_cast<sockaddr*>(&address),
                sizeof(address)) != 0) {
      break;
    }
    waiting.push_back(std::move(client));
  }

  RemoveStaleSockets(directory.path());

  CHECK_FALSE(IsThere(directory / "dead.sock"));
  for (const char* name : {"live.sock", "other", "file.sock", "elsewhere",
                           "link.sock", "fifo.sock", "busy.sock"}) {
    INFO(name);
    CHECK(IsThere(directory / name));
  }
  RemoveStaleSockets(directory / "none");
}

}  // namespace
}  // namespace handlefs::test

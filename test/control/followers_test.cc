// Readers of the trace that are fast, slow or dead.
#include "daemon/control/followers.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>

namespace handlefs::test {
namespace {

struct Pair {
  Pair() {
    int fds[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    server = UniqueFd(fds[0]);
    client = UniqueFd(fds[1]);
  }
  // All that comes until `end` has come.
  std::string ReadUntil(const std::string& end) {
    std::string text;
    char part[65536];
    while (text.find(end) == std::string::npos) {
      ssize_t n = read(client.get(), part, sizeof(part));
      if (n <= 0) return text + "(end)";
      text.append(part, static_cast<size_t>(n));
    }
    return text;
  }
  UniqueFd server, client;
};

void UntilNobody(const Followers& followers) {
  while (followers.any()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST_CASE("followers: each gets every line", "[control]") {
  Followers followers;
  CHECK_FALSE(followers.any());
  followers.Tell("nobody hears this");
  Pair a, b;
  REQUIRE(followers.Add(a.server, "hello\n").ok());
  REQUIRE(followers.Add(b.server, "hello\n").ok());
  CHECK(followers.any());
  CHECK_FALSE(a.server);
  followers.Tell("one");
  followers.Tell("two\n  of it");
  CHECK(a.ReadUntil("of it\n") == "hello\none\ntwo\n  of it\n");
  CHECK(b.ReadUntil("of it\n") == "hello\none\ntwo\n  of it\n");
  // One leaves, the other goes on.
  a.client.reset();
  followers.Tell("three");
  CHECK(b.ReadUntil("three\n") == "three\n");
  b.client.reset();
  UntilNobody(followers);
}

TEST_CASE("followers: who does not read misses lines and is told",
          "[control]") {
  Followers followers;
  Pair slow;
  REQUIRE(followers.Add(slow.server, "").ok());
  const std::string line(1000, 'x');
  // More than buffers take; it does not wait.
  for (int i = 0; i < 5000; ++i) followers.Tell(line);
  std::string text = slow.ReadUntil(" dropped: the reader is too slow\n");
  CHECK(text.find("\n... ") != std::string::npos);
  CHECK(text.size() >= Followers::kBuffer / 2);
  CHECK(text.size() < 5000 * line.size());
  // From there on it has all.
  followers.Tell("again");
  CHECK(slow.ReadUntil("again\n").ends_with("again\n"));
}

TEST_CASE("followers: not more than there is room for", "[control]") {
  Followers followers;
  std::vector<Pair> pairs(Followers::kMost);
  for (Pair& pair : pairs) REQUIRE(followers.Add(pair.server, "").ok());
  Pair more;
  CHECK_FALSE(followers.Add(more.server, "").ok());
  CHECK(more.server);
  pairs.clear();
  UntilNobody(followers);
  CHECK(followers.Add(more.server, "").ok());
}

}  // namespace
}  // namespace handlefs::test

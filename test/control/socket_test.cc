// The control socket, with a client in the test's hands.
#include "daemon/control/socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "daemon/control/words.h"
#include "support.h"

namespace handlefs::test {
namespace {

TEST_CASE("control socket: one path for each mount point", "[control]") {
  CHECK(ControlPath("/mnt/data") == "/run/handlefs/mnt-data.sock");
  CHECK(ControlPath("/") == "/run/handlefs/-.sock");
  CHECK(ControlPath("/a-b") == "/run/handlefs/a\\x2db.sock");
  CHECK(ControlPath("/a\\b") == "/run/handlefs/a\\x5cb.sock");
  CHECK(ControlPath("/a b\xc3\xa4") == "/run/handlefs/a b\xc3\xa4.sock");
  // No two share one.
  const char* points[] = {"/",      "/-",     "/a/b",   "/a-b",
                          "/a\\b",  "/a/-b",  "/a--b",  "/a\\x2db",
                          "/a/b/c", "/a-b/c", "/a/b-c", "/a\\x5cx2db"};
  std::set<std::string> paths;
  for (const char* point : points) paths.insert(ControlPath(point));
  CHECK(paths.size() == std::size(points));
}

struct Server {
  Server() {
    auto made = ListenAt(path);
    INFO(made.status().ToString());
    REQUIRE(made.ok());
    listening = *std::move(made);
    REQUIRE(port.Open(listening).ok());
  }
  UniqueFd Connect() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(connect(fd.get(), reinterpret_cast<sockaddr*>(&address),
                    sizeof(address)) == 0);
    return fd;
  }
  // The words of what is said, or nothing.
  std::vector<std::string> WordsOf(const std::string& said) {
    client = Connect();
    REQUIRE(send(client.get(), said.data(), said.size(), 0) ==
            static_cast<ssize_t>(said.size()));
    // A client that hangs up later is not waited for.
    auto requests = port.Collect();
    if (requests.size() != 1) return {"error"};
    connection = std::move(requests[0].connection);
    return requests[0].words;
  }
  bool HungUp() {
    char byte;
    return recv(client.get(), &byte, 1, 0) <= 0;
  }
  std::string Line() {
    char text[4096];
    ssize_t n = recv(client.get(), text, sizeof(text), 0);
    return n < 0 ? "error" : std::string(text, static_cast<size_t>(n));
  }
  TempDir temp;
  std::string path = temp / "socket";
  UniqueFd listening, client, connection;
  ControlPort port;
};

using Words = std::vector<std::string>;

TEST_CASE("control socket: for root alone", "[control]") {
  Server server;
  struct stat st;
  REQUIRE(stat(server.path.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);
  // An old one is replaced, and does not take the new one away in its end.
  ControlName old = ControlName::At(server.path);
  auto again = ListenAt(server.path);
  REQUIRE(again.ok());
  ControlName own = ControlName::At(server.path);
  old.Remove();
  CHECK(stat(server.path.c_str(), &st) == 0);
  own.Remove();
  CHECK(stat(server.path.c_str(), &st) != 0);
  ControlName::At(server.path).Remove();
  CHECK_FALSE(ListenAt(server.temp / std::string(120, 'x')).ok());
  CHECK_FALSE(ListenAt("/nowhere/socket").ok());
}

TEST_CASE("control socket: commands", "[control]") {
  Server server;
  CHECK(server.port.Collect().empty());
  CHECK(server.WordsOf("status\n") == Words{"status"});
  CHECK(server.WordsOf("upgrade /usr/bin/handlefs\n") ==
        Words{"upgrade", "/usr/bin/handlefs"});
  CHECK(server.WordsOf(std::string("upgrade /a\0b\n", 13)) ==
        Words{"upgrade", "/a b"});
  CHECK(server.WordsOf("status\nand more") == Words{"status"});
  CHECK(server.WordsOf("\n").empty());
  // Whoever asked is told.
  CHECK(server.WordsOf("status\n") == Words{"status"});
  auto answer = OkAnswer();
  answer["name"] = "\xff";
  Answer(std::move(server.connection), answer);
  CHECK(server.Line() == "{\"ok\":true,\"name\":\"\xef\xbf\xbd\"}\n");
  CHECK(server.Line().empty());
  CHECK(server.WordsOf("x\n") == Words{"x"});
  Answer(std::move(server.connection), ErrorAnswer("no\n\"such\""));
  CHECK(server.Line() == "{\"ok\":false,\"error\":\"no\\n\\\"such\\\"\"}\n");
  Answer(UniqueFd(), OkAnswer());
}

TEST_CASE("control socket: what is no command", "[control]") {
  Server server;
  SECTION("too long") {
    CHECK(server.WordsOf(std::string(10000, 'x')) == Words{"error"});
    CHECK(server.HungUp());
  }
  SECTION("too long, with an end") {
    CHECK(server.WordsOf(std::string(6000, 'x') + "\n") == Words{"error"});
    CHECK(server.HungUp());
  }
  SECTION("it says nothing, and is dropped in the end") {
    server.client = server.Connect();
    while (server.port.Collect().empty()) {
      char byte;
      ssize_t n = recv(server.client.get(), &byte, 1, MSG_DONTWAIT);
      if (n == 0) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    CHECK(server.HungUp());
  }
  SECTION("it hangs up") {
    server.client = server.Connect();
    REQUIRE(send(server.client.get(), "sta", 3, 0) == 3);
    server.client.reset();
    CHECK(server.port.Collect().empty());
  }
  SECTION("letter by letter") {
    // As long as it is fed it does not hold up whoever listens.
    UniqueFd slow = server.Connect();
    for (char letter : std::string("status")) {
      REQUIRE(send(slow.get(), &letter, 1, 0) == 1);
      CHECK(server.port.Collect().empty());
      CHECK(server.WordsOf("other\n") == Words{"other"});
    }
    REQUIRE(send(slow.get(), "\n", 1, 0) == 1);
    auto requests = server.port.Collect();
    REQUIRE(requests.size() == 1);
    CHECK(requests[0].words == Words{"status"});
  }
  // The next one is heard.
  CHECK(server.WordsOf("status\n") == Words{"status"});
}

TEST_CASE("control socket: many that say nothing hold nobody up", "[control]") {
  Server server;
  std::vector<UniqueFd> silent;
  for (size_t i = 0; i < 3 * ControlPort::kMostClients; ++i) {
    silent.push_back(server.Connect());
    if (i % 8 == 0) CHECK(server.port.Collect().empty());
  }
  CHECK(server.WordsOf("status\n") == Words{"status"});
  // The oldest were dropped for it.
  char byte;
  CHECK(recv(silent[0].get(), &byte, 1, 0) == 0);
  CHECK(recv(silent.back().get(), &byte, 1, MSG_DONTWAIT) < 0);
}

TEST_CASE("control socket: junk", "[control]") {
  Server server;
  uint32_t seed = 1;
  for (int i = 0; i < 300; ++i) {
    std::string junk;
    seed = seed * 1664525 + 1013904223;
    for (uint32_t n = seed >> 24; n > 0; --n) {
      seed = seed * 1664525 + 1013904223;
      junk.push_back(static_cast<char>(seed >> 24));
    }
    for (const std::vector<std::string>& words :
         {server.WordsOf(junk), server.WordsOf(junk + "\n")}) {
      ControlCommand command = ParseControl(words);
      CHECK(std::holds_alternative<NoCommand>(command));
    }
  }
  CHECK(server.WordsOf("status\n") == Words{"status"});
}

TEST_CASE("control socket: who does not read holds nobody up", "[control]") {
  Server server;
  REQUIRE(server.WordsOf("status\n") == Words{"status"});
  auto answer = OkAnswer();
  answer["much"] = std::string(4 << 20, 'x');
  Answer(std::move(server.connection), answer);
  REQUIRE(server.WordsOf("status\n") == Words{"status"});
  server.client.reset();
  Answer(std::move(server.connection), OkAnswer());
}

}  // namespace
}  // namespace handlefs::test

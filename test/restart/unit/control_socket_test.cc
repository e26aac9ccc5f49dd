// The control socket, with a client in the test's hands.
#include "daemon/restart/control_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

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
    auto request = AcceptControl(listening);
    if (!request.ok()) return {"error"};
    connection = std::move(request->connection);
    return request->words;
  }
  std::string Line() {
    char text[4096];
    ssize_t n = recv(client.get(), text, sizeof(text), 0);
    return n < 0 ? "error" : std::string(text, static_cast<size_t>(n));
  }
  TempDir temp;
  std::string path = temp / "socket";
  UniqueFd listening, client, connection;
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
  CHECK(AcceptControl(server.listening).error() == Errno(EAGAIN));
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
  }
  SECTION("it says nothing") {
    server.client = server.Connect();
    CHECK(AcceptControl(server.listening).error() == Errno(EAGAIN));
  }
  SECTION("it hangs up") {
    server.client = server.Connect();
    REQUIRE(send(server.client.get(), "sta", 3, 0) == 3);
    server.client.reset();
    CHECK(AcceptControl(server.listening).error() == Errno(EAGAIN));
  }
  SECTION("letter by letter") {
    // As long as it is fed it must not hold up whoever listens.
    server.client = server.Connect();
    std::atomic<bool> over{false};
    size_t letters = 0;
    std::thread feeder([&] {
      while (!over && send(server.client.get(), "x", 1, MSG_NOSIGNAL) == 1) {
        ++letters;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    });
    CHECK(AcceptControl(server.listening).error() == Errno(EAGAIN));
    over = true;
    feeder.join();
    CHECK(letters < 2000);
  }
  // The next one is heard.
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

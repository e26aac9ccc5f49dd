// The key of handles that outlive the server.
#include "daemon/key_file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "temporary.h"

namespace handlefs::test {
namespace {

using Loaded = absl::StatusOr<HashKey>;

struct KeyPlace {
  KeyPlace() : path(directory / "key") {}
  Loaded Load() { return LoadKey(path, source); }
  // Fails with one line that names the file; tells the line.
  std::string Refusal() {
    Loaded key = Load();
    REQUIRE_FALSE(key.ok());
    std::string message(key.status().message());
    CHECK(message.find(path) != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
    return message;
  }
  void Make(const std::string& content, mode_t mode) {
    WriteAll(path, content);
    REQUIRE(chmod(path.c_str(), mode) == 0);
  }

  Temporary directory;
  std::string path;
  UniqueFd source{open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
};

const std::string kContent = "0123456789abcdef";

TEST_CASE("the key is made at first use and then stays", "[key]") {
  KeyPlace place;
  umask(0);
  Loaded made = place.Load();
  REQUIRE(made.ok());
  struct stat st;
  REQUIRE(stat(place.path.c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0600);
  CHECK(st.st_size == 16);
  std::string content = ReadAll(place.path);
  CHECK(std::memcmp(content.data(), made->data(), 16) == 0);
  Loaded again = place.Load();
  REQUIRE(again.ok());
  CHECK(*again == *made);
}

TEST_CASE("makers at the same moment agree", "[key]") {
  for (int round = 0; round < 50; ++round) {
    KeyPlace place;
    std::atomic<int> ready{0};
    std::vector<std::thread> makers;
    std::vector<Loaded> keys(2, absl::UnknownError("none"));
    for (Loaded& key : keys) {
      makers.emplace_back([&] {
        ready.fetch_add(1);
        while (ready < 2) {
        }
        key = place.Load();
      });
    }
    for (std::thread& maker : makers) maker.join();
    for (const Loaded& key : keys) {
      INFO(key.status().message());
      REQUIRE(key.ok());
      CHECK(*key == *keys[0]);
      CHECK(*key == *place.Load());
    }
    // Nothing but the key is left.
    CHECK(std::distance(
              std::filesystem::directory_iterator(place.directory.path()),
              {}) == 1);
  }
}

TEST_CASE("a key that cannot be written leaves nothing", "[key]") {
  KeyPlace place;
  // Without a signal the limit shows as an error.
  auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
  rlimit small{.rlim_cur = 8, .rlim_max = old.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  Loaded key = place.Load();
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, before);
  CHECK_FALSE(key.ok());
  CHECK(std::filesystem::is_empty(place.directory.path()));
}

TEST_CASE("the bytes of the file are the key", "[key]") {
  KeyPlace place;
  place.Make(kContent, GENERATE(0600u, 0400u));
  Loaded key = place.Load();
  REQUIRE(key.ok());
  CHECK(std::memcmp(key->data(), kContent.data(), 16) == 0);
}

TEST_CASE("a key of another size is refused and left alone", "[key]") {
  KeyPlace place;
  std::string content = GENERATE(as<std::string>{}, "", "0", "0123456789abcde",
                                 "0123456789abcdef0", "0123456789abcdef\n");
  place.Make(content, 0600);
  CHECK(place.Refusal().find("16 bytes") != std::string::npos);
  CHECK(ReadAll(place.path) == content);
}

TEST_CASE("a key that others can read is refused", "[key]") {
  KeyPlace place;
  mode_t mode = GENERATE(0644u, 0640u, 0604u, 0620u, 0610u, 0601u, 0666u);
  place.Make(kContent, mode);
  CHECK(place.Refusal().find("chmod 600") != std::string::npos);
}

TEST_CASE("a key of another user is refused", "[key]") {
  if (geteuid() != 0) return;
  KeyPlace place;
  place.Make(kContent, 0600);
  REQUIRE(chown(place.path.c_str(), 12345, 0) == 0);
  CHECK(place.Refusal().find("chown") != std::string::npos);
}

TEST_CASE("a key that is no file is refused", "[key]") {
  KeyPlace place;
  SECTION("a directory") { REQUIRE(mkdir(place.path.c_str(), 0700) == 0); }
  SECTION("a pipe, without waiting for its writer") {
    REQUIRE(mkfifo(place.path.c_str(), 0600) == 0);
  }
  CHECK(place.Refusal().find("no regular file") != std::string::npos);
}

TEST_CASE("a link is not followed", "[key]") {
  KeyPlace place;
  std::string target = place.directory / "target";
  SECTION("to a key") {
    WriteAll(target, kContent);
    REQUIRE(chmod(target.c_str(), 0600) == 0);
  }
  SECTION("to nothing") {}
  REQUIRE(symlink(target.c_str(), place.path.c_str()) == 0);
  bool existed = access(target.c_str(), F_OK) == 0;
  CHECK(place.Refusal().find("cannot open") != std::string::npos);
  CHECK((access(target.c_str(), F_OK) == 0) == existed);
}

TEST_CASE("a folder that is missing is told", "[key]") {
  KeyPlace place;
  place.path = place.directory / "missing/key";
  CHECK(place.Refusal().find("cannot make") != std::string::npos);
}

TEST_CASE("a key that cannot be opened is told", "[key]") {
  KeyPlace place;
  WriteAll(place.directory / "file", "");
  place.path = place.directory / "file/key";
  CHECK(place.Refusal().find("cannot open") != std::string::npos);
}

TEST_CASE("random keys differ", "[key]") {
  HashKey a = RandomKey(), b = RandomKey();
  CHECK(a != b);
  CHECK(a != HashKey{});
}

}  // namespace
}  // namespace handlefs::test

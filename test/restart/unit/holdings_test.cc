// What a keeper hands to the program that takes its place.
#include "daemon/restart/holdings.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>

#include "support.h"

namespace handlefs::test {
namespace {

UniqueFd NewFile() { return UniqueFd(memfd_create("held", MFD_CLOEXEC)); }

ino_t InodeOf(BorrowedFd fd) {
  struct stat st;
  REQUIRE(fstat(fd.get(), &st) == 0);
  return st.st_ino;
}

bool IsInherited(BorrowedFd fd) {
  return (fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) == 0;
}

struct Held {
  Held() {
    source.path = "/srv/with blank\nand \\n";
    source.is_private = true;
    source.root = NewFile();
    source.dir = NewFile();
    mounted.device = NewFile();
    mounted.mount_point = "/mnt/\xff";
    mounted.mount_id = "4711";
  }
  HoldingsView View() const {
    return {.state = state,
            .source = source,
            .mounted = mounted,
            .is_ours = true,
            .fds = fds,
            .control = control,
            .server = server,
            .server_socket = server_socket,
            .fallback = fallback,
            .asker = asker,
            .guard = guard,
            .paused_ns = paused_ns,
            .failure = failure,
            .stored = stored};
  }
  UniqueFd state = NewFile();
  Source source;
  Mounted mounted;
  KeptFds fds;
  UniqueFd control, server_socket, fallback, asker, guard;
  pid_t server = 0;
  int64_t paused_ns = 0;
  std::string failure;
  std::string stored = "7";
};

// As in the program that was started: the descriptors are its own.
absl::StatusOr<std::optional<Holdings>> Taken(const std::string& value) {
  setenv(kHoldingsVariable, value.c_str(), 1);
  auto taken = TakeHoldings();
  CHECK(std::getenv(kHoldingsVariable) == nullptr);
  return taken;
}

TEST_CASE("holdings: nothing without the variable", "[holdings]") {
  unsetenv(kHoldingsVariable);
  auto none = TakeHoldings();
  REQUIRE(none.ok());
  CHECK_FALSE(*none);
}

TEST_CASE("holdings: all of it comes back", "[holdings]") {
  Held held;
  held.fds[1] = NewFile();
  held.fds[4000000000] = NewFile();
  held.control = NewFile();
  held.server = 1234;
  held.server_socket = NewFile();
  held.fallback = NewFile();
  held.asker = NewFile();
  held.guard = NewFile();
  held.paused_ns = 1'700'000'000'123'456'789;
  held.failure = "two\nlines";
  HoldingsView view = held.View();
  auto list = WriteHoldings(view);
  REQUIRE(list.ok());
  CHECK(IsInherited(*list));
  for (BorrowedFd fd :
       {view.state, BorrowedFd(held.source.root), BorrowedFd(held.source.dir),
        BorrowedFd(held.mounted.device), view.control, view.server_socket,
        view.fallback, view.asker, BorrowedFd(held.fds[1])}) {
    CHECK(IsInherited(fd));
  }
  TakeBackHoldings(view);
  CHECK_FALSE(IsInherited(held.state));
  CHECK_FALSE(IsInherited(held.mounted.device));
  CHECK_FALSE(IsInherited(held.fds[1]));
  auto again = WriteHoldings(view);
  REQUIRE(again.ok());
  auto taken = Taken(std::to_string(again->release()));
  REQUIRE(taken.ok());
  REQUIRE(*taken);
  Holdings& got = **taken;
  CHECK(got.source.path == held.source.path);
  CHECK(got.source.is_private);
  CHECK(got.mounted.mount_point == held.mounted.mount_point);
  CHECK(got.mounted.mount_id == "4711");
  CHECK_FALSE(got.mounted.by_helper);
  CHECK(got.is_ours);
  CHECK(got.server == 1234);
  CHECK(got.paused_ns == held.paused_ns);
  CHECK(got.failure == held.failure);
  CHECK(InodeOf(got.state) == InodeOf(held.state));
  CHECK(InodeOf(got.source.root) == InodeOf(held.source.root));
  CHECK(InodeOf(got.source.dir) == InodeOf(held.source.dir));
  CHECK(InodeOf(got.mounted.device) == InodeOf(held.mounted.device));
  CHECK(InodeOf(got.control) == InodeOf(held.control));
  CHECK(InodeOf(got.server_socket) == InodeOf(held.server_socket));
  CHECK(InodeOf(got.fallback) == InodeOf(held.fallback));
  CHECK(InodeOf(got.asker) == InodeOf(held.asker));
  CHECK(InodeOf(got.guard) == InodeOf(held.guard));
  REQUIRE(got.fds.size() == 2);
  CHECK(InodeOf(got.fds[4000000000]) == InodeOf(held.fds[4000000000]));
  // Nothing goes on to what that program starts.
  for (BorrowedFd fd : {BorrowedFd(got.state), BorrowedFd(got.mounted.device),
                        BorrowedFd(got.asker), BorrowedFd(got.fds[1])}) {
    CHECK_FALSE(IsInherited(fd));
  }
  // They are one and the same here.
  for (UniqueFd* fd : {&got.state, &got.source.root, &got.source.dir,
                       &got.mounted.device, &got.control, &got.server_socket,
                       &got.fallback, &got.asker, &got.guard}) {
    (void)fd->release();
  }
  for (auto& [ref, fd] : got.fds) (void)fd.release();
}

TEST_CASE("holdings: what is not there stays away", "[holdings]") {
  Held held;
  auto list = WriteHoldings(held.View());
  REQUIRE(list.ok());
  auto taken = Taken(std::to_string(list->release()));
  REQUIRE(taken.ok());
  Holdings& got = **taken;
  CHECK_FALSE(got.control);
  CHECK_FALSE(got.server_socket);
  CHECK_FALSE(got.fallback);
  CHECK_FALSE(got.asker);
  CHECK(got.fds.empty());
  CHECK(got.failure.empty());
  for (UniqueFd* fd :
       {&got.state, &got.source.root, &got.source.dir, &got.mounted.device}) {
    (void)fd->release();
  }
}

TEST_CASE("holdings: damaged ones are refused", "[holdings]") {
  auto refuse = [](const std::string& value) {
    auto taken = Taken(value);
    REQUIRE(absl::IsInvalidArgument(taken.status()));
    CHECK(taken.status().ToString().find(kHoldingsVariable) !=
          std::string::npos);
  };
  SECTION("no descriptor") {
    for (const char* value : {"", "x", "-1", "12x", "99999999999999999999"}) {
      refuse(value);
    }
  }
  SECTION("a closed descriptor") { refuse("999999"); }
  SECTION("another list") {
    std::string text = GENERATE(as<std::string>{}, "", "source\n", "what 1\n",
                                "kept.x 1\n", "is_ours maybe\n",
                                "source /srv\nmount_point /mnt\nserver 0\n");
    UniqueFd list(memfd_create("list", 0));
    REQUIRE(write(list.get(), text.data(), text.size()) ==
            static_cast<ssize_t>(text.size()));
    refuse(std::to_string(list.release()));
  }
}

}  // namespace
}  // namespace handlefs::test

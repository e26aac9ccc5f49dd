// A thread that has a signal to take but cannot: one whose vfork child has not
// ended yet waits as deaf as one that waits for FUSE.
#include "daemon/pending_signal.h"

#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "waiting.h"

namespace handlefs::test {
namespace {

// A process whose main thread hears no signal until it is killed.
class Deaf {
 public:
  explicit Deaf(int blocked) {
    pid_ = fork();
    if (pid_ != 0) return;
    setpgid(0, 0);
    struct sigaction action {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
    sigset_t set;
    sigemptyset(&set);
    if (blocked != 0) sigaddset(&set, blocked);
    sigprocmask(SIG_SETMASK, &set, nullptr);
    // As vfork(2) waits, which the thread sanitizer replaces.
    if (syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0) == 0) {
      while (true) pause();
    }
    _exit(0);
  }
  ~Deaf() {
    kill(-pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  uint32_t tid() const { return static_cast<uint32_t>(pid_); }
  bool Waits() const {
    std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
    std::string pid, name, state;
    file >> pid >> name >> state;
    return state == "D";
  }
  void Send(int signal) const { kill(pid_, signal); }

 private:
  pid_t pid_;
};

TEST_CASE("one that is being killed is told from one that has a signal",
          "[signal]") {
  CHECK_FALSE(IsDying(0));
  {
    Deaf deaf(0);
    REQUIRE(Eventually([&] { return deaf.Waits(); }));
    CHECK_FALSE(IsDying(deaf.tid()));
    deaf.Send(SIGUSR1);
    REQUIRE(Eventually([&] { return HasPendingSignal(deaf.tid()); }));
    CHECK_FALSE(IsDying(deaf.tid()));
  }
  pid_t gone = fork();
  if (gone == 0) _exit(0);
  waitpid(gone, nullptr, 0);
  CHECK(IsDying(static_cast<uint32_t>(gone)));
}

TEST_CASE("a signal that waits to be taken is seen", "[signal]") {
  Deaf deaf(0);
  REQUIRE(Eventually([&] { return deaf.Waits(); }));
  CHECK_FALSE(HasPendingSignal(deaf.tid()));
  deaf.Send(SIGWINCH);  // ignored by default
  CHECK_FALSE(HasPendingSignal(deaf.tid()));
  deaf.Send(SIGUSR1);
  CHECK(Eventually([&] { return HasPendingSignal(deaf.tid()); }));
}

TEST_CASE("a blocked signal does not count", "[signal]") {
  Deaf deaf(SIGUSR1);
  REQUIRE(Eventually([&] { return deaf.Waits(); }));
  deaf.Send(SIGUSR1);
  CHECK_FALSE(HasPendingSignal(deaf.tid()));
  deaf.Send(SIGTERM);
  CHECK(Eventually([&] { return HasPendingSignal(deaf.tid()); }));
}

TEST_CASE("no thread, no signal", "[signal]") {
  CHECK_FALSE(HasPendingSignal(0));
  CHECK_FALSE(HasPendingSignal(0x7ffffff0));
}

}  // namespace
}  // namespace handlefs::test

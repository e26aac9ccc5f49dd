#include "daemon/restart/upgrade.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/log.h"
#include "proto/dialect.h"

namespace handlefs {
namespace {

constexpr char kCheckVariable[] = "HANDLEFS_CHECK_STATE";
constexpr char kName[] = "handlefs";
// The service manager reads what it is told.
constexpr std::chrono::seconds kPatience{2};

std::vector<char*> ArgvOf(const std::vector<std::string>& arguments) {
  std::vector<char*> argv = {const_cast<char*>(kName)};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  return argv;
}

// The environment, with each NAME=VALUE in place of what it says of NAME.
class Environment {
 public:
  explicit Environment(std::vector<std::string> added)
      : added_(std::move(added)) {
    auto is_replaced = [&](std::string_view word) {
      return std::any_of(added_.begin(), added_.end(), [&](const auto& one) {
        return word.starts_with(
            std::string_view(one).substr(0, one.find('=') + 1));
      });
    };
    for (char** word = environ; *word != nullptr; ++word) {
      if (!is_replaced(*word)) words_.push_back(*word);
    }
    for (std::string& one : added_) words_.push_back(one.data());
    words_.push_back(nullptr);
  }
  char** get() { return words_.data(); }

 private:
  std::vector<std::string> added_;
  std::vector<char*> words_;
};

std::string Assign(const char* name, int value) {
  return absl::StrCat(name, "=", value);
}

void TellMainProcess(const ServiceManager& manager, pid_t pid) {
  if (!manager.present()) return;
  Status told = manager.MainPid(pid);
  if (told.ok()) told = manager.Barrier(kPatience);
  if (told.ok()) return;
  Log(LogLevel::kWarning,
      absl::StrCat("cannot tell the service manager of its main process: ",
                   std::strerror(told.error().value())));
}

// A byte, or the other end's end.
ssize_t AwaitByte(BorrowedFd pipe, char* byte) {
  ssize_t n;
  do {
    n = read(pipe.get(), byte, 1);
  } while (n < 0 && errno == EINTR);
  return n;
}

}  // namespace

std::optional<UniqueFd> TakeStateToCheck() {
  const char* variable = std::getenv(kCheckVariable);
  if (variable == nullptr) return std::nullopt;
  int fd = -1;
  (void)std::from_chars(variable, variable + std::strlen(variable), fd);
  unsetenv(kCheckVariable);
  return UniqueFd(fd);
}

absl::Status CheckState(UniqueFd memory) {
  auto state = State::Open(std::move(memory));
  if (!state.ok()) return state.status();
  auto session = (*state)->session();
  if (!session) return absl::FailedPreconditionError("nothing is served yet");
  if (proto::FindDialect(session->dialect.data()) == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("the mount speaks dialect ", session->dialect.data(),
                     ", which this program does not know"));
  }
  return absl::OkStatus();
}

Question AskProgram(const std::string& program,
                    const std::vector<std::string>& arguments,
                    const std::string& directory, BorrowedFd state) {
  Question question;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return question;
  question.said = UniqueFd(ends[0]);
  // Whoever else has the other end does not hold us up.
  (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
  UniqueFd theirs(ends[1]);
  std::vector<char*> argv = ArgvOf(arguments);
  question.child = Child::Fork();
  if (!question.child.is_child()) return question;
  dup2(theirs.get(), STDOUT_FILENO);
  dup2(theirs.get(), STDERR_FILENO);
  (void)fcntl(state.get(), F_SETFD, 0);
  (void)!chdir(directory.c_str());
  Environment environment({Assign(kCheckVariable, state.get())});
  execve(program.c_str(), argv.data(), environment.get());
  dprintf(STDERR_FILENO, "cannot run %s: %s\n", program.c_str(),
          std::strerror(errno));
  _exit(1);
}

std::string AnswerOf(const Question& question) {
  std::string said;
  char part[1024];
  ssize_t n;
  while ((n = read(question.said.get(), part, sizeof(part))) > 0) {
    said.append(part, static_cast<size_t>(n));
  }
  while (!said.empty() && said.back() == '\n') said.pop_back();
  said.erase(0, said.rfind('\n') + 1);
  return said;
}

absl::StatusOr<UniqueFd> StartGuard(const std::vector<std::string>& arguments,
                                    const std::string& directory,
                                    const ServiceManager& manager,
                                    const HoldingsView& holdings) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  UniqueFd theirs(ends[0]), ours(ends[1]);
  if (pipe2(ends, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "pipe");
  UniqueFd watching(ends[0]), watches(ends[1]);
  const pid_t keeper = getpid();
  char byte = 0;
  pid_t child = fork();
  if (child < 0) return absl::ErrnoToStatus(errno, "fork");
  if (child > 0) {
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    watches.reset();
    if (AwaitByte(watching, &byte) != 1) {
      return absl::UnavailableError("the guard is no more");
    }
    return ours;
  }
  // Nobody's child: a program that does not know of it need not reap it.
  if (fork() != 0) _exit(0);
  ours.reset();
  watching.reset();
  // The end of its main process is the end of a service. Nobody could tell its
  // manager of another one before it sees that.
  TellMainProcess(manager, getpid());
  (void)!write(watches.get(), "w", 1);
  watches.reset();
  if (AwaitByte(theirs, &byte) == 1) {
    TellMainProcess(manager, keeper);
    _exit(0);
  }
  HoldingsView held = holdings;
  held.guard = {};
  held.failure = "the new program ended before it served; the old one goes on";
  Log(LogLevel::kError, held.failure);
  (void)BecomeProgram("/proc/self/exe", arguments, directory,
                      manager.Environment(), held)
      .ok();
  _exit(1);
}

void DismissGuard(UniqueFd guard) {
  if (guard) (void)!write(guard.get(), "d", 1);
}

absl::Status BecomeProgram(const std::string& program,
                           const std::vector<std::string>& arguments,
                           const std::string& directory,
                           std::vector<std::string> variables,
                           const HoldingsView& holdings) {
  auto list = WriteHoldings(holdings);
  if (!list.ok()) return list.status();
  std::vector<char*> argv = ArgvOf(arguments);
  variables.push_back(Assign(kHoldingsVariable, list->get()));
  Environment environment(std::move(variables));
  (void)!chdir(directory.c_str());
  execve(program.c_str(), argv.data(), environment.get());
  int error = errno;
  (void)!chdir("/");
  TakeBackHoldings(holdings);
  return absl::ErrnoToStatus(error, absl::StrCat("cannot run ", program));
}

absl::Status StartKeeper(const std::vector<std::string>& arguments,
                         const HoldingsView& holdings) {
  auto list = WriteHoldings(holdings);
  if (!list.ok()) return list.status();
  std::vector<char*> argv = ArgvOf(arguments);
  Environment environment({Assign(kHoldingsVariable, list->get())});
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  pid_t pid;
  int error = posix_spawn(&pid, "/proc/self/exe", nullptr, &attributes,
                          argv.data(), environment.get());
  posix_spawnattr_destroy(&attributes);
  TakeBackHoldings(holdings);
  if (error != 0) return absl::ErrnoToStatus(error, "cannot start a keeper");
  return absl::OkStatus();
}

}  // namespace handlefs

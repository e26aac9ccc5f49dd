#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

extern char** environ;

namespace handlefs::test {
namespace {

constexpr int kSocketInDaemon = 3;
constexpr int kTimeoutMs = 10000;

[[noreturn]] void Fail(const std::string& what) {
  throw WireFailure(what + ": errno " + std::to_string(errno));
}

std::string Program() {
  if (const char* path = getenv("HANDLEFS"); path != nullptr) return path;
#ifdef HANDLEFS_BINARY
  return HANDLEFS_BINARY;
#else
  throw WireFailure("HANDLEFS does not name the daemon");
#endif
}

bool SanitizerSpoke(const std::string& text) {
  for (const char* word : {"Sanitizer", "runtime error:", "Assertion",
                           "terminate called", "SUMMARY:"}) {
    if (text.find(word) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TempTree::TempTree() {
  const char* base = getenv("HANDLEFS_TEST_TMP");
  if (base == nullptr) base = getenv("TMPDIR");
  std::string path = std::string(base != nullptr ? base : "/tmp");
  path += "/handlefs-wire-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) Fail("mkdtemp");
  top_ = path;
  std::filesystem::create_directory(source());
  std::filesystem::create_directory(outside());
  std::ofstream(outside() / "secret") << "secret";
}

TempTree::~TempTree() {
  std::error_code ignored;
  std::filesystem::remove_all(top_, ignored);
}

void TempTree::Write(std::string_view name, std::string_view content) const {
  std::ofstream(Path(name), std::ios::binary) << content;
}

std::string TempTree::Read(std::string_view name) const {
  std::ifstream file(Path(name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

DaemonProcess::DaemonProcess(const std::filesystem::path& source,
                             const std::vector<std::string>& options,
                             UniqueFd socket) {
  stderr_ = UniqueFd(memfd_create("stderr", MFD_CLOEXEC));
  if (!stderr_) Fail("memfd_create");
  std::vector<std::string> words = {Program(), "-f"};
  words.insert(words.end(), options.begin(), options.end());
  words.push_back(source);
  words.push_back("/dev/fd/" + std::to_string(kSocketInDaemon));
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, stderr_.get(), 2);
  posix_spawn_file_actions_adddup2(&actions, socket.get(), kSocketInDaemon);
  int error =
      posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    errno = error;
    Fail("cannot run " + words[0]);
  }
  pidfd_ = UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  if (!pidfd_) Fail("pidfd_open");
}

DaemonProcess::~DaemonProcess() { Kill(); }

void DaemonProcess::Kill() {
  if (ended_ || pid_ < 0) return;
  kill(pid_, SIGKILL);
  Wait(kTimeoutMs);
}

bool DaemonProcess::Wait(int milliseconds) {
  if (ended_) return true;
  pollfd poller{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
  if (poll(&poller, 1, milliseconds) != 1) return false;
  ended_ = waitpid(pid_, &status_, 0) == pid_;
  return ended_;
}

bool DaemonProcess::Alive() { return !Wait(0); }

void DaemonProcess::ExpectEnd(int status) {
  if (!Wait(kTimeoutMs)) throw WireFailure("the daemon does not end");
  std::string said = Stderr();
  if (!WIFEXITED(status_) || WEXITSTATUS(status_) != status) {
    throw WireFailure("the daemon ended with wait status " +
                      std::to_string(status_) + ": " + said);
  }
  if (SanitizerSpoke(said)) throw WireFailure(said);
}

std::string DaemonProcess::Stderr() const {
  std::string text(1 << 20, '\0');
  ssize_t n = pread(stderr_.get(), text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return text;
}

DaemonProcess::FewDescriptors::FewDescriptors(const DaemonProcess& process,
                                              size_t free)
    : pid_(process.pid()) {
  const auto open = "/proc/" + std::to_string(pid_) + "/fd/";
  rlim_t limit = 0;
  for (; free > 0; ++limit) {
    if (!std::filesystem::exists(
            std::filesystem::symlink_status(open + std::to_string(limit)))) {
      --free;
    }
  }
  if (prlimit(pid_, RLIMIT_NOFILE, nullptr, &before_) != 0) {
    throw WireFailure("prlimit");
  }
  rlimit few{.rlim_cur = limit, .rlim_max = before_.rlim_max};
  if (prlimit(pid_, RLIMIT_NOFILE, &few, nullptr) != 0) {
    throw WireFailure("prlimit");
  }
}

DaemonProcess::FewDescriptors::~FewDescriptors() {
  prlimit(pid_, RLIMIT_NOFILE, &before_, nullptr);
}

}  // namespace handlefs::test

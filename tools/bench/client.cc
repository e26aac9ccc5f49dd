#include "client.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "text.h"

namespace handlefs::bench {
namespace {

constexpr int kNotInstalled = 127;

std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(fd, buffer, sizeof(buffer))) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    // The end of it is what matters.
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > 65536) text.erase(0, text.size() - 32768);
  }
  return text;
}

}  // namespace

void Client::Extra(const char* name, double value) const {
  ClientReport& report = *setup_.report;
  if (report.extras == ClientReport::kExtras) return;
  auto& extra = report.extra[report.extras++];
  std::snprintf(extra.name, sizeof(extra.name), "%s", name);
  extra.value = value;
}

void Client::Run(const std::vector<std::string>& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) Fail("pipe");
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& word : command) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);
  pid_t pid = fork();
  if (pid < 0) Fail("fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    execvp(argv[0], argv.data());
    _exit(kNotInstalled);
  }
  close(ends[1]);
  std::string said = ReadAll(ends[0]);
  close(ends[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotInstalled) {
    Unsupported(command[0] + " is not installed");
  }
  std::string why = WIFEXITED(status)
                        ? Format("ended with %d", WEXITSTATUS(status))
                        : Format("was ended by signal %d", WTERMSIG(status));
  FailPlainly(command[0] + " " + why + ": " + LastLine(said));
}

void Client::End(int state, const std::string& reason) const {
  std::snprintf(setup_.report->reason, sizeof(setup_.report->reason), "%s",
                reason.c_str());
  setup_.report->state.store(state);
  _exit(1);
}

void Client::Fail(const std::string& what) {
  FailPlainly(what + ": " + std::strerror(errno));
}

void Client::FailPlainly(const std::string& why) {
  End(ClientReport::kFailed, why);
}

void Client::Unsupported(const std::string& why) {
  End(ClientReport::kUnsupported, why);
}

void Client::Release() {
  for (int i = 1; i < count(); ++i) {
    if (write(setup_.relay_write, "r", 1) != 1) Fail("release");
  }
}

void Client::AwaitRelease() {
  char byte;
  if (read(setup_.relay_read, &byte, 1) != 1) Fail("wait for release");
}

}  // namespace handlefs::bench

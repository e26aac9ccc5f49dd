#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "command.h"
#include "daemon/control/words.h"
#include "daemon/mountinfo.h"
#include "io/base/fd.h"
#include "target.h"

namespace handlefs::ctl {
namespace {

using Json = nlohmann::ordered_json;

// A daemon that is told to hand over drains for 15 s, and goes back if its
// successor does not serve.
absl::Duration PatienceFor(const Command& command) {
  const std::string& name = command.words[0];
  if (name == "restart" || name == "upgrade") return absl::Seconds(120);
  ControlCommand meant = ParseControl(command.words);
  if (auto* drain = std::get_if<DrainFor>(&meant)) {
    return drain->limit + absl::Seconds(5);
  }
  return absl::Seconds(5);
}

// How long a server may be away for its followers.
constexpr absl::Duration kFollowAgain = absl::Seconds(20);

bool IsMounted(const Target& target) {
  return target.mount_point.empty() ||
         TopMountAt(target.mount_point).has_value();
}

Failure NoAnswer(const Target& target, const std::string& what) {
  const std::string point = target.mount_point.empty()
                                ? std::string("MOUNTPOINT")
                                : target.mount_point;
  return {ExitStatus::kUnreachable,
          absl::StrCat(what, ": if it hangs, handlefsctl ", point,
                       " abort ends the mount")};
}

std::variant<UniqueFd, Failure> Connect(const Target& target) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (target.socket.size() >= sizeof(address.sun_path)) {
    return Failure{ExitStatus::kUnreachable,
                   absl::StrCat("the name of the mount point is too long for a "
                                "control socket: ",
                                target.socket)};
  }
  target.socket.copy(address.sun_path, target.socket.size());
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd && connect(fd.get(), reinterpret_cast<sockaddr*>(&address),
                    sizeof(address)) == 0) {
    return fd;
  }
  const int error = errno;
  if (error == EACCES) {
    return Failure{ExitStatus::kUnreachable,
                   absl::StrCat("root alone may talk to the daemon (",
                                target.socket, "): use sudo")};
  }
  return NoAnswer(target,
                  absl::StrCat("no daemon listens at ", target.socket, " (",
                               std::strerror(error),
                               "); there is none if not root started it"));
}

struct Answered {
  std::string text;  // a line, and perhaps more
  UniqueFd connection;
};

// The line that the daemon answers with.
std::variant<Answered, Failure> Ask(const Target& target,
                                    const Command& command) {
  auto connected = Connect(target);
  if (auto* failure = std::get_if<Failure>(&connected)) return *failure;
  UniqueFd fd = std::move(std::get<UniqueFd>(connected));
  std::string line;
  for (std::string word : command.words) {
    // Words are separated by blanks, which are NUL in them.
    std::replace(word.begin(), word.end(), ' ', '\0');
    absl::StrAppend(&line, line.empty() ? "" : " ", word);
  }
  line += '\n';
  if (send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(line.size())) {
    return NoAnswer(target, absl::StrCat("cannot talk to the daemon: ",
                                         std::strerror(errno)));
  }
  const absl::Time end = absl::Now() + PatienceFor(command);
  std::string answer;
  while (answer.find('\n') == std::string::npos) {
    auto left = absl::ToInt64Milliseconds(end - absl::Now());
    pollfd in{fd.get(), POLLIN, 0};
    int ready = left <= 0 ? 0 : poll(&in, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return NoAnswer(target, "the daemon does not answer");
    char part[4096];
    ssize_t n = read(fd.get(), part, sizeof(part));
    if (n <= 0) return NoAnswer(target, "the daemon hung up without an answer");
    answer.append(part, static_cast<size_t>(n));
  }
  return Answered{.text = std::move(answer), .connection = std::move(fd)};
}

ExitStatus Report(const Failure& failure) {
  std::fprintf(stderr, "handlefsctl: %s\n", failure.message.c_str());
  return failure.status;
}

ExitStatus Show(const Command& command, const std::string& line) {
  Json answer = Json::parse(line, nullptr, false);
  if (!answer.is_object() || !answer["ok"].is_boolean()) {
    return Report({ExitStatus::kUnreachable,
                   "what answers there is not the daemon of handlefs"});
  }
  const bool ok = answer["ok"].get<bool>();
  if (command.form == Form::kJson) {
    std::fputs(line.c_str(), stdout);
  } else if (ok) {
    std::fputs(ToText(command.words[0], answer).c_str(), stdout);
  } else {
    std::string why = answer.value("error", "the daemon refused");
    return Report({ExitStatus::kRefused, why});
  }
  return ok ? ExitStatus::kOk : ExitStatus::kRefused;
}

// Lines of the trace as they are, or each as JSON.
class TraceOutput {
 public:
  explicit TraceOutput(Form form) : form_(form) {}
  // False: nobody reads them any more.
  bool Put(std::string_view part) {
    rest_ += part;
    size_t end = 0;
    while ((end = rest_.find('\n')) != std::string::npos) {
      std::string line = rest_.substr(0, end);
      rest_.erase(0, end + 1);
      if (form_ == Form::kJson) {
        line = Json{{"trace", line}}.dump(-1, ' ', false,
                                          Json::error_handler_t::replace);
      }
      std::fputs((line + "\n").c_str(), stdout);
    }
    return std::fflush(stdout) == 0;
  }

 private:
  const Form form_;
  std::string rest_;
};

// Until the mount ends, or whoever reads. A server that is replaced hangs up;
// its successor is asked again.
ExitStatus Follow(const Target& target, const Command& command) {
  TraceOutput output(command.form);
  bool followed = false;
  absl::Time lost = absl::InfiniteFuture();
  while (true) {
    auto answer = Ask(target, command);
    if (auto* failure = std::get_if<Failure>(&answer)) {
      if (followed && !IsMounted(target)) return ExitStatus::kOk;
      if (absl::Now() < lost + kFollowAgain && followed) {
        absl::SleepFor(absl::Milliseconds(50));
        continue;
      }
      return Report(*failure);
    }
    Answered& answered = std::get<Answered>(answer);
    const size_t end = answered.text.find('\n') + 1;
    Json said = Json::parse(answered.text.substr(0, end), nullptr, false);
    if (!said.is_object() || !said.value("ok", false)) {
      if (followed && absl::Now() < lost + kFollowAgain) {
        absl::SleepFor(absl::Milliseconds(50));
        continue;
      }
      return Show(command, answered.text.substr(0, end));
    }
    if (followed) std::fputs("... another server goes on\n", stderr);
    followed = true;
    if (!output.Put(answered.text.substr(end))) return ExitStatus::kOk;
    char part[65536];
    ssize_t n;
    while ((n = read(answered.connection.get(), part, sizeof(part))) != 0) {
      if (n < 0 && errno != EINTR) break;
      if (n > 0 && !output.Put({part, static_cast<size_t>(n)})) {
        return ExitStatus::kOk;
      }
    }
    lost = absl::Now();
  }
}

ExitStatus Run(const Command& command) {
  auto found = FindTarget(command.target);
  if (auto* failure = std::get_if<Failure>(&found)) return Report(*failure);
  const Target& target = std::get<Target>(found);
  if (command.IsFollow()) return Follow(target, command);
  auto answer = Ask(target, command);
  if (auto* answered = std::get_if<Answered>(&answer)) {
    return Show(command, answered->text);
  }
  if (!command.IsAbort() || target.mount_point.empty()) {
    return Report(std::get<Failure>(answer));
  }
  if (auto failure = AbortMount(target.mount_point)) return Report(*failure);
  Json done = {{"ok", true}, {"by", "handlefsctl"}};
  if (TopMountAt(target.mount_point)) {
    done["dead_mount"] = target.mount_point;
    done["cure"] = absl::StrCat("umount ", target.mount_point);
  }
  return Show(command,
              done.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

int Main(std::span<const char* const> args) {
  std::error_code error;
  auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  auto parsed = ParseCommand(args, self.parent_path());
  if (auto* failure = std::get_if<Failure>(&parsed)) {
    return static_cast<int>(Report(*failure));
  }
  const Command& command = std::get<Command>(parsed);
  switch (command.mode) {
    case Mode::kHelp:
      std::fputs(Usage().c_str(), stdout);
      return 0;
    case Mode::kVersion:
      std::printf("handlefsctl %s\n", HANDLEFS_VERSION);
      return 0;
    case Mode::kAsk:
      break;
  }
  return static_cast<int>(Run(command));
}

}  // namespace
}  // namespace handlefs::ctl

int main(int argc, char** argv) {
  try {
    return handlefs::ctl::Main(
        std::span<const char* const>(argv + 1, static_cast<size_t>(argc - 1)));
  } catch (const std::exception& e) {
    // The JSON library's way to say that an answer has another form.
    std::fprintf(stderr, "handlefsctl: cannot read the answer: %s\n", e.what());
    return static_cast<int>(handlefs::ctl::ExitStatus::kUnreachable);
  }
}

#include "process.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <utility>

#include "text.h"

namespace handlefs::bench {
namespace {

sigset_t Wanted() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  return set;
}

template <typename T>
std::optional<T> ToNumber(std::string_view text) {
  T number{};
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

std::vector<std::string> Words(std::string_view text) {
  std::istringstream stream{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::string ProcPath(pid_t pid, const char* file) {
  return Format("/proc/%d/%s", pid, file);
}

uint64_t CountDescriptors(pid_t pid) {
  DIR* dir = opendir(ProcPath(pid, "fd").c_str());
  if (dir == nullptr) return 0;
  uint64_t count = 0;
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count >= 2 ? count - 2 : 0;
}

}  // namespace

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<ProcessStat> ParseStat(std::string_view text) {
  // The name may hold anything, parentheses included.
  size_t end = text.rfind(')');
  if (end == std::string_view::npos) return std::nullopt;
  std::vector<std::string> words = Words(text.substr(end + 1));
  // Behind the name: state is field 3, cutime 16, cstime 17.
  if (words.size() < 15) return std::nullopt;
  auto parent = ToNumber<pid_t>(words[1]);
  auto cutime = ToNumber<uint64_t>(words[13]);
  auto cstime = ToNumber<uint64_t>(words[14]);
  if (!parent || !cutime || !cstime) return std::nullopt;
  return ProcessStat{.parent = *parent, .child_ticks = *cutime + *cstime};
}

std::vector<pid_t> Below(const std::map<pid_t, pid_t>& parents, pid_t root,
                         const std::vector<pid_t>& except) {
  std::vector<pid_t> found{root};
  for (size_t i = 0; i < found.size(); ++i) {
    for (const auto& [child, parent] : parents) {
      if (parent != found[i]) continue;
      if (std::find(except.begin(), except.end(), child) != except.end()) {
        continue;
      }
      if (std::find(found.begin(), found.end(), child) == found.end()) {
        found.push_back(child);
      }
    }
  }
  found.erase(found.begin());
  return found;
}

std::vector<pid_t> Descendants(pid_t root, const std::vector<pid_t>& except) {
  std::map<pid_t, pid_t> parents;
  DIR* dir = opendir("/proc");
  if (dir == nullptr) return {};
  while (dirent* entry = readdir(dir)) {
    auto pid = ToNumber<pid_t>(entry->d_name);
    if (!pid) continue;
    if (auto stat = ParseStat(ReadFile(ProcPath(*pid, "stat")))) {
      parents[*pid] = stat->parent;
    }
  }
  closedir(dir);
  return Below(parents, root, except);
}

uint64_t CpuOf(const std::vector<pid_t>& processes) {
  static const uint64_t tick_ns =
      1000000000u / static_cast<uint64_t>(sysconf(_SC_CLK_TCK));
  uint64_t sum = 0;
  for (pid_t pid : processes) {
    // The same as utime and stime of /proc/PID/stat, but not in ticks of 10 ms.
    clockid_t clock;
    timespec used;
    if (clock_getcpuclockid(pid, &clock) == 0 &&
        clock_gettime(clock, &used) == 0) {
      sum += static_cast<uint64_t>(used.tv_sec) * 1000000000u +
             static_cast<uint64_t>(used.tv_nsec);
    }
    if (auto stat = ParseStat(ReadFile(ProcPath(pid, "stat")))) {
      sum += stat->child_ticks * tick_ns;
    }
  }
  return sum;
}

Usage UsageOf(const std::vector<pid_t>& processes) {
  static const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  Usage usage{.cpu_ns = CpuOf(processes)};
  for (pid_t pid : processes) {
    auto words = Words(ReadFile(ProcPath(pid, "statm")));
    if (words.size() > 1) {
      usage.rss += ToNumber<uint64_t>(words[1]).value_or(0) * page;
    }
    usage.descriptors += CountDescriptors(pid);
  }
  return usage;
}

std::optional<uint64_t> SlabBytes(std::string_view slabinfo,
                                  std::string_view cache) {
  for (const std::string& line : Split(slabinfo, '\n')) {
    auto words = Words(line);
    if (words.size() < 4 || words[0] != cache) continue;
    auto active = ToNumber<uint64_t>(words[1]);
    auto size = ToNumber<uint64_t>(words[3]);
    if (active && size) return *active * *size;
  }
  return std::nullopt;
}

bool HasMount(const std::string& mountinfo, const std::string& path) {
  // As the kernel writes it; the backslash first.
  std::string written = path;
  for (const auto& [plain, escaped] :
       {std::pair{"\\", "\\134"}, std::pair{" ", "\\040"},
        std::pair{"\t", "\\011"}, std::pair{"\n", "\\012"}}) {
    written = Replace(std::move(written), plain, escaped);
  }
  for (const std::string& line : Split(mountinfo, '\n')) {
    auto words = Split(line, ' ');
    if (words.size() > 4 && words[4] == written) return true;
  }
  return false;
}

Signals::Signals() {
  sigset_t set = Wanted();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  fd_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int Signals::Pending() {
  signalfd_siginfo info;
  while (read(fd_.get(), &info, sizeof(info)) == sizeof(info)) {
    if (pending_ == 0) pending_ = static_cast<int>(info.ssi_signo);
  }
  return pending_;
}

void Signals::Restore() {
  sigset_t set = Wanted();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

std::optional<int> WaitFor(pid_t pid, int milliseconds) {
  UniqueFd handle(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (handle) {
    pollfd wait{.fd = handle.get(), .events = POLLIN, .revents = 0};
    while (poll(&wait, 1, milliseconds) < 0 && errno == EINTR) {
    }
  }
  int status = 0;
  if (waitpid(pid, &status, WNOHANG) == pid) return status;
  return std::nullopt;
}

void KillAndReap(pid_t pid) {
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace handlefs::bench

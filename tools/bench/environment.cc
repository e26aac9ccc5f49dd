#include "environment.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "process.h"
#include "text.h"

namespace handlefs::bench {
namespace {

constexpr double kIdleShare = 0.1;
constexpr useconds_t kLookMicroseconds = 300000;

std::string FirstLine(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// The first line with a number like 1.2; programs warn before they tell.
std::string VersionLine(const std::string& text) {
  for (const std::string& line : Split(text, '\n')) {
    for (size_t i = 1; i + 1 < line.size(); ++i) {
      auto digit = [&](size_t at) {
        return line[at] >= '0' && line[at] <= '9';
      };
      if (line[i] == '.' && digit(i - 1) && digit(i + 1)) return line;
    }
  }
  return FirstLine(text);
}

std::string FileSystemOf(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return "unknown";
  std::string device = Format("%u:%u", major(st.st_dev), minor(st.st_dev));
  for (const std::string& line :
       Split(ReadFile("/proc/self/mountinfo"), '\n')) {
    auto words = Split(line, ' ');
    if (words.size() < 3 || words[2] != device) continue;
    for (size_t i = 6; i + 1 < words.size(); ++i) {
      if (words[i] == "-") return words[i + 1];
    }
  }
  return "unknown";
}

std::string CpuModel() {
  for (const std::string& line : Split(ReadFile("/proc/cpuinfo"), '\n')) {
    size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return ", " + line.substr(colon + 2);
    }
  }
  return "";
}

std::string UringState() {
  std::string state =
      FirstLine(ReadFile("/sys/module/fuse/parameters/enable_uring"));
  return state.empty() ? "not in this kernel" : state;
}

std::string DateInUtc() {
  time_t now = time(nullptr);
  tm fields;
  char text[64];
  gmtime_r(&now, &fields);
  strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &fields);
  return text;
}

std::string OutputOf(const std::string& command) {
  std::string text;
  // NOLINTNEXTLINE(cert-env33-c): it is a command that the user may give
  FILE* pipe = popen((command + " 2>&1 </dev/null").c_str(), "r");
  if (pipe == nullptr) return text;
  char buffer[1024];
  for (size_t n; (n = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    text.append(buffer, n);
  }
  pclose(pipe);
  return text;
}

}  // namespace

double BusyShare(const std::string& before, const std::string& after) {
  double idle = 0, all = 0;
  auto add = [&](const std::string& text, double sign) {
    // cpu user nice system idle iowait ...; guests are in user already.
    auto words = Split(FirstLine(text), ' ');
    for (size_t i = 1; i < words.size() && i < 9; ++i) {
      double ticks = sign * std::strtod(words[i].c_str(), nullptr);
      all += ticks;
      if (i == 4 || i == 5) idle += ticks;
    }
  };
  add(after, 1);
  add(before, -1);
  return all > 0 ? 1 - idle / all : 0;
}

std::string DescribeLoad(const std::string& loadavg, double busy) {
  return Format("CPUs %.0f %% busy, load average %s (%s)", busy * 100,
                loadavg.substr(0, loadavg.find(' ')).c_str(),
                busy < kIdleShare ? "idle" : "not idle: other work ran");
}

std::vector<Fact> DescribeEnvironment(const std::string& path) {
  std::string before = ReadFile("/proc/stat");
  usleep(kLookMicroseconds);
  double busy = BusyShare(before, ReadFile("/proc/stat"));
  utsname name;
  uname(&name);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return {
      {"date", DateInUtc()},
      {"kernel", std::string(name.release) + " " + name.machine},
      {"CPUs", Format("%ld", sysconf(_SC_NPROCESSORS_ONLN)) + CpuModel()},
      {"memory", Format("%ld MiB", pages / 1024 * page / 1024)},
      {"file system of the source", FileSystemOf(path)},
      {"fuse enable_uring", UringState()},
      {"most open files",
       Format("%llu", static_cast<unsigned long long>(files.rlim_max))},
      {"load before the run", DescribeLoad(ReadFile("/proc/loadavg"), busy)}};
}

std::vector<Fact> DescribeSettings(const Options& options) {
  const Knobs& knobs = options.knobs;
  auto number = [](uint64_t n) {
    return Format("%llu", static_cast<unsigned long long>(n));
  };
  std::vector<std::string> files;
  for (uint64_t count : knobs.files) files.push_back(number(count));
  return {{"repetitions", number(static_cast<uint64_t>(options.repetitions))},
          {"seconds", Number(knobs.seconds)},
          {"ops", number(knobs.max_ops)},
          {"walk files", number(knobs.walk_files)},
          {"flat files", number(knobs.flat_files)},
          {"text files", number(knobs.text_files)},
          {"data MiB", number(knobs.data_bytes >> 20)},
          {"files", Join(files, ",")}};
}

SystemInfo Describe(const System& system) {
  SystemInfo info{
      .name = system.name, .version = "", .command = system.command};
  if (!system.version_command.empty()) {
    info.version = VersionLine(OutputOf(system.version_command));
  }
  if (system.kind == System::Kind::kFloor) {
    info.command = "constant answers by " + system.transport;
  }
  return info;
}

}  // namespace handlefs::bench

// The server's own messages.
#include "daemon/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "io/base/fd.h"
#include "temporary.h"

namespace handlefs::test {
namespace {

// stderr goes to a file meanwhile.
class CapturedStderr {
 public:
  CapturedStderr() : path_(directory_ / "stderr") {
    UniqueFd file(open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600));
    dup2(file.get(), STDERR_FILENO);
  }
  ~CapturedStderr() {
    FlushLog();
    SetLogMount("");
    unsetenv("JOURNAL_STREAM");
    dup2(saved_.get(), STDERR_FILENO);
    (void)SetLog("stderr", LogLevel::kInfo).ok();
  }
  std::string Text() const { return ReadAll(path_); }
  // As systemd does it for a service whose stderr is the journal.
  void PretendJournal() {
    struct stat st;
    fstat(STDERR_FILENO, &st);
    std::ostringstream value;
    value << st.st_dev << ':' << st.st_ino;
    setenv("JOURNAL_STREAM", value.str().c_str(), 1);
  }

 private:
  Temporary directory_;
  std::string path_;
  UniqueFd saved_{fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)};
};

void OneOfEach() {
  Log(LogLevel::kError, "e");
  Log(LogLevel::kWarning, "w");
  Log(LogLevel::kInfo, "i");
  Log(LogLevel::kDebug, "d");
}

TEST_CASE("levels", "[log]") {
  CapturedStderr captured;
  const std::string error = "handlefs: error: e\n";
  const std::string warning = "handlefs: warning: w\n";
  const std::string info = "handlefs: i\n";
  const std::string debug = "handlefs: d\n";
  std::string expected;
  SECTION("error") {
    CHECK(SetLog("stderr", LogLevel::kError).ok());
    expected = error;
  }
  SECTION("warning") {
    CHECK(SetLog("stderr", LogLevel::kWarning).ok());
    expected = error + warning;
  }
  SECTION("info") {
    CHECK(SetLog("stderr", LogLevel::kInfo).ok());
    expected = error + warning + info;
  }
  SECTION("debug") {
    CHECK(SetLog("stderr", LogLevel::kDebug).ok());
    expected = error + warning + info + debug;
  }
  OneOfEach();
  CHECK(captured.Text() == expected);
}

TEST_CASE("lines for the journal carry priorities", "[log]") {
  CapturedStderr captured;
  SECTION("if stderr is the journal") {
    captured.PretendJournal();
    CHECK(SetLog("stderr", LogLevel::kDebug).ok());
    OneOfEach();
    CHECK(captured.Text() ==
          "<3>handlefs: error: e\n<4>handlefs: warning: w\n"
          "<6>handlefs: i\n<7>handlefs: d\n");
  }
  SECTION("not if it is another stream") {
    setenv("JOURNAL_STREAM", "1:1", 1);
    CHECK(SetLog("stderr", LogLevel::kInfo).ok());
    Log(LogLevel::kInfo, "i");
    CHECK(captured.Text() == "handlefs: i\n");
  }
}

TEST_CASE("a log file is appended to", "[log]") {
  CapturedStderr captured;
  Temporary directory;
  std::string path = directory / "log";
  umask(022);
  CHECK(SetLog(path, LogLevel::kInfo).ok());
  Log(LogLevel::kInfo, "first");
  struct stat st;
  REQUIRE(stat(path.c_str(), &st) == 0);
  CHECK((st.st_mode & 07777) == 0644);
  CHECK(SetLog(path, LogLevel::kInfo).ok());
  Log(LogLevel::kInfo, "second");
  CHECK(ReadAll(path) == "handlefs: first\nhandlefs: second\n");
  CHECK(captured.Text().empty());
}

TEST_CASE("a log file that is left is closed", "[log]") {
  CapturedStderr captured;
  Temporary directory;
  auto open_files = [&] {
    int count = 0;
    for (const auto& fd :
         std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      auto target = std::filesystem::read_symlink(fd.path(), gone);
      count += target.parent_path() == directory.path();
    }
    return count;
  };
  for (const char* name : {"first", "second", "first"}) {
    CHECK(SetLog(directory / name, LogLevel::kInfo).ok());
    CHECK(open_files() == 1);
  }
  std::string target = GENERATE("stderr", "syslog");
  CHECK(SetLog(target, LogLevel::kInfo).ok());
  CHECK(open_files() == 0);
  // stderr itself never is.
  CHECK(fcntl(STDERR_FILENO, F_GETFD) >= 0);
}

TEST_CASE("a log file that cannot be opened is told", "[log]") {
  CapturedStderr captured;
  Temporary directory;
  std::string path = directory / GENERATE(as<std::string>{}, "none/log", ".");
  CHECK(SetLog("stderr", LogLevel::kInfo).ok());
  absl::Status status = SetLog(path, LogLevel::kInfo);
  REQUIRE_FALSE(status.ok());
  CHECK(std::string(status.message()).find(path) != std::string::npos);
  // Messages go on where they went.
  Log(LogLevel::kInfo, "still here");
  CHECK(captured.Text() == "handlefs: still here\n");
}

TEST_CASE("the trace is written as it is, whatever the level", "[log]") {
  CapturedStderr captured;
  CHECK(SetLog("stderr", LogLevel::kError).ok());
  LogTrace("-> LOOKUP %s 100%");
  LogTrace("");
  CHECK(captured.Text() == "-> LOOKUP %s 100%\n\n");
}

TEST_CASE("a folder may have a level of its own", "[log]") {
  CapturedStderr captured;
  LogLevels levels;
  REQUIRE(LogLevels::Parse(levels, "warning,io=debug,restart=error").ok());
  CHECK(SetLog("stderr", levels).ok());
  LogOf(LogFolder::kIo, LogLevel::kDebug, "io");
  LogOf(LogFolder::kHandles, LogLevel::kInfo, "handles");
  LogOf(LogFolder::kRestart, LogLevel::kWarning, "restart");
  Log(LogLevel::kError, "of the file", {}, "../daemon/restart/keeper.cc", 1);
  Log(LogLevel::kWarning, "hushed", {}, "../daemon/restart/keeper.cc", 2);
  Log(LogLevel::kWarning, "said", {}, "../daemon/mount.cc", 3);
  CHECK(captured.Text() ==
        "handlefs: io\nhandlefs: error: of the file\n"
        "handlefs: warning: said\n");
  CHECK(Logs(LogFolder::kIo, LogLevel::kDebug));
  CHECK_FALSE(Logs(LogFolder::kProto, LogLevel::kInfo));
}

TEST_CASE("levels and format change while it runs", "[log]") {
  CapturedStderr captured;
  CHECK(SetLog("stderr", LogLevel::kError).ok());
  OneOfEach();
  SetLogStyle(LogLevel::kWarning, LogFormat::kJournal);
  OneOfEach();
  CHECK(captured.Text() ==
        "handlefs: error: e\n<3>handlefs: error: e\n"
        "<4>handlefs: warning: w\n");
}

TEST_CASE("what one call says too often is counted", "[log]") {
  CapturedStderr captured;
  CHECK(SetLog("stderr", LogLevel::kInfo).ok());
  for (int i = 0; i < 100; ++i) {
    Log(LogLevel::kWarning, "again " + std::to_string(i), {}, "a.cc", 1);
    if (i == 50) Log(LogLevel::kInfo, "another", {}, "a.cc", 2);
  }
  std::string expected;
  for (int i = 0; i < 10; ++i) {
    expected += "handlefs: warning: again " + std::to_string(i);
    expected += i == 9 ? " (more like it are counted for a minute)\n" : "\n";
  }
  expected += "handlefs: another\n";
  CHECK(captured.Text() == expected);
  FlushLog();
  expected += "handlefs: warning: again 99 ... and 89 more like it\n";
  CHECK(captured.Text() == expected);
  FlushLog();
  CHECK(captured.Text() == expected);
}

TEST_CASE("a child does not say what its parent has counted", "[log]") {
  CapturedStderr captured;
  CHECK(SetLog("stderr", LogLevel::kInfo).ok());
  for (int i = 0; i < 20; ++i) Log(LogLevel::kInfo, "p", {}, "a.cc", 10);
  const std::string before = captured.Text();
  pid_t child = fork();
  if (child == 0) {
    FlushLog();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(captured.Text() == before);
}

TEST_CASE("JSON: one object in a line", "[log]") {
  CapturedStderr captured;
  CHECK(SetLog("stderr", LogLevel::kInfo, LogFormat::kJson).ok());
  SetLogMount("/mnt/a \xff\"b\n");
  Log(LogLevel::kWarning, "bytes \x01\xc3\x28\xf0\x9f \n\"\\ \xc3\xa4",
      {.op = "LOOKUP", .error = ENOSPC}, "../daemon/restart/keeper.cc", 1);
  SetLogMount("");
  Log(LogLevel::kError, "plain");
  LogTrace("rx 8 LOOKUP");
  std::istringstream lines(captured.Text());
  std::vector<nlohmann::json> objects;
  for (std::string line; std::getline(lines, line);) {
    // It throws at what is no JSON, or no UTF-8.
    objects.push_back(nlohmann::json::parse(line));
  }
  REQUIRE(objects.size() == 3);
  CHECK(objects[0]["level"] == "warning");
  CHECK(objects[0]["folder"] == "restart");
  CHECK(objects[0]["pid"] == getpid());
  CHECK(objects[0]["op"] == "LOOKUP");
  CHECK(objects[0]["errno"] == "ENOSPC");
  CHECK(objects[0]["mount"] == "/mnt/a \xef\xbf\xbd\"b\n");
  CHECK(objects[0]["message"] ==
        "bytes \x01\xef\xbf\xbd(\xef\xbf\xbd \n\"\\ \xc3\xa4");
  absl::Time time;
  std::string why;
  CHECK(absl::ParseTime(absl::RFC3339_full,
                        objects[0]["time"].get<std::string>(), &time, &why));
  CHECK(time <= absl::Now());
  CHECK(objects[1].size() == 5);  // no mount, op, errno
  CHECK(objects[1]["message"] == "plain");
  CHECK(objects[2]["message"] == "rx 8 LOOKUP");
  CHECK(objects[2]["folder"] == "proto");
  CHECK(objects[2]["level"] == "debug");
}

TEST_CASE("no name makes a line of its own", "[log]") {
  CapturedStderr captured;
  CHECK(SetLog("stderr", LogLevel::kInfo).ok());
  Log(LogLevel::kInfo, "a\nhandlefs: error: forged\x1b[2J\x7f\xff");
  CHECK(captured.Text() ==
        "handlefs: a\\nhandlefs: error: forged\\x1b[2J\\x7f\xff\n");
}

TEST_CASE("messages are no format strings", "[log]") {
  CapturedStderr captured;
  CHECK(SetLog("stderr", LogLevel::kInfo).ok());
  Log(LogLevel::kInfo, "100% %s %n");
  CHECK(captured.Text() == "handlefs: 100% %s %n\n");
}

TEST_CASE("lines of several threads do not mix", "[log]") {
  CapturedStderr captured;
  CHECK(SetLog("stderr", LogLevel::kInfo).ok());
  std::vector<std::thread> threads;
  for (char c : {'a', 'b', 'c', 'd'}) {
    threads.emplace_back([c] {
      // A place in the code of its own each time: none says too much.
      for (int i = 0; i < 200; ++i) {
        Log(LogLevel::kInfo, std::string(300, c), {}, "file.cc", c * 1000 + i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::istringstream lines(captured.Text());
  size_t whole = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.size() != 310) continue;
    whole += line == "handlefs: " + std::string(300, line.back()) ? 1 : 0;
  }
  CHECK(whole == 800);
}

}  // namespace
}  // namespace handlefs::test

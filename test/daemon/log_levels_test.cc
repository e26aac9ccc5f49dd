// Levels, folders, and what is counted.
#include "daemon/log_levels.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "daemon/log_limit.h"
#include "daemon/reload.h"
#include "parsing.h"

namespace handlefs::test {
namespace {

TEST_CASE("levels for all and for folders", "[log]") {
  LogLevels levels;
  CHECK(levels.Of(LogFolder::kIo) == LogLevel::kInfo);
  CHECK(LogLevels::Parse(levels, "restart=error").ok());
  CHECK(levels.Of(LogFolder::kRestart) == LogLevel::kError);
  CHECK(levels.Of(LogFolder::kDaemon) == LogLevel::kInfo);
  // What it was before does not count, and the last of repeated folders wins.
  CHECK(LogLevels::Parse(levels, "io=debug,error,proto=info,io=warning").ok());
  CHECK(levels.Of(LogFolder::kRestart) == LogLevel::kError);
  CHECK(levels.Of(LogFolder::kDaemon) == LogLevel::kError);
  CHECK(levels.Of(LogFolder::kProto) == LogLevel::kInfo);
  CHECK(levels.Of(LogFolder::kIo) == LogLevel::kWarning);
}

TEST_CASE("levels that are none are refused with the cure", "[log]") {
  struct Row {
    const char* value;
    const char* names;
    const char* cure;
  };
  const Row row = GENERATE(
      Row{"loud", "'loud'", "error, warning, info, debug, or FOLDER=LEVEL"},
      Row{"info,io", "'io'", "FOLDER=LEVEL"}, Row{"info,", "''", "debug"},
      Row{",info", "''", "debug"}, Row{"io=", "'io='", "debug"},
      Row{"io=loud", "'io=loud'", "debug"}, Row{"=info", "'=info'", "handles"},
      Row{"info,disk=debug", "'disk=debug'",
          "daemon, restart, control, io, handles, proto"},
      Row{"info,error", "'error'", "give one"},
      Row{"info, io=debug", "' io=debug'", "handles"});
  std::string message = RefusalOf("--log-level=" + std::string(row.value));
  INFO(row.value << ": " << message);
  CHECK(Mentions(message, "log_level"));
  CHECK(Mentions(message, row.names));
  CHECK(Mentions(message, row.cure));
}

TEST_CASE("in -o the comma is written with a backslash", "[log]") {
  Options o = Parsed({"-olog_level=info\\,io=debug,log_format=json"});
  CHECK(o.log_level.Of(LogFolder::kIo) == LogLevel::kDebug);
  CHECK(o.log_level.Of(LogFolder::kDaemon) == LogLevel::kInfo);
  CHECK(o.log_format == LogFormat::kJson);
  o = Parsed({"-olog_level=\"info,io=debug\""});
  CHECK(o.log_level.Of(LogFolder::kIo) == LogLevel::kDebug);
  // Who forgets it is told.
  CHECK(Mentions(RefusalOf("-olog_level=info,io=debug"), "io=debug"));
  CHECK(Mentions(RefusalOf("-olog_level=info,io=debug"), "log_level=info\\,"));
}

TEST_CASE("a file belongs to its folder", "[log]") {
  CHECK(FolderOf("../daemon/restart/keeper.cc") == LogFolder::kRestart);
  CHECK(FolderOf("../daemon/log.cc") == LogFolder::kDaemon);
  CHECK(FolderOf("/x/handlefs/io/reader.cc") == LogFolder::kIo);
  CHECK(FolderOf("handles/nodes.cc") == LogFolder::kHandles);
  CHECK(FolderOf("../proto/base/errno.h") == LogFolder::kProto);
  CHECK(FolderOf("log.cc") == LogFolder::kDaemon);
  CHECK(FolderOf("") == LogFolder::kDaemon);
  // The name of a file is no folder.
  CHECK(FolderOf("../daemon/io") == LogFolder::kDaemon);
}

// A folder that logs and has no name in log_level would be under daemon's.
TEST_CASE("every folder that logs has its name", "[log]") {
  std::set<std::string> folders;
  for (const char* top : {"daemon", "io", "handles", "proto"}) {
    for (const auto& file : std::filesystem::recursive_directory_iterator(
             std::string(HANDLEFS_ROOT) + "/" + top)) {
      if (file.path().extension() != ".cc") continue;
      std::ifstream in(file.path());
      std::stringstream text;
      text << in.rdbuf();
      if (!Mentions(text.str(), "Log(LogLevel::")) continue;
      folders.insert(file.path().parent_path().filename());
    }
  }
  CHECK(folders.contains("daemon"));
  CHECK(folders.contains("restart"));
  for (const std::string& folder : folders) {
    INFO(folder);
    CHECK(FindLogFolder(folder));
  }
}

class Limited {
 public:
  LogLimit::Verdict Say(int line, const std::string& text) {
    return limit.Judge({file, line},
                       {.level = LogLevel::kWarning, .text = text, .op = {}},
                       now);
  }
  void Wait(absl::Duration duration) { now += duration; }
  std::vector<std::string> Due() {
    std::vector<std::string> texts;
    for (const LogMessage& m : limit.TakeDue(now)) texts.push_back(m.text);
    return texts;
  }

  const char* file = "a.cc";
  LogLimit limit;
  absl::Time now = absl::FromUnixSeconds(1'000'000);
};

TEST_CASE("the first ones of a minute pass, the rest is counted", "[log]") {
  using enum LogLimit::Verdict;
  Limited log;
  for (uint64_t i = 1; i < LogLimit::kBurst; ++i)
    CHECK(log.Say(1, "a") == kSay);
  CHECK(log.Say(1, "a") == kSayLast);
  for (int i = 0; i < 58; ++i) CHECK(log.Say(1, "a") == kCount);
  // Other places are others.
  CHECK(log.Say(2, "b") == kSay);
  log.Wait(LogLimit::kWindow - absl::Nanoseconds(1));
  CHECK(log.Due().empty());
  log.Wait(absl::Nanoseconds(1));
  CHECK(log.Due() == std::vector<std::string>{"a ... and 57 more like it"});
  CHECK(log.Due().empty());
  CHECK(log.Say(1, "a") == kSay);
}

TEST_CASE("a single one that was held back is said as it is", "[log]") {
  Limited log;
  for (uint64_t i = 0; i <= LogLimit::kBurst; ++i) log.Say(1, "a");
  log.Wait(LogLimit::kWindow);
  CHECK(log.Due() == std::vector<std::string>{"a"});
}

TEST_CASE("a clock that goes back holds nothing back for long", "[log]") {
  Limited log;
  for (uint64_t i = 0; i < 2 * LogLimit::kBurst; ++i) log.Say(1, "a");
  log.Wait(-absl::Hours(5));
  CHECK(log.Due().size() == 1);
  CHECK(log.Say(1, "a") == LogLimit::Verdict::kSay);
}

TEST_CASE("a log file keeps its place when the daemon leaves it", "[log]") {
  Options o = Parsed({"--log=own.log"});
  CHECK(LogTargetOf(o) == "own.log");
  o.directory = "/var/x";
  CHECK(LogTargetOf(o) == "/var/x/own.log");
  o.log = "/abs.log";
  CHECK(LogTargetOf(o) == "/abs.log");
  o.log = "syslog";
  CHECK(LogTargetOf(o) == "syslog");
  o.log = "auto";
  CHECK(LogTargetOf(o) == "syslog");
  o.foreground = Switch::kOn;
  CHECK(LogTargetOf(o) == "stderr");
}

TEST_CASE("what a reload cannot change is named", "[log]") {
  Options before = Parsed({"-oro,cache=none,log_level=info"});
  CHECK(NeedNewStart(before, before).empty());
  CHECK(NeedNewStart(
            before, Parsed({"-oro,cache=none,log_level=debug,log_format=json"}))
            .empty());
  CHECK(NeedNewStart(before, Parsed({"-oro,cache=auto,threads=3,noexec"})) ==
        std::vector<std::string>{"cache", "noexec", "threads"});
  CHECK(NeedNewStart(before, Parsed({"-ocache=none"})) ==
        std::vector<std::string>{"ro"});
}

}  // namespace
}  // namespace handlefs::test

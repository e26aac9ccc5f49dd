// What mount(8) calls the helper with, and what becomes of it.
#include "command.h"

#include <catch2/catch.hpp>

#include "daemon_process.h"
#include "exit_status.h"
#include "user.h"

namespace handlefs::mount_helper {
namespace {

using Strings = std::vector<std::string>;

std::variant<Command, Failure> Parse(const Strings& args) {
  std::vector<const char*> pointers;
  for (const std::string& arg : args) pointers.push_back(arg.c_str());
  return ParseCommand(pointers);
}

Command Good(const Strings& args) {
  auto parsed = Parse(args);
  if (auto* failure = std::get_if<Failure>(&parsed)) FAIL(failure->reason);
  return std::get<Command>(parsed);
}

Command WithOptions(const std::string& list) {
  return Good({"/src", "/dst", "-o", list});
}

std::string Bad(const Strings& args) {
  auto parsed = Parse(args);
  REQUIRE(std::holds_alternative<Failure>(parsed));
  const auto& failure = std::get<Failure>(parsed);
  CHECK(failure.status == ExitStatus::kUsage);
  CHECK(failure.step == "options");
  CHECK(failure.reason.find('\n') == std::string::npos);
  return failure.reason;
}

bool Mentions(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

struct Row {
  Strings args;
  Strings words;     // for the daemon
  std::string also;  // letters of what else is on: f s v r d, u for setuid
};

std::string Also(const Command& command) {
  std::string out;
  if (command.fake == Switch::kOn) out += 'f';
  if (command.sloppy == Switch::kOn) out += 's';
  if (command.verbose == Switch::kOn) out += 'v';
  if (command.task == Task::kRemount) out += 'r';
  if (command.drop_privileges == Switch::kOn) out += 'd';
  if (!command.run_as.empty()) out += 'u';
  return out;
}

TEST_CASE("command lines of mount(8)", "[mount]") {
  const Row rows[] = {
      {{"-o", "rw"}, {}, ""},
      {{"-o", "ro"}, {"ro"}, ""},
      // The last one wins, as everywhere.
      {{"-o", "ro,rw"}, {"ro", "rw"}, ""},
      {{"-o", "rw,ro"}, {"ro"}, ""},
      {{"-s", "-f", "-n", "-v", "-o", "rw"}, {}, "fsv"},
      {{"-sfnv", "-o", "ro"}, {"ro"}, "fsv"},
      {{"-nfo", "ro"}, {"ro"}, "f"},
      {{"-oro,cache=none"}, {"ro", "cache=none"}, ""},
      {{"-t", "fuse.handlefs", "-o", "rw"}, {}, ""},
      {{"-o", "rw", "-o", "cache=none"}, {"cache=none"}, ""},
      {{"-o", "rw,fsname=\"a,b\",cache=auto"},
       {"fsname=a,b", "cache=auto"},
       ""},
      {{"-o", "rw,fsname=a\\,b"}, {"fsname=a,b"}, ""},
      {{"-o", "rw,sloppy,bogus,cache=none"}, {"cache=none"}, "s"},
      {{"-s", "-o", "rw,bogus=1,fd=3"}, {}, "s"},
      {{"-o", "rw,remount,ro"}, {"rw", "ro"}, "r"},
      {{"-o",
        "ro,nosuid,relatime,remount,user_id=0,group_id=0,default_permissions,"
        "allow_other,max_read=65536"},
       {"ro", "nosuid", "relatime", "default_permissions", "allow_other",
        "max_read=65536"},
       "r"},
      {{"-o", "rw,setuid=nobody"}, {}, "u"},
      {{"-o", "rw,drop_privileges,setuid=1000"}, {}, "du"},
      {{"-o", "rw,drop-privileges"}, {}, "d"},
      {{"-o", "rw,debug,foreground"}, {"debug", "foreground"}, ""},
  };
  for (const Row& row : rows) {
    // Operands stand first by mount(8), last by hand.
    for (bool first : {true, false}) {
      Strings args = row.args;
      args.insert(first ? args.begin() : args.end(), {"/src", "/dst"});
      INFO(args.back());
      Command command = Good(args);
      CHECK(command.source == "/src");
      CHECK(command.target == "/dst");
      CHECK(command.words == row.words);
      CHECK(Also(command) == row.also);
      CHECK(command.hands_over() ==
            (Also(command).find_first_of("du") != std::string::npos));
    }
  }
}

TEST_CASE("words for mount(8) and systemd do nothing", "[mount]") {
  const Options plain;
  for (const char* word :
       {"defaults", "auto", "noauto", "nofail", "_netdev", "user", "users",
        "user=joe", "nouser", "owner", "group", "comment=x", "silent", "loud",
        "x-systemd.automount", "x-systemd.requires=/a", "X-mount.mkdir=755"}) {
    INFO(word);
    Command command = WithOptions(std::string("rw,") + word);
    Options options;
    for (const std::string& left : command.words) {
      REQUIRE(ApplyOption(options, left, "").ok());
    }
    options.given.clear();
    CHECK(options == plain);
  }
}

TEST_CASE("what is wrong is named", "[mount]") {
  CHECK(Mentions(Bad({}), "SOURCE and TARGET"));
  CHECK(Mentions(Bad({"/src"}), "SOURCE and TARGET"));
  CHECK(Mentions(Bad({"/src", ""}), "SOURCE and TARGET"));
  CHECK(Mentions(Bad({"/a", "/b", "/c"}), "SOURCE and TARGET"));
  CHECK(Mentions(Bad({"/a", "/b", "-o"}), "-o"));
  CHECK(Mentions(Bad({"/a", "/b", "-N"}), "-N"));
  CHECK(Mentions(Bad({"/a", "/b", "-x"}), "'-x'"));
  CHECK(Mentions(Bad({"/a", "/b", "--bogus"}), "-"));
  CHECK(Mentions(Bad({"/a", "/b", "-o", "bogus"}), "'bogus'"));
  CHECK(Mentions(Bad({"/a", "/b", "-o", "a=\"b"}), "quote"));
  CHECK(Mentions(Bad({"/a", "/b", "-o", "cache=x"}), "cache"));
  // -s is for what is unknown, not for what is wrong.
  CHECK(Mentions(Bad({"/a", "/b", "-s", "-o", "cache=x"}), "cache"));
  for (const char* name :
       {"fd", "rootmode", "user_id", "group_id", "subtype"}) {
    CHECK(Mentions(Bad({"/a", "/b", "-o", std::string(name) + "=1"}), name));
  }
  for (const char* name : {"help", "version", "check", "print_config"}) {
    CHECK(Mentions(Bad({"/a", "/b", "-o", name}), "handlefs itself"));
  }
  CHECK(Mentions(Bad({"/a", "/b", "-o", "setuid="}), "setuid"));
}

TEST_CASE("behind two dashes there are operands", "[mount]") {
  Command command = Good({"-o", "ro", "--", "-s", "-t"});
  CHECK(command.source == "-s");
  CHECK(command.target == "-t");
  CHECK(command.sloppy == Switch::kOff);
}

TEST_CASE("help and version need nothing else", "[mount]") {
  CHECK(Good({"-h"}).task == Task::kHelp);
  CHECK(Good({"--help"}).task == Task::kHelp);
  CHECK(Good({"-V"}).task == Task::kVersion);
  CHECK(Good({"--version"}).task == Task::kVersion);
  for (const char* text : {"-f", "-n", "-s", "-v", "-N", "-o", "remount",
                           "setuid", "drop_privileges"}) {
    CHECK(Mentions(HelpText(), text));
  }
}

TEST_CASE("the namespace is kept", "[mount]") {
  CHECK(Good({"/a", "/b", "-N", "/proc/7/fd/3", "-o", "rw"}).name_space ==
        "/proc/7/fd/3");
}

TEST_CASE("the daemon reads back what it is given", "[mount]") {
  Command command = WithOptions("rw,fsname=\"a,b\\\\c\",cache=none");
  Strings args = DaemonArguments(command, "/dev/fd/5");
  std::vector<const char*> pointers;
  for (const std::string& arg : args) pointers.push_back(arg.c_str());
  auto options = ParseOptions(pointers, {.config_dir = ""});
  REQUIRE(options.ok());
  CHECK(options->source == "/src");
  CHECK(options->mount_point == "/dev/fd/5");
  CHECK(options->fsname == "a,b\\c");
  CHECK(options->cache == Cache::kNone);
  CHECK(options->foreground == Switch::kOff);
  // It never stays in the foreground, or mount(8) would wait for ever.
  command = WithOptions("foreground,debug");
  args = DaemonArguments(command, "/dst");
  pointers.clear();
  for (const std::string& arg : args) pointers.push_back(arg.c_str());
  options = ParseOptions(pointers, {.config_dir = ""});
  REQUIRE(options.ok());
  CHECK(options->foreground == Switch::kOff);
  CHECK(options->trace == Switch::kOn);
}

TEST_CASE("statuses are those of mount(8)", "[mount]") {
  CHECK(ToInt(StatusOf(ExitCode::kOk)) == 0);
  CHECK(ToInt(StatusOf(ExitCode::kUsage)) == 1);
  CHECK(ToInt(StatusOf(ExitCode::kFuse)) == 2);
  for (ExitCode code :
       {ExitCode::kSource, ExitCode::kMountPoint, ExitCode::kMount,
        ExitCode::kHandshake, ExitCode::kServe}) {
    CHECK(ToInt(StatusOf(code)) == 32);
    CHECK_FALSE(StepOf(code).empty());
  }
}

TEST_CASE("users are found by name and by number", "[mount]") {
  auto by_name = FindUser("root");
  REQUIRE(std::holds_alternative<User>(by_name));
  CHECK(std::get<User>(by_name).uid == 0);
  auto by_number = FindUser("0");
  REQUIRE(std::holds_alternative<User>(by_number));
  CHECK(std::get<User>(by_number).name == "root");
  for (const char* name : {"no such user", "", "-1", "0x0"}) {
    auto none = FindUser(name);
    REQUIRE(std::holds_alternative<Failure>(none));
    CHECK(std::get<Failure>(none).status == ExitStatus::kUsage);
  }
}

}  // namespace
}  // namespace handlefs::mount_helper

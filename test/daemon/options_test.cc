// The forms of the command line.
#include <sys/mount.h>

#include <sstream>

#include "parsing.h"

namespace handlefs::test {

std::vector<std::string> Words(std::string_view metavar) {
  std::vector<std::string> words;
  std::istringstream parts{std::string(metavar)};
  for (std::string word; std::getline(parts, word, '|');) {
    if (!std::isupper(static_cast<unsigned char>(word[0]))) {
      words.push_back(word);
    }
  }
  return words;
}

namespace {

TEST_CASE("two operands are needed", "[options]") {
  Options options = Parsed({});
  CHECK(options.source == "/source");
  CHECK(options.mount_point == "/mount");
  CHECK(Mentions(Refusal({}), "SOURCE and MOUNTPOINT"));
  CHECK(Mentions(Refusal({"/source"}), "SOURCE and MOUNTPOINT"));
  CHECK(Mentions(Refusal({"/a", "/b", "/c"}), "'/c'"));
  CHECK(Mentions(Refusal({"", "/b"}), "empty"));
  CHECK(Mentions(Refusal({"/a", ""}), "empty"));
}

TEST_CASE("operands may stand anywhere", "[options]") {
  auto options = Parse({"/a", "-o", "ro", "/b", "-f"});
  REQUIRE(options.ok());
  CHECK(options->source == "/a");
  CHECK(options->mount_point == "/b");
  CHECK(options->read_only == Switch::kOn);
  CHECK(options->foreground == Switch::kOn);
}

TEST_CASE("behind two dashes there are only operands", "[options]") {
  auto options = Parse({"--", "-o", "--help"});
  REQUIRE(options.ok());
  CHECK(options->mode == Mode::kServe);
  CHECK(options->source == "-o");
  CHECK(options->mount_point == "--help");
  options = Parse({"-", "/b"});
  REQUIRE(options.ok());
  CHECK(options->source == "-");
}

TEST_CASE("help and version need no operands", "[options]") {
  for (const char* arg : {"-h", "--help", "-ohelp"}) {
    auto options = Parse({arg});
    REQUIRE(options.ok());
    CHECK(options->mode == Mode::kHelp);
  }
  CHECK(Parse({"--help=threads"})->help_topic == "threads");
  CHECK(Parse({"--help=log-level"})->help_topic == "log_level");
  CHECK(Parse({"--help=all"})->help_topic == "all");
  CHECK(Mentions(Refusal({"--help=bogus"}), "'bogus'"));
  for (const char* arg : {"-V", "--version"}) {
    auto options = Parse({arg, "one", "two", "three"});
    REQUIRE(options.ok());
    CHECK(options->mode == Mode::kVersion);
  }
}

TEST_CASE("short options", "[options]") {
  CHECK(Parsed({}).foreground == Switch::kOff);
  CHECK(Parsed({"-f"}).foreground == Switch::kOn);
  CHECK(Parsed({"-f"}).trace == Switch::kOff);
  Options debug = Parsed({"-d"});
  CHECK(debug.foreground == Switch::kOn);
  CHECK(debug.trace == Switch::kOn);
  CHECK(Parsed({"-s"}).threads == 1);
  Options both = Parsed({"-fs"});
  CHECK(both.foreground == Switch::kOn);
  CHECK(both.threads == 1);
  CHECK(Mentions(RefusalOf("-x"), "'-x'"));
  CHECK(Mentions(RefusalOf("-fx"), "'-fx'"));
}

TEST_CASE("every form of a value is the same", "[options]") {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"-o", "cache=none"},
                                             {"-ocache=none"},
                                             {"--cache=none"},
                                             {"--cache", "none"},
                                             {"-o", "ro,cache=none,noexec"},
                                             {"-o", ",,cache=none,"}}) {
    CHECK(Parsed(args).cache == Cache::kNone);
  }
  // A value may itself look like an option.
  CHECK(Parsed({"--fsname", "-o"}).fsname == "-o");
  CHECK(Parsed({"--fsname=a=b"}).fsname == "a=b");
}

TEST_CASE("dashes and underscores in names are the same", "[options]") {
  for (const char* arg : {"--max-write=8192", "--max_write=8192",
                          "-omax-write=8192", "-omax_write=8192"}) {
    CHECK(Parsed({arg}).max_write == 8192);
  }
  CHECK(Parsed({"--max-write", "8192"}).max_write == 8192);
  // Not in values.
  CHECK(Parsed({"--fsname=a-b_c"}).fsname == "a-b_c");
}

TEST_CASE("the last one wins", "[options]") {
  CHECK(Parsed({"-o", "ro", "-o", "rw"}).read_only == Switch::kOff);
  CHECK(Parsed({"-o", "rw,ro"}).read_only == Switch::kOn);
  CHECK(Parsed({"--cache=none", "-ocache=always"}).cache == Cache::kAlways);
  CHECK(Parsed({"-o", "suid,nosuid"}).allow_suid == Switch::kOff);
  CHECK(Parsed({"-o", "allow_other,allow_other=off"}).allow_other ==
        Switch::kOff);
  CHECK(Parsed({"-s", "--threads=8"}).threads == 8);
  // A wrong one is wrong even if another follows.
  CHECK(Mentions(Refusal({"-ocache=x,cache=none", "/a", "/b"}), "cache"));
}

TEST_CASE("a list ends at commas, but not in quotes", "[options]") {
  auto split = [](const char* list) {
    auto words = SplitOptionList(list);
    REQUIRE(words.ok());
    return *words;
  };
  using Strings = std::vector<std::string>;
  CHECK(split("").empty());
  CHECK(split(",,").empty());
  CHECK(split("a") == Strings{"a"});
  CHECK(split("a,b=c") == Strings{"a", "b=c"});
  CHECK(split("a=\"x,y\",b") == Strings{"a=x,y", "b"});
  CHECK(split("\"a=x,y\"") == Strings{"a=x,y"});
  CHECK(split("a=\"\"") == Strings{"a="});
  CHECK(split("a=x\",\"y") == Strings{"a=x,y"});
  // Or behind a backslash.
  CHECK(split("a=x\\,y,b") == Strings{"a=x,y", "b"});
  CHECK(split("a=x\\\\,b") == Strings{"a=x\\", "b"});
  CHECK(split("a=\\\"x,b") == Strings{"a=\"x", "b"});
  CHECK_FALSE(SplitOptionList("a=x\\").ok());
  CHECK(Parsed({"-o", "fsname=\"a,b\",ro"}).fsname == "a,b");
  CHECK(Parsed({"-o", "fsname=\"a,b\",ro"}).read_only == Switch::kOn);
  CHECK_FALSE(SplitOptionList("a=\"b,c").ok());
  CHECK(Mentions(Refusal({"-o", "fsname=\"a,b", "/a", "/b"}), "quote"));
}

TEST_CASE("an unknown option is named", "[options]") {
  for (const char* arg : {"--bogus", "--bogus=1", "-obogus", "-obogus=1"}) {
    std::string message = RefusalOf(arg);
    CHECK(Mentions(message, "'bogus'"));
    CHECK(Mentions(message, "--help"));
  }
  CHECK(Mentions(RefusalOf("-ono-such_thing=1"), "'no-such_thing'"));
  CHECK(Mentions(RefusalOf("-o=5"), "unknown option"));
  // Names are told apart by case.
  CHECK(Mentions(RefusalOf("-oRO"), "'RO'"));
}

TEST_CASE("an option that is nearly one is guessed", "[options]") {
  CHECK(Mentions(RefusalOf("-ochache=none"), "is it cache?"));
  CHECK(Mentions(RefusalOf("--timout=3"), "is it timeout?"));
  CHECK(Mentions(RefusalOf("-ocahce=none"), "is it cache?"));
  CHECK(Mentions(RefusalOf("-oallow-others"), "is it allow_other?"));
  CHECK(Mentions(RefusalOf("-onosiud"), "is it nosuid?"));
  for (const char* arg : {"-ox", "-oxy", "-obogus", "-osomething_else"}) {
    CHECK_FALSE(Mentions(RefusalOf(arg), "is it"));
  }
}

TEST_CASE("a list must follow -o", "[options]") {
  CHECK(Mentions(Refusal({"/a", "/b", "-o"}), "-o"));
}

TEST_CASE("what the server itself tells the kernel is not taken", "[options]") {
  for (const char* name :
       {"fd", "rootmode", "user_id", "group_id", "subtype", "blksize"}) {
    std::string message = RefusalOf("-o" + std::string(name) + "=1");
    CHECK(Mentions(message, name));
    CHECK(Mentions(message, "cannot be given"));
  }
}

TEST_CASE("words of fstab for others are passed over", "[options]") {
  Options plain = Parsed({});
  Options options =
      Parsed({"-o",
              "defaults,auto,noauto,nofail,_netdev,user,users,nouser,owner,"
              "group,default_permissions,comment=x,x-systemd.automount,"
              "x-systemd.requires=/a,X-mount.mkdir=0755,user=joe"});
  CHECK(options.mount_attributes == plain.mount_attributes);
  CHECK(options.superblock_flags.empty());
  CHECK(options.read_only == Switch::kOff);
}

struct Flag {
  const char* words;
  uint64_t attributes;
};

TEST_CASE("mount flags", "[options]") {
  auto flag = GENERATE(
      Flag{"noexec", MOUNT_ATTR_NOEXEC}, Flag{"noexec,exec", 0},
      Flag{"noatime", MOUNT_ATTR_NOATIME}, Flag{"noatime,atime", 0},
      Flag{"noatime,relatime", 0}, Flag{"strictatime,norelatime", 0},
      Flag{"strictatime", MOUNT_ATTR_STRICTATIME},
      Flag{"strictatime,nostrictatime", 0},
      Flag{"noatime,strictatime", MOUNT_ATTR_STRICTATIME},
      Flag{"strictatime,noatime", MOUNT_ATTR_NOATIME},
      Flag{"nodiratime", MOUNT_ATTR_NODIRATIME}, Flag{"nodiratime,diratime", 0},
      Flag{"nosymfollow", 0x00200000}, Flag{"nosymfollow,symfollow", 0},
      Flag{"noexec,nodiratime", MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODIRATIME});
  INFO(flag.words);
  CHECK(Parsed({"-o", flag.words}).mount_attributes == flag.attributes);
}

TEST_CASE("flags of the superblock are collected", "[options]") {
  CHECK(Parsed({}).superblock_flags.empty());
  for (const char* word :
       {"sync", "async", "dirsync", "lazytime", "nolazytime"}) {
    CHECK(Parsed({"-o", word}).superblock_flags == word);
  }
  CHECK(Parsed({"-o", "sync,noexec,dirsync"}).superblock_flags ==
        "sync,dirsync");
}

TEST_CASE("suid and dev are left open unless they are given", "[options]") {
  Options options = Parsed({});
  CHECK_FALSE(options.allow_suid);
  CHECK_FALSE(options.allow_dev);
  CHECK(Parsed({"-o", "suid"}).allow_suid == Switch::kOn);
  CHECK(Parsed({"-o", "nosuid"}).allow_suid == Switch::kOff);
  CHECK(Parsed({"-o", "dev"}).allow_dev == Switch::kOn);
  CHECK(Parsed({"-o", "nodev"}).allow_dev == Switch::kOff);
}

TEST_CASE("flags take no value", "[options]") {
  for (const char* word : {"noexec=1", "suid=on", "sync=", "ro=1", "rw=",
                           "foreground=1", "version=1", "print-config=on"}) {
    CHECK_FALSE(RefusalOf("-o" + std::string(word)).empty());
  }
}

TEST_CASE("the help has every option once", "[options]") {
  std::string help = HelpText();
  for (const OptionRow& row : OptionTable()) {
    INFO(row.name);
    std::string head = "\n  " + FormOf(row) + " ";
    size_t at = help.find(head);
    CHECK(at != std::string::npos);
    CHECK(help.find(head, at + 1) == std::string::npos);
  }
  for (const char* text : {"SOURCE", "MOUNTPOINT", "nosuid", "noexec", "-s",
                           "-f", "-d", "-h", "-V"}) {
    CHECK(Mentions(help, text));
  }
}

TEST_CASE("the help fits a terminal", "[options]") {
  std::istringstream lines(HelpText());
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    CHECK(line.size() < 100);
    CHECK_FALSE(line.ends_with(' '));
  }
}

}  // namespace
}  // namespace handlefs::test

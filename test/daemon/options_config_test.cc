// Config files, the environment, and who wins.
#include "daemon/options_config.h"

#include <cctype>
#include <random>

#include "parsing.h"
#include "temporary.h"

namespace handlefs::test {
namespace {

Options FromText(const std::string& text) {
  Options options;
  absl::Status status = ApplyConfigText(options, text, "/x.conf");
  INFO(std::string(status.message()));
  REQUIRE(status.ok());
  return options;
}

std::string Complaint(const std::string& text) {
  Options options;
  absl::Status status = ApplyConfigText(options, text, "/x.conf");
  CHECK_FALSE(status.ok());
  std::string message(status.message());
  CHECK_FALSE(Mentions(message, "\n"));
  return message;
}

TEST_CASE("a config file has a line for each option", "[options][config]") {
  Options options = FromText(
      "# all of it\n"
      "\n"
      "cache = none\n"
      "  max-write=64k   # a comment\r\n"
      "\tfsname = a#b\n"
      "ro\n"
      "noexec\n"
      "allow_other = off");
  CHECK(options.cache == Cache::kNone);
  CHECK(options.max_write == 65536);
  CHECK(options.fsname == "a#b");
  CHECK(options.read_only == Switch::kOn);
  CHECK(options.mount_attributes != 0);
  CHECK(options.allow_other == Switch::kOff);
  CHECK(FromText("").given.empty());
  CHECK(FromText("fsname = \"a # b \"").fsname == "a # b ");
  CHECK(FromText("fsname = a = b, c").fsname == "a = b, c");
  // The last one wins here, too.
  CHECK(FromText("threads = 2\nthreads = 3").threads == 3);
}

TEST_CASE("a bad line is named", "[options][config]") {
  CHECK(Complaint("ro\n\ncache = x").starts_with("/x.conf:3: option cache: "));
  CHECK(
      Complaint("bogus = 1").starts_with("/x.conf:1: unknown option 'bogus'"));
  CHECK(Mentions(Complaint("[section]"), "name = value"));
  CHECK(Mentions(Complaint("= 3"), "name = value"));
  CHECK(Mentions(Complaint("cache none"), "name = value"));
  CHECK(Mentions(Complaint("threads ="), "threads"));
  CHECK(Mentions(Complaint("threads"), "threads=N"));
  for (const char* name :
       {"check", "help", "version", "print-config = 1", "config = other"}) {
    INFO(name);
    CHECK(Mentions(Complaint(name), "command line"));
  }
}

class Places {
 public:
  explicit Places(std::vector<std::string> environment = {})
      : environment_(std::move(environment)) {
    for (const std::string& entry : environment_) {
      pointers_.push_back(entry.c_str());
    }
    pointers_.push_back(nullptr);
  }
  void File(const std::string& name, const std::string& text) const {
    WriteAll(dir_ / name, text);
  }
  std::string Path(const std::string& name) const { return dir_ / name; }
  absl::StatusOr<Options> Parse(std::vector<const char*> args) const {
    return ParseOptions(args, {.config_dir = dir_.path().string(),
                               .environment = pointers_.data()});
  }
  Options Good(std::vector<const char*> args) const {
    args.insert(args.end(), {"/source", "/mount"});
    auto options = Parse(std::move(args));
    INFO(std::string(options.status().message()));
    REQUIRE(options.ok());
    return *options;
  }
  std::string Bad(std::vector<const char*> args) const {
    args.insert(args.end(), {"/source", "/mount"});
    auto options = Parse(std::move(args));
    REQUIRE_FALSE(options.ok());
    return std::string(options.status().message());
  }

 private:
  Temporary dir_;
  std::vector<std::string> environment_;
  std::vector<const char*> pointers_;
};

TEST_CASE("each place wins over those before it", "[options][config]") {
  Places places({"HANDLEFS_THREADS=4", "HANDLEFS_MAX_READ=64k",
                 "HANDLEFS_LOG=", "HANDLEFS=x", "HANDLEFS_BOGUS=1"});
  CHECK(places.Good({}).threads == 4);
  places.File("handlefs.conf",
              "threads = 2\nmax_read = 8k\nmax_write = 8k\ntimeout = 2\n"
              "cache = none\n");
  places.File("one.conf", "threads = 3\nmax_write = 16k\ntimeout = 3\n");
  Options options = places.Good({"-o", "config=one,timeout=5"});
  CHECK(options.cache == Cache::kNone);  // the default file
  CHECK(options.max_write == 16384);     // one.conf
  CHECK(options.max_read == 65536);      // the environment
  CHECK(options.threads == 4);
  CHECK(options.timeout == 5);   // the command line
  CHECK(options.log == "auto");  // an empty value is none
  CHECK(places.Good({}).max_write == 8192);
  std::string path = "--config=" + places.Path("one.conf");
  CHECK(places.Good({path.c_str()}).max_write == 16384);
}

TEST_CASE("the environment names a file, too", "[options][config]") {
  Places places({"HANDLEFS_CONFIG=one"});
  places.File("one.conf", "threads = 3");
  places.File("two.conf", "threads = 5");
  CHECK(places.Good({}).threads == 3);
  CHECK(places.Good({"--config=two"}).threads == 5);
}

TEST_CASE("what is wrong with a place is said", "[options][config]") {
  Places places;
  std::string message = places.Bad({"--config=none"});
  CHECK(Mentions(message, places.Path("none.conf")));
  CHECK(Mentions(message, "No such file"));
  CHECK(Mentions(places.Bad({"--config=/nowhere/x"}), "/nowhere/x"));
  CHECK(Mentions(places.Bad({"--config=/"}), "Is a directory"));
  places.File("handlefs.conf", "\nbogus\n");
  CHECK(places.Bad({}).starts_with(places.Path("handlefs.conf") + ":2: "));
  // Help is to be had all the same.
  CHECK(places.Parse({"--help"}).ok());

  Places wrong({"HANDLEFS_CACHE=x"});
  CHECK(wrong.Bad({}).starts_with("the environment: option cache: "));
}

TEST_CASE("a file can name source and mount point", "[options][config]") {
  Places places;
  places.File("one.conf", "source = /srv\n");
  auto options = places.Parse({"--config=one", "/mnt"});
  REQUIRE(options.ok());
  CHECK(options->source == "/srv");
  CHECK(options->mount_point == "/mnt");
  CHECK(places.Good({"--config=one"}).source == "/source");
  CHECK_FALSE(places.Parse({"--config=one"}).ok());
  CHECK(places.Parse({"--config=one", "--check"}).ok());
  places.File("two.conf", "source = /srv\nmountpoint = /mnt\n");
  options = places.Parse({"--config=two"});
  REQUIRE(options.ok());
  CHECK(options->mount_point == "/mnt");
}

TEST_CASE("each value is shown with its origin, as a config file",
          "[options][config]") {
  Places places({"HANDLEFS_THREADS=4"});
  places.File("handlefs.conf", "\ncache = none\nmax_write = 8k\n");
  places.File("one.conf", "noexec\nfsname = \"a # b\"\n");
  Options options =
      places.Good({"--config=one", "--print-config", "-o", "rw,allow_other"});
  CHECK(options.mode == Mode::kPrintConfig);
  std::string text = PrintConfig(options);
  auto has = [&](const std::string& setting, const std::string& origin) {
    std::string line = setting;
    line.resize(std::max<size_t>(line.size() + 1, 40), ' ');
    INFO(text);
    CHECK(Mentions("\n" + text, "\n" + line + "# " + origin + "\n"));
  };
  has("cache = none", places.Path("handlefs.conf") + ":2");
  has("max_write = 8k", places.Path("handlefs.conf") + ":3");
  has("fsname = \"a # b\"", places.Path("one.conf") + ":2");
  has("noexec", places.Path("one.conf") + ":1");
  has("threads = 4", "environment");
  has("ro = off", "command line");
  has("allow_other = on", "command line");
  has("source = /source", "command line");
  has("timeout = 1", "default");
  has("# key_file = (/var/lib/handlefs/UUID.key)", "default");

  Options again;
  REQUIRE(ApplyConfigText(again, text, "again").ok());
  CHECK(again.fsname == "a # b");
  CHECK(again.mount_attributes == options.mount_attributes);
  // No mode, nor who gave what.
  again.given = options.given;
  again.mode = options.mode;
  again.config = options.config;
  CHECK(again == options);
}

TEST_CASE("every option can be given in each place", "[options][config]") {
  for (const OptionRow& row : OptionTable()) {
    if (row.scope == OptionScope::kCommandLine) continue;
    INFO(row.name);
    std::vector<std::string> words = Words(row.metavar);
    std::string value = !words.empty()             ? words.back()
                        : row.metavar == "BYTES"   ? "8k"
                        : row.metavar == "N"       ? "7"
                        : row.metavar == "SECONDS" ? "7"
                        : row.metavar == "NAME"    ? "auto"
                                                   : "/x y";
    std::string name(row.name);
    Options file = FromText(name + " = " + value);
    Options line;
    REQUIRE(ApplyOption(line, name + "=" + value, "/x.conf:1").ok());
    CHECK(file == line);
    std::string key = "HANDLEFS_";
    for (char c : name) key += static_cast<char>(std::toupper(c));
    Places places({key + "=" + value});
    Options options = places.Good({});
    REQUIRE_FALSE(options.given.empty());
    CHECK(options.given.front() == GivenOption{name, value, "environment"});
  }
}

std::string AnyText(std::mt19937& random, std::string_view letters) {
  std::string text;
  for (size_t left = random() % 12; left > 0; --left) {
    text += letters[random() % letters.size()];
  }
  return text;
}

TEST_CASE("whatever a word holds, a list gives it back", "[options][config]") {
  std::mt19937 random(1);
  for (int round = 0; round < 5000; ++round) {
    std::vector<std::string> words;
    std::string list;
    for (size_t left = random() % 4; left > 0; --left) {
      std::string word = "x" + AnyText(random, "a=,\\\"' \t\n#");
      list += EscapeOptionWord(word) + ",";
      words.push_back(word);
    }
    INFO(list);
    auto split = SplitOptionList(list);
    REQUIRE(split.ok());
    CHECK(*split == words);
  }
}

TEST_CASE("whatever a file holds, the answer is options or one line",
          "[options][config]") {
  std::mt19937 random(2);
  const std::vector<std::string> pieces = {"cache",
                                           "threads",
                                           "ro",
                                           "noexec",
                                           "=",
                                           " = ",
                                           "none",
                                           "7",
                                           "\"",
                                           "#",
                                           " ",
                                           "\n",
                                           "\r",
                                           "\t",
                                           "[x]",
                                           ",",
                                           "\\",
                                           "-",
                                           std::string(1, '\0'),
                                           "\xff"};
  int good = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (size_t left = random() % 12; left > 0; --left) {
      text += pieces[random() % pieces.size()];
    }
    Options options;
    absl::Status status = ApplyConfigText(options, text, "/x.conf");
    if (status.ok()) {
      ++good;
      continue;
    }
    std::string message(status.message());
    INFO(text);
    CHECK(message.starts_with("/x.conf:"));
    CHECK_FALSE(Mentions(message, "\n"));
  }
  // Both must have been seen.
  CHECK(good > 1000);
  CHECK(good < 19000);
}

}  // namespace
}  // namespace handlefs::test

#include "options.h"

#include <algorithm>
#include <catch2/catch.hpp>

namespace handlefs::bench {
namespace {

using List = std::vector<std::string>;

Options Parsed(const List& args) {
  auto parsed = ParseOptions(args);
  if (auto* wrong = std::get_if<std::string>(&parsed)) FAIL(*wrong);
  return std::get<Options>(parsed);
}

std::string Refused(const List& args) {
  auto parsed = ParseOptions(args);
  auto* wrong = std::get_if<std::string>(&parsed);
  return wrong != nullptr ? *wrong : "accepted";
}

TEST_CASE("A run without options has the documented defaults") {
  Options options = Parsed({"run"});
  CHECK(options.command == Command::kRun);
  CHECK(options.repetitions == 5);
  CHECK(options.knobs.seconds == 0.5);
  CHECK(options.knobs.files == std::vector<uint64_t>{100000});
  CHECK(options.time_limit == 3600);
  CHECK(options.systems.empty());
  CHECK(options.workloads.empty());
}

TEST_CASE("Values stand behind a space or an equals sign") {
  Options options = Parsed({"run", "--repetitions=3", "--source", "/x",
                            "--json=a=b", "--time-limit", "12.5", "--ops=7",
                            "--walk-files", "8", "--flat-files=9",
                            "--patience=6", "--text-files=10", "--data-mib=2"});
  CHECK(options.repetitions == 3);
  CHECK(options.source == "/x");
  CHECK(options.json == "a=b");
  CHECK(options.time_limit == 12.5);
  CHECK(options.patience == 6);
  CHECK(options.knobs.max_ops == 7);
  CHECK(options.knobs.walk_files == 8);
  CHECK(options.knobs.flat_files == 9);
  CHECK(options.knobs.text_files == 10);
  CHECK(options.knobs.data_bytes == 2 << 20);
}

TEST_CASE("Lists of systems keep the options of handlefs together") {
  Options options = Parsed(
      {"run", "--system",
       "native,handlefs:transport=uring,cache=always,bindfs,handlefs:ro=on",
       "--system=floor:dev"});
  CHECK(options.systems == List{"native",
                                "handlefs:transport=uring,cache=always",
                                "bindfs", "handlefs:ro=on", "floor:dev"});
}

TEST_CASE("What is given holds beside --quick, before it and behind it") {
  for (const List& args : {List{"run", "--seconds=2", "--quick"},
                           List{"run", "--quick", "--seconds=2"}}) {
    Options options = Parsed(args);
    CHECK(options.knobs.seconds == 2);
    CHECK(options.knobs.walk_files == 1000);
  }
}

TEST_CASE("A plot against files has several numbers of them") {
  CHECK(Parsed({"run", "--plot-files=f.svg"}).knobs.files ==
        std::vector<uint64_t>{1000, 10000, 100000});
  CHECK(Parsed({"run", "--plot-files=f.svg", "--files=7,8"}).knobs.files ==
        std::vector<uint64_t>{7, 8});
}

TEST_CASE("A peer needs a name and both places") {
  Options options =
      Parsed({"run", "--peer", "mine=./mine -o a=b {source} {mount}"});
  REQUIRE(options.peers.size() == 1);
  CHECK(options.peers[0].name == "mine");
  CHECK(options.peers[0].command == "./mine -o a=b {source} {mount}");
  CHECK(Refused({"run", "--peer", "=x {source} {mount}"}) ==
        "--peer: expected NAME='COMMAND {source} {mount}'");
  CHECK(Refused({"run", "--peer", "x {source} {mount}"}) ==
        "--peer: expected NAME='COMMAND {source} {mount}'");
  CHECK(Refused({"run", "--peer", "a=b {source}"}) ==
        "--peer: the command of a has no {mount}: write it where the path "
        "belongs");
}

TEST_CASE("Wrong numbers and words are refused by name") {
  for (const char* word : {"0", "-1", "x", "", "1x", "10001"}) {
    CHECK(Refused({"run", std::string("--repetitions=") + word}) ==
          std::string("--repetitions: ") + word +
              " is no number from 1 to 10000");
  }
  for (const char* word : {"0", "-1", "x", "", "nan", "inf"}) {
    CHECK(Refused({"run", std::string("--seconds=") + word}) ==
          std::string("--seconds: ") + word + " is no number of seconds");
  }
  CHECK(Refused({"run", "--files="}) == "--files: give a number, or several");
  CHECK(Refused({"run", "--files=1,0"}) ==
        "--files: 0 is no number from 1 to 100000000");
  CHECK(Refused({"run", "--color=red"}) ==
        "unknown option --color (--help lists all)");
  CHECK(Refused({"run", "--source"}) == "--source needs a value");
  CHECK(Refused({"run", "--json="}) == "--json needs a file");
  CHECK(Refused({"run", "file"}) == "run takes 0 files of results, not 1");
  CHECK(Refused({}) == "expected run, list, report or compare");
  CHECK(Refused({"walk"}) ==
        "walk is no command: expected run, list, report or compare");
}

TEST_CASE("compare and report take results and their own options only") {
  Options options = Parsed({"compare", "a", "b", "--threshold=10"});
  CHECK(options.command == Command::kCompare);
  CHECK(options.inputs == List{"a", "b"});
  CHECK(options.threshold == Approx(0.1));
  CHECK(Refused({"compare", "a"}) == "compare takes 2 files of results, not 1");
  CHECK(Refused({"compare", "a", "b", "--threshold=-1"}) ==
        "--threshold: -1 is no percentage");
  CHECK(Refused({"compare", "a", "b", "--json=c"}) ==
        "unknown option --json (--help lists all)");
  CHECK(Refused({"compare", "a", "b", "--quick"}) ==
        "--quick is an option of run");
  CHECK(Parsed({"report", "a", "--plot=p.svg"}).plot == "p.svg");
  CHECK(Refused({"report", "a", "--seconds=1"}) ==
        "unknown option --seconds (--help lists all)");
}

TEST_CASE("--help is one screen") {
  CHECK(Parsed({"run", "--help"}).command == Command::kHelp);
  CHECK(Parsed({"-h"}).command == Command::kHelp);
  std::string text = HelpText();
  CHECK(std::count(text.begin(), text.end(), '\n') <= 48);
  size_t width = 0, widest = 0;
  for (char c : text) {
    width = c == '\n' ? 0 : width + 1;
    widest = std::max(widest, width);
  }
  CHECK(widest <= 80);
}

}  // namespace
}  // namespace handlefs::bench

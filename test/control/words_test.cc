// What commands mean.
#include "daemon/control/words.h"

#include <catch2/catch.hpp>

namespace handlefs::test {
namespace {

using Words = std::vector<std::string>;

template <typename T>
T As(const Words& words) {
  ControlCommand command = ParseControl(words);
  REQUIRE(std::holds_alternative<T>(command));
  return std::get<T>(command);
}

TEST_CASE("control words: what is meant", "[control]") {
  CHECK(As<Simple>({"status"}) == Simple::kStatus);
  CHECK(As<Simple>({"stats"}) == Simple::kStats);
  CHECK(As<Simple>({"metrics"}) == Simple::kMetrics);
  CHECK(As<Simple>({"restart"}) == Simple::kRestart);
  CHECK(As<Simple>({"abort"}) == Simple::kAbort);
  CHECK(As<UpgradeTo>({"upgrade", "/bin/x y"}).program == "/bin/x y");
  CHECK(As<SwitchTrace>({"trace", "on"}).level == TraceLevel::kLines);
  CHECK(As<SwitchTrace>({"trace", "off"}).level == TraceLevel::kOff);
  CHECK(As<ServerWork>({"trace", "follow"}).what == ServerWork::What::kFollow);
  CHECK(As<ServerWork>({"drop-caches"}).what == ServerWork::What::kDropCaches);
  CHECK(As<ServerWork>({"path", "1"}).argument == 1);
  CHECK(As<DrainFor>({"drain"}).limit == absl::Seconds(10));
  CHECK(As<DrainFor>({"drain", "0"}).limit == absl::ZeroDuration());
}

TEST_CASE("control words: what is none", "[control]") {
  const std::vector<Words> wrong = {
      {},
      {""},
      {"sing"},
      {"status", "now"},
      {"stats", ""},
      {"upgrade"},
      {"upgrade", "a", "b"},
      {"trace"},
      {"trace", "On"},
      {"path"},
      {"path", "-1"},
      {"path", "1 "},
      {"path", "0x"},
      {"path", "0xg"},
      {"drain", "-1"},
      {"drain", "1.5"},
      {"drain", "3601"},
      {"drop-caches", "all"},
  };
  for (const Words& words : wrong) {
    const std::string why = As<NoCommand>(words).why;
    CHECK_FALSE(why.empty());
    CHECK(why.find('\n') == std::string::npos);
  }
}

TEST_CASE("control words: nodeids as the trace has them", "[control]") {
  CHECK(ParseNode("42") == 42);
  CHECK(ParseNode("n42") == 42);
  CHECK(ParseNode("0x2A") == 42);
  CHECK(ParseNode("n0x2a") == 42);
  CHECK(ParseNode("18446744073709551615") == UINT64_MAX);
  for (const char* wrong : {"", "n", "x2a", "4 2", "18446744073709551616",
                            "0x10000000000000000", "+1"}) {
    CHECK_FALSE(ParseNode(wrong));
  }
}

TEST_CASE("control words: the trace is switched", "[control]") {
  auto stats = Stats::Alone(TraceLevel::kLines);
  CHECK(SwitchedTrace(*stats, TraceLevel::kLines)["was"] == "on");
  CHECK(stats->trace() == TraceLevel::kLines);
  CHECK(SwitchedTrace(*stats, TraceLevel::kOff)["trace"] == "off");
  CHECK(stats->trace() == TraceLevel::kOff);
  CHECK(SwitchedTrace(*stats, TraceLevel::kLines)["was"] == "off");
  CHECK(stats->trace() == TraceLevel::kLines);
}

}  // namespace
}  // namespace handlefs::test

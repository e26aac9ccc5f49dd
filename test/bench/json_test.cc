#include "json.h"

#include <catch2/catch.hpp>

#include "made.h"
#include "text.h"

namespace handlefs::bench {
namespace {

Results Read(const std::string& text) {
  auto results = FromJson(text);
  if (auto* wrong = std::get_if<std::string>(&results)) FAIL(*wrong);
  return std::get<Results>(std::move(results));
}

bool Refused(const std::string& text) {
  return std::holds_alternative<std::string>(FromJson(text));
}

TEST_CASE("Results are the same after a way through JSON") {
  Results results = test::MakeResults();
  results.cells[0].samples[1].extra = {{"rss", 12.5}, {"dentry", -3}};
  results.cells[0].samples[1].value = 1.0 / 3;
  results.cells.back().reason = "quotes \" and \\ and\nlines";
  Results again = Read(ToJson(results));
  CHECK(ToJson(again) == ToJson(results));
  CHECK(again.systems[2].version == "fast 1.0");
  CHECK(again.workloads[1].name == "stat-warm");
  CHECK(again.environment[0].value == "6.18");
  REQUIRE(again.cells.size() == results.cells.size());
  CHECK(again.cells[0].samples[1].value == 1.0 / 3);
  CHECK(again.cells[0].samples[1].extra.at("dentry") == -3);
  CHECK(again.cells.back().outcome == Outcome::kFailed);
  CHECK(again.cells.back().reason == "quotes \" and \\ and\nlines");
}

TEST_CASE("What a program said need not be UTF-8") {
  Results results = test::MakeResults();
  results.cells.back().reason = "bad \xff byte";
  CHECK(Read(ToJson(results)).cells.back().reason.starts_with("bad "));
}

TEST_CASE("Other files are refused") {
  const std::string good = ToJson(test::MakeResults());
  CHECK_FALSE(Refused(good));
  CHECK(Refused(""));
  CHECK(Refused("[]"));
  CHECK(Refused("{}"));
  CHECK(Refused(good.substr(0, good.size() / 2)));
  CHECK(Refused(Replace(good, "\"handlefs-bench\"", "\"other\"")));
  CHECK(Refused(Replace(good, "\"version\": 1,", "\"version\": 2,")));
  CHECK(Refused(Replace(good, "\"measured\"", "\"guessed\"")));
  CHECK(Refused(Replace(good, "\"repetition\": 0", "\"repetition\": \"0\"")));
  CHECK(Refused(Replace(good, "\"value\": 120.0", "\"value\": -120.0")));
  CHECK(Refused(Replace(good, "\"value\": 120.0", "\"value\": 1e999")));
  CHECK(Refused(Replace(good, "\"samples\"", "\"simples\"")));
}

}  // namespace
}  // namespace handlefs::bench

#include "statistics.h"

#include <catch2/catch.hpp>
#include <set>

#include "made.h"

namespace handlefs::bench {
namespace {

using test::MakeCell;

TEST_CASE("The median of an odd and of an even number of values") {
  auto odd = SpreadOf({9, 1, 4});
  REQUIRE(odd.has_value());
  CHECK(odd->median == 4);
  CHECK(odd->min == 1);
  CHECK(odd->max == 9);
  CHECK(odd->count == 3);
  CHECK(SpreadOf({9, 1, 4, 5})->median == 4.5);
  CHECK(SpreadOf({7})->median == 7);
  CHECK_FALSE(SpreadOf({}).has_value());
}

TEST_CASE("Ratios are taken in the same repetition") {
  // The machine was ten times slower in the second one.
  Cell base = MakeCell("w", "native", {1, 10, 2});
  Cell cell = MakeCell("w", "s", {3, 30, 4});
  CHECK(RatiosTo(base, cell) == std::vector<double>{3, 3, 2});
}

TEST_CASE("A repetition that one of the two lacks counts for nothing") {
  Cell base = MakeCell("w", "native", {1, 10, 2});
  Cell cell = MakeCell("w", "s", {3, 30, 4});
  base.samples.erase(base.samples.begin());
  CHECK(RatiosTo(base, cell) == std::vector<double>{3, 2});
  cell.samples.pop_back();
  CHECK(RatiosTo(base, cell) == std::vector<double>{3});
  base.samples.clear();
  CHECK(RatiosTo(base, cell).empty());
}

TEST_CASE("A base of zero has no ratio") {
  CHECK(RatiosTo(MakeCell("w", "native", {0, 2}), MakeCell("w", "s", {3, 6})) ==
        std::vector<double>{3});
}

TEST_CASE("Further values are those of the samples that have them") {
  Cell cell = MakeCell("w", "s", {3, 6});
  cell.samples[1].extra["rss"] = 40;
  CHECK(ExtraOf(cell, "rss") == std::vector<double>{40});
  CHECK(ExtraOf(cell, "dentry").empty());
  CHECK(ServerCpuOf(cell) == std::vector<double>{1.5, 3});
  CHECK(ValuesOf(cell) == std::vector<double>{3, 6});
}

TEST_CASE("In as many turns as there are systems each is once at each place") {
  constexpr size_t kCount = 5;
  std::vector<std::set<size_t>> at(kCount);
  for (size_t turn = 3; turn < 3 + kCount; ++turn) {
    auto order = Rotated(kCount, turn);
    REQUIRE(order.size() == kCount);
    CHECK(std::set<size_t>(order.begin(), order.end()).size() == kCount);
    for (size_t i = 0; i < kCount; ++i) at[i].insert(order[i]);
  }
  for (const auto& systems : at) CHECK(systems.size() == kCount);
  CHECK(Rotated(3, 0) == std::vector<size_t>{0, 1, 2});
  CHECK(Rotated(3, 1) == std::vector<size_t>{1, 2, 0});
  CHECK(Rotated(0, 2).empty());
}

}  // namespace
}  // namespace handlefs::bench

#include "compare.h"

#include <catch2/catch.hpp>

#include "made.h"

namespace handlefs::bench {
namespace {

using test::MakeCell;
using test::MakeFailure;

constexpr double kThreshold = 0.05;

Results With(const Cell& cell) {
  Results results;
  size_t count = std::max<size_t>(cell.samples.size(), 1);
  results.cells = {MakeCell("w", "native", std::vector<double>(count, 1)),
                   cell};
  return results;
}

Comparison One(const Cell& before, const Cell& after,
               double threshold = kThreshold) {
  auto rows = Compare(With(before), With(after), threshold);
  REQUIRE(rows.size() == 1);
  return rows[0];
}

Verdict VerdictOf(const std::vector<double>& before,
                  const std::vector<double>& after,
                  double threshold = kThreshold) {
  return One(MakeCell("w", "s", before), MakeCell("w", "s", after), threshold)
      .verdict;
}

TEST_CASE("A median outside of the other's spread, both ways, is a verdict") {
  CHECK(VerdictOf({10, 11, 12}, {20, 21, 22}) == Verdict::kSlower);
  CHECK(VerdictOf({20, 21, 22}, {10, 11, 12}) == Verdict::kFaster);
}

TEST_CASE("A difference within the noise of either run is none") {
  CHECK(VerdictOf({10, 11, 12}, {10, 11, 12}) == Verdict::kWithinNoise);
  // The old run was once as slow as the new one usually is.
  CHECK(VerdictOf({10, 11, 25}, {20, 21, 22}) == Verdict::kWithinNoise);
  // The new run was once as fast as the old one usually was.
  CHECK(VerdictOf({10, 11, 12}, {10, 21, 22}) == Verdict::kWithinNoise);
  CHECK(VerdictOf({20, 21, 22}, {10, 11, 25}) == Verdict::kWithinNoise);
}

TEST_CASE("A difference below the threshold is none, however firm") {
  CHECK(VerdictOf({100, 100, 100}, {104, 104, 104}) == Verdict::kWithinNoise);
  CHECK(VerdictOf({100, 100, 100}, {106, 106, 106}) == Verdict::kSlower);
  CHECK(VerdictOf({104, 104, 104}, {100, 100, 100}) == Verdict::kWithinNoise);
  CHECK(VerdictOf({106, 106, 106}, {100, 100, 100}) == Verdict::kFaster);
  CHECK(VerdictOf({100, 100, 100}, {104, 104, 104}, 0) == Verdict::kSlower);
}

TEST_CASE("Two repetitions say nothing") {
  CHECK(VerdictOf({1, 1}, {9, 9, 9}) == Verdict::kTooFew);
  CHECK(VerdictOf({1, 1, 1}, {9, 9}) == Verdict::kTooFew);
}

TEST_CASE("Ratios are compared, not times") {
  // The machine was three times as fast, for native also.
  Results before = With(MakeCell("w", "s", {30, 33, 36}));
  Results after = With(MakeCell("w", "s", {10, 11, 12}));
  before.cells[0] = MakeCell("w", "native", {3, 3, 3});
  auto rows = Compare(before, after, kThreshold);
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].verdict == Verdict::kWithinNoise);
  CHECK(rows[0].before->median == 11);
}

TEST_CASE("Native itself is not compared, nor what only one run has") {
  Results before = With(MakeCell("w", "s", {1, 1, 1}));
  Results after = With(MakeCell("w", "other", {1, 1, 1}));
  CHECK(Compare(before, after, kThreshold).empty());
}

TEST_CASE("What worked and fails now is a regression, with its reason") {
  auto row = One(MakeCell("w", "s", {1, 1, 1}), MakeFailure("w", "s", "boom"));
  CHECK(row.verdict == Verdict::kBroken);
  CHECK(row.reason == "boom");
  CHECK(HasRegression({row}));
  CHECK(RenderComparison({row}).find("FAILS NOW: boom") != std::string::npos);
  row = One(MakeFailure("w", "s", "boom"), MakeCell("w", "s", {1, 1, 1}));
  CHECK(row.verdict == Verdict::kRepaired);
  CHECK_FALSE(HasRegression({row}));
}

TEST_CASE("Memory is compared as it is, without what pages make") {
  auto with_rss = [](double rss) {
    Cell cell = MakeCell("w", "s", {1, 1, 1});
    for (Sample& sample : cell.samples) sample.extra["rss"] = rss;
    return cell;
  };
  auto verdict = [&](double before, double after) {
    auto rows = Compare(With(with_rss(before)), With(with_rss(after)), 0.05);
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].figure == "ratio");
    CHECK(rows[1].figure == "rss");
    return rows[1].verdict;
  };
  CHECK(verdict(40, 48) == Verdict::kSlower);
  CHECK(verdict(48, 40) == Verdict::kFaster);
  CHECK(verdict(0.5, 1.5) == Verdict::kWithinNoise);
}

TEST_CASE("Only what is worse is a regression") {
  auto rows = Compare(With(MakeCell("w", "s", {20, 21, 22})),
                      With(MakeCell("w", "s", {10, 11, 12})), kThreshold);
  CHECK_FALSE(HasRegression(rows));
  CHECK(RenderComparison(rows).find("-48 %") != std::string::npos);
  rows = Compare(With(MakeCell("w", "s", {10, 11, 12})),
                 With(MakeCell("w", "s", {20, 21, 22})), kThreshold);
  CHECK(HasRegression(rows));
  CHECK(RenderComparison(rows).find("WORSE") != std::string::npos);
}

}  // namespace
}  // namespace handlefs::bench

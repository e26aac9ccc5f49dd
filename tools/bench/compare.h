// Whether one run is worse than another. What is compared are the ratios to
// native, because they hold when the machine as a whole is slower or faster;
// where native has no value (memory), the values themselves.
//
// A difference counts only if it exceeds the noise of both runs: each median
// lies outside the other's minimum and maximum, and they are apart by more than
// the threshold. With fewer than three repetitions nothing counts.
#ifndef HANDLEFS_TOOLS_BENCH_COMPARE_H_
#define HANDLEFS_TOOLS_BENCH_COMPARE_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results.h"
#include "statistics.h"

namespace handlefs::bench {

enum class Verdict {
  kWithinNoise,
  kSlower,
  kFaster,
  kTooFew,    // repetitions
  kBroken,    // worked before, fails now
  kRepaired,  // the other way round
};
std::string_view NameOf(Verdict verdict);

struct Comparison {
  std::string workload = {};
  std::string system = {};
  // "ratio" to native, or the name of a figure per file: "rss" ...
  std::string figure = {};
  std::optional<Spread> before = {};
  std::optional<Spread> after = {};
  Verdict verdict = Verdict::kWithinNoise;
  std::string reason = {};  // of kBroken
};

inline constexpr double kDefaultThreshold = 0.05;

// What both runs have, in the order of the first.
std::vector<Comparison> Compare(const Results& before, const Results& after,
                                double threshold);
bool HasRegression(const std::vector<Comparison>& comparisons);
std::string RenderComparison(const std::vector<Comparison>& comparisons);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_COMPARE_H_

// Numbers of one cell. Machines drift, and other work comes and goes, so times
// are compared within a repetition only, and what is reported of the ratios is
// their median and how far they spread.
#ifndef HANDLEFS_TOOLS_BENCH_STATISTICS_H_
#define HANDLEFS_TOOLS_BENCH_STATISTICS_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "results.h"

namespace handlefs::bench {

struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
  size_t count = 0;
};

// Nothing for an empty list.
std::optional<Spread> SpreadOf(std::vector<double> values);

// The value of `cell` by that of `base`, for each repetition that both have and
// in which the base is not zero.
std::vector<double> RatiosTo(const Cell& base, const Cell& cell);

std::vector<double> ValuesOf(const Cell& cell);
std::vector<double> ServerCpuOf(const Cell& cell);
// Of the samples that have it.
std::vector<double> ExtraOf(const Cell& cell, const std::string& name);

// The order of `count` systems in a turn: each turn begins with another one, so
// that none always runs behind the same neighbour or first.
std::vector<size_t> Rotated(size_t count, size_t turn);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_STATISTICS_H_

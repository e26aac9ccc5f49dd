// Results that a test makes up.
#ifndef HANDLEFS_TEST_BENCH_MADE_H_
#define HANDLEFS_TEST_BENCH_MADE_H_

#include <string>
#include <vector>

#include "results.h"

namespace handlefs::bench::test {

// A cell with a value for each repetition from 0 on.
inline Cell MakeCell(const std::string& workload, const std::string& system,
                     const std::vector<double>& values) {
  Cell cell{
      .workload = workload, .system = system, .outcome = Outcome::kMeasured};
  for (double value : values) {
    cell.samples.push_back({.repetition = static_cast<int>(cell.samples.size()),
                            .value = value,
                            .server_cpu_us = value / 2});
  }
  return cell;
}

inline Cell MakeFailure(const std::string& workload, const std::string& system,
                        const std::string& reason) {
  return {.workload = workload,
          .system = system,
          .outcome = Outcome::kFailed,
          .reason = reason};
}

// native takes 1, the system "fast" 2 to 4 and "slow" 20 to 40 times as long.
inline Results MakeResults() {
  Results results;
  results.environment = {{"kernel", "6.18"}};
  results.settings = {{"repetitions", "3"}};
  results.systems = {{"native", "", ""},
                     {"floor:dev", "", "constant answers"},
                     {"fast", "fast 1.0", "fast {source} {mount}"},
                     {"slow", "slow 2.0", "slow {source} {mount}"}};
  results.workloads = {{"getxattr-1", "round-trip", "us/op", "a", 1},
                       {"stat-warm", "names", "us/op", "b", 1}};
  results.cells = {MakeCell("getxattr-1", "native", {1, 2, 4}),
                   MakeCell("getxattr-1", "floor:dev", {2, 3, 8}),
                   MakeCell("getxattr-1", "fast", {3, 4, 16}),
                   MakeCell("getxattr-1", "slow", {20, 80, 120}),
                   MakeCell("stat-warm", "native", {1, 1, 1}),
                   {.workload = "stat-warm",
                    .system = "floor:dev",
                    .outcome = Outcome::kUnsupported},
                   MakeCell("stat-warm", "fast", {2, 2, 2}),
                   MakeFailure("stat-warm", "slow", "mount: refused")};
  return results;
}

}  // namespace handlefs::bench::test

#endif  // HANDLEFS_TEST_BENCH_MADE_H_

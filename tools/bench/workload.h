// What is measured. A workload is a row: what it is called, what must lie in
// the source, and three functions that run in client processes. README.md says
// how they are called.
#ifndef HANDLEFS_TOOLS_BENCH_WORKLOAD_H_
#define HANDLEFS_TOOLS_BENCH_WORKLOAD_H_

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "client.h"
#include "results.h"

namespace handlefs::bench {

struct Workload {
  enum class Default { kRuns, kOnDemand };
  enum class Floor { kRuns, kNot };
  enum class Memory { kLookedAt, kNot };

  WorkloadInfo info;
  Default by_default = Default::kRuns;
  Floor on_floor = Floor::kNot;
  Memory memory = Memory::kNot;
  // Trees that are made once in the source and never changed (fixtures.h).
  std::vector<std::string> fixtures = {};
  // On the source itself, in one process, before the server starts: what this
  // measurement needs in "cell".
  std::function<void(Client&)> prepare = [](Client&) {};
  // Before the barrier, and not measured.
  std::function<void(Client&)> warm_up = [](Client&) {};
  // Ends with Client::Measured.
  std::function<void(Client&)> measure = {};
};

// All of them, in the order of the report.
std::vector<Workload> AllWorkloads(const Knobs& knobs);
// Parts of it.
std::vector<Workload> CallWorkloads();
std::vector<Workload> WalkWorkloads(const Knobs& knobs);
std::vector<Workload> TreeWorkloads();
std::vector<Workload> DataWorkloads();

// Names, groups, patterns with * and ?, "default" and "all"; none is "default".
// Or the word that fits nothing.
std::variant<std::vector<Workload>, std::string> SelectWorkloads(
    std::vector<Workload> all, const std::vector<std::string>& words);

// Of time per operation in nanoseconds.
double InUnit(const WorkloadInfo& info, double nanoseconds);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_WORKLOAD_H_

// What a run measured, and nothing else: plain values that are written to JSON,
// read back, printed, plotted and compared.
#ifndef HANDLEFS_TOOLS_BENCH_RESULTS_H_
#define HANDLEFS_TOOLS_BENCH_RESULTS_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace handlefs::bench {

inline constexpr std::string_view kNative = "native";
inline constexpr std::string_view kFloorPrefix = "floor:";

// One measurement: one workload on one system in one repetition.
struct Sample {
  int repetition = 0;
  double value = 0;          // in the workload's unit
  double server_cpu_us = 0;  // of the server, for each op
  // Named further values: "rss" (bytes per file), "alone" ...
  std::map<std::string, double> extra = {};
};

enum class Outcome {
  kMeasured,
  kFailed,       // the system could not do it; `reason` says why
  kUnsupported,  // nor can the source's file system, or the system is for
                 // others
  kNotReached,   // the time limit came first
};

struct Cell {
  std::string workload;
  std::string system;
  Outcome outcome = Outcome::kNotReached;
  std::string reason = {};
  std::vector<Sample> samples = {};
};

struct SystemInfo {
  std::string name;
  std::string version;
  std::string command;
};

struct WorkloadInfo {
  std::string name;
  std::string group;
  std::string unit;
  std::string about;
  int clients = 1;
};

// Each as text, in the order of the report.
struct Fact {
  std::string name;
  std::string value;
};

struct Results {
  std::vector<Fact> environment;
  std::vector<Fact> settings;
  std::vector<SystemInfo> systems;
  std::vector<WorkloadInfo> workloads;
  std::vector<Cell> cells;

  const Cell* Find(std::string_view workload, std::string_view system) const;
  Cell& At(const std::string& workload, const std::string& system);
};

std::string_view NameOf(Outcome outcome);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_RESULTS_H_

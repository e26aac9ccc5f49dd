// What was counted, for people, for programs and for Prometheus.
#ifndef HANDLEFS_DAEMON_STATS_REPORT_H_
#define HANDLEFS_DAEMON_STATS_REPORT_H_

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "daemon/stats/stats.h"

namespace handlefs {

// What the system knows of the server's process.
struct ProcessStats {
  pid_t pid = 0;
  uint64_t resident_bytes = 0;
  uint64_t descriptors = 0;
  uint64_t descriptor_limit = 0;
  double cpu_seconds = 0;
};
// Nothing: there is no such process.
std::optional<ProcessStats> ReadProcess(pid_t pid);

// A mount and what is counted of it.
struct StatsReport {
  std::string mount_point;
  StatsSum sum;
  std::optional<ProcessStats> server;
  std::optional<uint64_t> waiting;  // requests without answer, says the kernel
  uint64_t generation = 1;          // servers so far
  uint64_t crashes = 0;
  int64_t began_ns = 0;  // CLOCK_REALTIME since when it is counted
  uint64_t kept_descriptors = 0;
  uint64_t state_bytes = 0;
};

// "ENOENT"; "E200" where there is no name.
std::string ErrorName(size_t error);
std::string OpName(size_t row);

nlohmann::ordered_json InFlightJson(const StatsSum& sum);
// {"ok":true, ...}, see handlefsctl(1).
nlohmann::ordered_json ToJson(const StatsReport& report);
// The text of a node exporter's textfile collector.
std::string ToPrometheus(const StatsReport& report);

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_STATS_REPORT_H_

// Where a run took place.
#ifndef HANDLEFS_TOOLS_BENCH_ENVIRONMENT_H_
#define HANDLEFS_TOOLS_BENCH_ENVIRONMENT_H_

#include <string>
#include <vector>

#include "options.h"
#include "results.h"
#include "system.h"

namespace handlefs::bench {

// `path` is in the source. The load is that of this moment: before the run,
// looked at for a third of a second.
std::vector<Fact> DescribeEnvironment(const std::string& path);
std::vector<Fact> DescribeSettings(const Options& options);
SystemInfo Describe(const System& system);

// How busy the CPUs were between two texts of /proc/stat, 0 to 1, and what that
// means. The load average alone counts threads that wait for ever.
double BusyShare(const std::string& before, const std::string& after);
std::string DescribeLoad(const std::string& loadavg, double busy);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_ENVIRONMENT_H_

// Where a run took place.
#ifndef HANDLEFS_TOOLS_BENCH_ENVIRONMENT_H_
#define HANDLEFS_TOOLS_BENCH_ENVIRONMENT_H_

#include <string>
#include <vector>

#include "options.h"
#include "results.h"
#include "system.h"

namespace handlefs::bench {

// `path` is in the source. The load is that of this moment: before the run.
std::vector<Fact> DescribeEnvironment(const std::string& path);
std::vector<Fact> DescribeSettings(const Options& options);
SystemInfo Describe(const System& system);

// Of the text of /proc/loadavg: below half a busy CPU nothing else runs.
std::string DescribeLoad(const std::string& loadavg);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_ENVIRONMENT_H_

// Plots, drawn by gnuplot.
#ifndef HANDLEFS_TOOLS_BENCH_PLOT_H_
#define HANDLEFS_TOOLS_BENCH_PLOT_H_

#include <optional>
#include <string>

#include "results.h"

namespace handlefs::bench {

// Bars of the ratios to native for each workload and system on a logarithmic
// axis, with lines from minimum to maximum. Empty if there is nothing to show.
std::string RatioScript(const Results& results, const std::string& output);
// Memory of the server and time of a cold walk against the number of files.
// Empty without the workloads files-N.
std::string FilesScript(const Results& results, const std::string& output);

// Nothing, or what is wrong and the cure.
std::optional<std::string> RunGnuplot(const std::string& script);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_PLOT_H_

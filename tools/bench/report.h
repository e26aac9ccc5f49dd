// Results as Markdown that can also be read in a terminal.
#ifndef HANDLEFS_TOOLS_BENCH_REPORT_H_
#define HANDLEFS_TOOLS_BENCH_REPORT_H_

#include <string>

#include "results.h"

namespace handlefs::bench {

std::string RenderReport(const Results& results);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_REPORT_H_

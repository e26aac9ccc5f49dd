// The command line.
#ifndef HANDLEFS_TOOLS_BENCH_OPTIONS_H_
#define HANDLEFS_TOOLS_BENCH_OPTIONS_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "client.h"
#include "compare.h"

namespace handlefs::bench {

enum class Command { kHelp, kRun, kList, kReport, kCompare };

struct Peer {
  std::string name;
  std::string command;
};

struct Options {
  Command command = Command::kHelp;
  // run
  std::vector<std::string> workloads;  // none: the default ones
  std::vector<std::string> systems;    // none: built in and installed ones
  std::vector<Peer> peers;
  std::string source;    // empty: a tmpfs
  std::string handlefs;  // empty: beside this program, or in PATH
  int repetitions = 5;
  Knobs knobs;
  double time_limit = 3600;  // seconds
  // Seconds that a measurement may take beyond its own: a server hangs.
  double patience = 120;
  // run and report
  std::string json, markdown, plot, plot_files;
  // report: one file; compare: two
  std::vector<std::string> inputs;
  double threshold = kDefaultThreshold;
};

// What the process ends with; README.md lists them.
enum class ExitCode : int {
  kOk = 0,
  kRegression = 1,  // compare: something is worse; run: a system of ours failed
  kUsage = 2,       // options, or input that cannot be read
  kEnvironment = 3,  // not root, no /dev/fuse, no scratch directory
  kOutput = 4,       // a file could not be written, or a plot not be drawn
};

// `args` without the program's name. Or what is wrong and the cure.
std::variant<Options, std::string> ParseOptions(
    const std::vector<std::string>& args);
std::string HelpText();

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_OPTIONS_H_

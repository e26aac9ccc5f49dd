// Measures: in each repetition every workload on every system, in an order that
// rotates, so that what drifts or disturbs falls on all of them alike.
#ifndef HANDLEFS_TOOLS_BENCH_RUNNER_H_
#define HANDLEFS_TOOLS_BENCH_RUNNER_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "crew.h"
#include "options.h"
#include "process.h"
#include "results.h"
#include "scratch.h"
#include "server.h"
#include "system.h"
#include "workload.h"

namespace handlefs::bench {

class Runner {
 public:
  Runner(const Options& options, std::vector<System> systems,
         std::vector<Workload> workloads, Scratch& scratch, Signals& signals);

  // Until all is measured, the time is over, or a signal came.
  void Run(Results* results);

 private:
  void Measure(const Workload& workload, const System& system, int repetition,
               Cell& cell);
  Gathered OnNative(const std::function<void(Client&)>& work);
  // What has to lie in the source. False after writing the reason to the cell.
  bool Prepare(const Workload& workload, Cell& cell);
  Gathered OnSystem(const Workload& workload, const System& system,
                    Sample* sample);
  // Programs that clients had started.
  void EndOthers(std::vector<pid_t> clients) const;
  bool IsOver() const;

  const Options& options_;
  const std::vector<System> systems_;
  const std::vector<Workload> workloads_;
  Scratch& scratch_;
  Signals& signals_;
  const std::vector<pid_t> strangers_;
  const uint64_t end_;
  std::set<std::string> built_;
  // Of systems that did not start the last times, and why.
  struct Trouble {
    int times = 0;
    std::string reason = {};
  };
  std::map<std::string, Trouble> troubles_;
};

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_RUNNER_H_

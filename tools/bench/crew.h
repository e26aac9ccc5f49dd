// The client processes of one measurement, seen from the harness.
//
// Each client warms up, says that it is ready, and starts when all are; when
// all have measured, they end. The harness sleeps meanwhile.
#ifndef HANDLEFS_TOOLS_BENCH_CREW_H_
#define HANDLEFS_TOOLS_BENCH_CREW_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "client.h"
#include "process.h"
#include "results.h"

namespace handlefs::bench {

struct Gathered {
  Outcome outcome = Outcome::kMeasured;
  std::string reason = {};
  uint64_t ops = 0;  // of all clients
  uint64_t nanoseconds = 0;
  std::map<std::string, double> extra = {};
};

struct Task {
  int clients = 1;
  std::string root;
  std::function<void(Client&)> warm_up;
  std::function<void(Client&)> measure;
  // In the harness, when all are ready and when all have measured.
  std::function<void(const std::vector<pid_t>&)> on_start = [](auto&) {};
  std::function<void(const std::vector<pid_t>&)> on_end = [](auto&) {};
  // In the harness, when the clients must end before they have measured, and
  // again without them when they have ended. It has to free those that wait for
  // a server, which not even SIGKILL does, and to end what they had started.
  std::function<void(const std::vector<pid_t>&)> on_trouble = [](auto&) {};
  // Until there is trouble.
  double seconds = 120;
};

// kFailed with "interrupted" if a signal came.
Gathered RunCrew(const Task& task, const Knobs& knobs, Signals& signals);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_CREW_H_

// A server that is being measured: started, watched, stopped. This process is
// the reaper of its descendants (PR_SET_CHILD_SUBREAPER), so that servers which
// go to the background are found and ended too.
#ifndef HANDLEFS_TOOLS_BENCH_SERVER_H_
#define HANDLEFS_TOOLS_BENCH_SERVER_H_

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "process.h"
#include "scratch.h"
#include "system.h"

namespace handlefs::bench {

class Server {
 public:
  // `strangers` are children that this process had before the run.
  Server(const System& system, const Scratch& scratch, Signals& signals,
         const std::vector<pid_t>& strangers)
      : system_(system),
        scratch_(scratch),
        signals_(signals),
        strangers_(strangers) {}
  ~Server() { Stop(); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Until the mount answers. Or what is wrong.
  std::optional<std::string> Start();
  // Unmounts and ends it, with more and more force; returns when no process of
  // it is left.
  void Stop();
  // At once, with its processes as they are now; Stop is still needed.
  void Kill(const std::vector<pid_t>& clients) const;
  // Its processes, while `clients` are the only other children.
  std::vector<pid_t> Processes(const std::vector<pid_t>& clients) const;
  // The last line that it said, or "".
  std::string LastWords() const;

 private:
  [[noreturn]] void Exec();
  std::optional<std::string> AwaitMount();
  // The mount answers a request; not in this process, which would hang with it.
  std::optional<std::string> Probe();
  bool IsMounted() const;
  std::string Ended(int status) const;

  const System& system_;
  const Scratch& scratch_;
  Signals& signals_;
  const std::vector<pid_t>& strangers_;
  pid_t pid_ = -1;  // while it has not been waited for
};

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_SERVER_H_

// The loop between the kernel and the server: one thread, which never waits for
// one of them alone.
//
// Every request that wants an answer is an Exchange from the moment it is read
// until the kernel has its reply. A restart of the server happens when there is
// none, so that nothing is lost: what was not read yet stays with the kernel.
#ifndef HANDLEFS_TOOLS_STANDIN_SESSION_H_
#define HANDLEFS_TOOLS_STANDIN_SESSION_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "answers.h"
#include "complaints.h"
#include "exchange.h"
#include "io/base/fd.h"
#include "mount.h"
#include "nodes.h"
#include "options.h"
#include "server.h"
#include "translator.h"

namespace handlefs::standin {

class Session {
 public:
  explicit Session(const Options& options);
  // Mounts and serves until the mount is gone; the exit status.
  int Run();

 private:
  using Clock = std::chrono::steady_clock;
  enum class State {
    kServing,
    kDraining,   // nothing is read until all replies are there
    kReplaying,  // a new server has the old INIT
    kEnded,
  };

  void Loop();
  void OnSignals();
  void ReadKernel();
  void OnRequest(Bytes message);
  void ReadServer();
  void OnReply(Bytes message);
  void OnInitReply(Bytes message);
  void Act(uint64_t unique, Verdict verdict);
  void WriteKernel(Bytes message, const Exchange* exchange);
  void ConsiderRestart();
  void Restart();
  void OnReplayed(Bytes message);
  void ServerEnded();
  void Summary();

  const Options& options_;
  Complaints complaints_;
  Coin coin_;
  Nodes nodes_;
  Translator translator_;
  Answers answers_;
  Server server_;
  Mounted mounted_;
  UniqueFd signals_;
  Buffer buffer_;
  std::unordered_map<uint64_t, Exchange> open_;
  // Waits for a lock perhaps for ever: no restart meanwhile.
  size_t waiting_for_locks_ = 0;

  State state_ = State::kServing;
  Buffer init_request_;    // of the kernel
  Buffer init_to_server_;  // the same as the server got it
  Buffer init_reply_;      // of the server
  bool is_initialized_ = false;
  bool refused_ = false;  // the mount

  bool restart_wanted_ = false;
  int stop_signals_ = 0;
  Clock::time_point stop_at_;
  Clock::time_point drain_until_;
  uint64_t requests_ = 0, compounds_ = 0, restarts_ = 0, since_restart_ = 0;
  uint64_t largest_memory_ = 0;
  std::map<std::string, uint64_t> postponed_;
};

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_SESSION_H_

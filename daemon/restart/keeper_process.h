// The keeper's process: what it knows, and what it does about what happens. One
// thread, which never waits for anything but in Wait.
#ifndef HANDLEFS_DAEMON_RESTART_KEEPER_PROCESS_H_
#define HANDLEFS_DAEMON_RESTART_KEEPER_PROCESS_H_

#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "daemon/control/drain.h"
#include "daemon/control/metrics_file.h"
#include "daemon/control/socket.h"
#include "daemon/control/words.h"
#include "daemon/exit_code.h"
#include "daemon/options.h"
#include "daemon/prepare.h"
#include "daemon/restart/child.h"
#include "daemon/restart/fd_store.h"
#include "daemon/restart/holdings.h"
#include "daemon/restart/kept.h"
#include "daemon/restart/messages.h"
#include "daemon/restart/state.h"
#include "daemon/restart/upgrade.h"
#include "daemon/serve.h"
#include "daemon/service_reports.h"
#include "daemon/stats/report.h"
#include "daemon/stats/stats.h"

namespace handlefs {

class Keeper {
 public:
  Keeper(const Options& options, Prepared& prepared, ServiceReports& reports,
         std::unique_ptr<State> state, std::function<void()> ready)
      : options_(options),
        prepared_(prepared),
        reports_(reports),
        state_(std::move(state)),
        stats_(Stats::In(state_->stats_area(), TraceOf(options))),
        ready_(std::move(ready)),
        store_(reports.manager()),
        metrics_(options.metrics_file),
        directory_(std::filesystem::current_path()) {}

  // For a mount that another process kept so far.
  void TakeOver(Holdings holdings);
  // For one that the process before this one left to the service manager.
  void TakeOver(StoredMount stored);

  ExitCode Run();

 private:
  // In the server's process: what it exits with.
  std::optional<ExitCode> StartServer();
  ExitCode BeServer(UniqueFd socket);
  void Wait();
  void ReadMessages();
  void Obey(Received received);
  void OnSignal();
  void EndMount();
  void OnUnmounted();
  void LookAtServer();
  void OnDeath(const std::string& how, bool crashed);
  void GiveUp(ExitCode code, const std::string& why);
  void Unmount(Unmount how);
  void Stop();
  void ServerServes();
  void KickQueues();

  // keeper_control.cc
  void Listen();
  void OnControl();
  void Command(ControlRequest request);
  void Command(Simple command, UniqueFd connection);
  // The server answers it, if there is one.
  void PassOn(ServerWork work, UniqueFd connection);
  nlohmann::ordered_json StatusOf() const;
  StatsReport Report() const;
  void Abort(UniqueFd connection);
  void BeginUpgrade(const std::string& program, UniqueFd connection);
  void OnProgramAnswered();
  void HandOver(UniqueFd asker);
  // What was asked for is over; whoever asked is told.
  void EndChange(const std::string& failure);
  // The old server is gone, on its own accord.
  void Become(const std::string& program);
  void GoBack(const std::string& why);
  // Ends, and leaves the mount to the service manager and the next process.
  void BeginLeaving();
  void Leave();
  HoldingsView Held() const;

  const Options& options_;
  Prepared& prepared_;
  ServiceReports& reports_;
  const std::unique_ptr<State> state_;
  const std::unique_ptr<Stats> stats_;  // in the state
  const std::function<void()> ready_;

  UniqueFd signals_;
  KeptFds fds_;
  std::unique_ptr<io::UringMemory> rings_;
  FdStore store_;
  MetricsFile metrics_;

  Child server_;
  UniqueFd socket_;
  bool serving_ = false;      // the present server
  bool was_serving_ = false;  // any
  ServedAs served_as_ = ServedAs::kNew;
  bool handed_over_ = false;
  std::optional<ExitCode> ended_;  // what the present server said
  absl::Time died_ = absl::InfinitePast();
  absl::Time serving_since_ = absl::InfinitePast();
  int failures_ = 0;
  absl::Time start_at_ = absl::InfinitePast();
  absl::Time look_at_ = absl::InfinitePast();
  int stuck_looks_ = 0;
  std::vector<Child> stuck_;  // killed, and not reaped yet

  // What somebody asked for; the last one by SIGUSR1.
  enum class Change { kNone, kAsking, kRestart, kUpgrade, kLeave };
  Change change_ = Change::kNone;
  uint64_t change_after_ = 0;  // the generation that hands over for it
  UniqueFd control_;
  ControlName control_name_;
  ControlPort port_;
  Drain drain_;
  Question question_;
  absl::Time question_until_ = absl::InfiniteFuture();
  std::string program_;
  UniqueFd asker_;
  UniqueFd fallback_;      // the program before this one, until this one serves
  UniqueFd guard_;         // the process that starts that one again
  std::string directory_;  // where the command line was given
  std::string went_back_;  // why this program runs again

  Child unmounter_;
  int orders_to_end_ = 0;
  bool end_waits_ = false;  // one came while this process was about to leave
  enum class Ending { kNo, kUnmounting, kDraining, kStopping };
  Ending ending_ = Ending::kNo;
  absl::Time deadline_ = absl::InfiniteFuture();
  absl::Time hand_over_until_ = absl::InfiniteFuture();
  std::optional<ExitCode> result_;
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_RESTART_KEEPER_PROCESS_H_

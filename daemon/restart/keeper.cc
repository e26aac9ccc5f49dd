#include "daemon/restart/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "daemon/log.h"
#include "daemon/reload.h"
#include "daemon/restart/asking.h"
#include "daemon/restart/keeper_process.h"
#include "daemon/restart/upgrade.h"
#include "daemon/serve.h"
#include "io/slot.h"
#include "proto/flags.h"

namespace handlefs {
namespace {

// Servers in a row that died before they served, or crashed right after.
constexpr int kMostFailures = 10;
constexpr absl::Duration kFirstPause = absl::Milliseconds(1);
constexpr absl::Duration kLongestPause = absl::Seconds(2);
// A crash within this time of the take-over is one more of a row.
constexpr absl::Duration kAtOnce = absl::Seconds(1);
// After it was told to stop, or killed, a server has this long.
constexpr absl::Duration kStopTime = absl::Seconds(kDrainSeconds + 5);
// How often a server that does not end is looked at.
constexpr absl::Duration kLook = absl::Seconds(2);

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

int64_t Nanoseconds(absl::Time time) { return absl::ToUnixNanos(time); }

}  // namespace

ExitCode Keeper::Run() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : kSignals) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (state_->counters().began_ns == 0) {
    state_->counters().began_ns = Nanoseconds(absl::Now());
  }
  Listen();
  if (rings_ == nullptr && options_.transport != Transport::kDev) {
    rings_ = io::UringMemory::Create(io::PayloadSize(options_.max_write));
  }
  while (!result_) {
    if (!server_.exists() && absl::Now() >= start_at_) {
      if (auto code = StartServer()) return *code;
    }
    Wait();
  }
  if (change_ != Change::kLeave) store_.Forget();
  control_name_.Remove();
  // The next process writes at once: nobody waits for this one.
  if (change_ != Change::kLeave) {
    metrics_.End([this] { return ToPrometheus(Report()); });
  }
  DismissGuard(std::move(guard_));
  EndChange("the mount has ended");
  return *result_;
}

void Keeper::TakeOver(Holdings holdings) {
  if (!holdings.stored.empty()) {
    HoldingsView held = Held();
    held.stored = holdings.stored;
    store_.Begin(options_, held);
  }
  fds_ = std::move(holdings.fds);
  rings_ = std::move(holdings.rings);
  control_ = std::move(holdings.control);
  asker_ = std::move(holdings.asker);
  fallback_ = std::move(holdings.fallback);
  guard_ = std::move(holdings.guard);
  went_back_ = std::move(holdings.failure);
  if (asker_) change_ = Change::kUpgrade;
  was_serving_ = true;
  died_ = absl::FromUnixNanos(holdings.paused_ns);
  if (holdings.server == 0) return;
  server_ = Child::Adopt(holdings.server);
  socket_ = std::move(holdings.server_socket);
  serving_ = true;
  serving_since_ = absl::Now();
}

void Keeper::TakeOver(StoredMount stored) {
  Holdings holdings = *std::move(stored.holdings);
  if (holdings.paused_ns == 0) holdings.paused_ns = Nanoseconds(absl::Now());
  holdings.stored.clear();
  store_.GoOn(std::move(stored));
  served_as_ = ServedAs::kFromStore;
  TakeOver(std::move(holdings));
}

std::optional<ExitCode> Keeper::StartServer() {
  auto pair = MakeKeeperSocket();
  if (!pair.ok()) {
    start_at_ = absl::Now() + kLongestPause;
    return std::nullopt;
  }
  state_->counters().generation.fetch_add(1);
  serving_ = handed_over_ = false;
  stuck_looks_ = 0;
  ended_.reset();
  server_ = Child::Fork();
  if (server_.is_child()) {
    pair->keeper.reset();
    return BeServer(std::move(pair->server));
  }
  if (!server_.exists()) {
    Log(LogLevel::kError, absl::StrCat("cannot make the server's process: ",
                                       std::strerror(errno)));
    start_at_ = absl::Now() + kLongestPause;
    return std::nullopt;
  }
  Log(LogLevel::kDebug,
      absl::StrCat("server ", state_->counters().generation.load(),
                   " is process ", server_.pid()));
  socket_ = std::move(pair->keeper);
  return std::nullopt;
}

ExitCode Keeper::BeServer(UniqueFd socket) {
  // A terminal's Ctrl-C is for the keeper, who says what to do.
  sigset_t set;
  sigemptyset(&set);
  for (int number : kSignals) {
    signal(number, SIG_IGN);
    sigaddset(&set, number);
  }
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  signals_.reset();
  socket_.reset();
  stuck_.clear();
  port_.Close();
  drain_.Close();
  control_.reset();
  asker_.reset();
  fallback_.reset();
  guard_.reset();
  question_ = Question();
  return ServeKept(options_, prepared_, *state_, fds_, rings_.get(), socket,
                   reports_, served_as_, ready_);
}

void Keeper::Wait() {
  absl::Time now = absl::Now();
  absl::Time until = std::min({deadline_, hand_over_until_, now + kLook,
                               drain_.next(), metrics_.next()});
  if (!server_.exists()) until = std::min(until, start_at_);
  std::vector<pollfd> fds = {
      {signals_.get(), POLLIN, 0},
      {server_.exists() ? server_.fd().get() : -1, POLLIN, 0},
      {socket_.get(), POLLIN, 0},
      {unmounter_.exists() ? unmounter_.fd().get() : -1, POLLIN, 0},
      {port_.fd().get(), POLLIN, 0},
      {question_.child.exists() ? question_.child.fd().get() : -1, POLLIN, 0},
      {drain_.fd().get(), POLLIN, 0},
      {metrics_.fd().get(), POLLIN, 0},
  };
  int timeout = static_cast<int>(std::clamp<int64_t>(
      absl::ToInt64Milliseconds(until - now) + 1, 0, 10000));
  if (poll(fds.data(), fds.size(), timeout) < 0) return;
  if (fds[0].revents != 0) OnSignal();
  if (fds[2].revents != 0) ReadMessages();
  if (fds[3].revents != 0) OnUnmounted();
  if (fds[4].revents != 0 || port_.waits()) OnControl();
  if (fds[5].revents != 0) OnProgramAnswered();
  drain_.Look(prepared_.mounted, *stats_);
  metrics_.Look([this] { return ToPrometheus(Report()); });
  if (server_.exists()) LookAtServer();
  std::erase_if(stuck_, [](Child& child) { return child.Reap().has_value(); });
  if (absl::Now() >= question_until_) question_.child.Kill(SIGKILL);
  if (absl::Now() >= hand_over_until_ && server_.exists()) {
    // It hangs somewhere; what it has not finished comes again.
    hand_over_until_ = absl::InfiniteFuture();
    server_.Kill(SIGKILL);
  }
  if (absl::Now() < deadline_) return;
  deadline_ = absl::InfiniteFuture();
  if (ending_ == Ending::kStopping) {
    // It had its time.
    server_.Kill(SIGKILL);
    GiveUp(ExitCode::kOk, "");
  } else {
    Stop();
  }
}

void Keeper::ReadMessages() {
  while (socket_) {
    auto received = ReceiveMessage(socket_);
    if (!received.ok()) return;  // nothing is there
    if (!*received) {
      socket_.reset();  // it has died, or is about to
      return;
    }
    Obey(std::move(**received));
  }
}

void Keeper::Obey(Received received) {
  const KeeperMessage& message = received.message;
  auto ref = static_cast<uint32_t>(message.value);
  switch (message.what) {
    case KeeperMessage::What::kKeep:
      fds_[ref] = std::move(received.fd);
      store_.Keep(ref, message.kind, fds_[ref]);
      break;
    case KeeperMessage::What::kDrop:
      store_.Drop(ref);
      fds_.erase(ref);
      break;
    case KeeperMessage::What::kServing:
      ServerServes();
      break;
    case KeeperMessage::What::kEnded:
      ended_ = static_cast<ExitCode>(message.value);
      break;
    case KeeperMessage::What::kHandedOver:
      handed_over_ = true;
      break;
    case KeeperMessage::What::kAsk:
      if (!prepared_.is_ours) break;
      AskFromCpus(prepared_.mounted.mount_point,
                  {{.cpu = static_cast<int>(message.kind),
                    .times = static_cast<size_t>(message.value)}});
      break;
    default:
      break;
  }
}

void Keeper::ServerServes() {
  absl::Time now = absl::Now();
  State::Counters& counters = state_->counters();
  serving_ = true;
  serving_since_ = now;
  counters.serving_ns = Nanoseconds(now);
  if (was_serving_) {
    KickQueues();
    counters.pause_ns =
        static_cast<uint64_t>(absl::ToInt64Nanoseconds(now - died_));
  } else {
    was_serving_ = true;
    ready_();
    if (prepared_.is_ours) store_.Begin(options_, Held());
  }
  store_.DropOldClones();
  fallback_.reset();
  DismissGuard(std::move(guard_));
  // One that was started before, after a crash, is not what was asked for.
  if (change_ != Change::kAsking && counters.generation > change_after_) {
    EndChange(std::exchange(went_back_, ""));
  }
}

// What came over io_uring while nobody served waits in the kernel, which looks
// at it when the next request of the same CPU is answered (Linux 6.14 to 6.18).
void Keeper::KickQueues() {
  auto session = state_->session();
  if (!session || !prepared_.is_ours) return;
  auto flags =
      proto::InitFlags::FromWire(session->init.flags, session->init.flags2);
  if (!flags.Has(proto::init::kOverIoUring)) return;
  AskFromCpus(prepared_.mounted.mount_point, OnceFromEach());
}

void Keeper::LookAtServer() {
  pid_t pid = server_.pid();
  if (auto status = server_.Reap()) {
    ReadMessages();
    socket_.reset();
    if (ended_ && !serving_ && fallback_) {
      return GoBack(
          absl::StrCat("its server ended with exit status ", ToInt(*ended_)));
    }
    if (ended_) {
      result_ = *ended_;
      return;
    }
    OnDeath(absl::StrCat("the server (process ", pid, ") ended by ",
                         DescribeEnd(*status)),
            WIFSIGNALED(*status) && WTERMSIG(*status) != SIGKILL);
    return;
  }
  // Killed in the middle of a system call that does not end: its successor need
  // not wait for it.
  if (absl::Now() < look_at_) return;
  look_at_ = absl::Now() + kLook;
  stuck_looks_ = server_.IsStuckDead() ? stuck_looks_ + 1 : 0;
  if (stuck_looks_ < 2) return;
  ReadMessages();
  socket_.reset();
  stuck_.push_back(std::move(server_));
  server_ = Child();
  OnDeath(absl::StrCat("the server (process ", pid,
                       ") was killed and hangs in the kernel"),
          false);
}

void Keeper::OnDeath(const std::string& how, bool crashed) {
  absl::Time now = absl::Now();
  // Nobody served since it was told to hand over.
  if (change_ == Change::kNone || change_ == Change::kAsking) died_ = now;
  start_at_ = now;
  if (change_ == Change::kLeave) return Leave();
  if (change_ == Change::kUpgrade && !program_.empty()) {
    return Become(std::exchange(program_, ""));
  }
  if (handed_over_) return;
  state_->counters().crashes.fetch_add(1);
  if (ending_ == Ending::kStopping) return GiveUp(ExitCode::kOk, "");
  auto session = state_->session();
  if (!session) {
    return GiveUp(ExitCode::kServe,
                  absl::StrCat(how, " before the mount answered"));
  }
  auto flags =
      proto::InitFlags::FromWire(session->init.flags, session->init.flags2);
  if (!flags.Has(proto::init::kHasResend)) {
    return GiveUp(
        ExitCode::kServe,
        absl::StrCat(how,
                     ", and this kernel (before Linux 6.9) does not send "
                     "again what it left unanswered"));
  }
  bool failed = !serving_ || (crashed && now - serving_since_ < kAtOnce);
  failures_ = failed ? failures_ + 1 : 0;
  if (failed && fallback_) return GoBack(how);
  if (failures_ >= kMostFailures) {
    return GiveUp(ExitCode::kServe,
                  absl::StrCat(how, ", as did the ", kMostFailures - 1,
                               " before it, at once"));
  }
  absl::Duration pause = absl::ZeroDuration();
  if (failures_ > 0) {
    pause = std::min(kFirstPause * (1 << std::min(2 * failures_, 20)),
                     kLongestPause);
  }
  start_at_ = now + pause;
  Log(LogLevel::kWarning,
      absl::StrCat(how, "; the mount goes on with another"));
}

void Keeper::Stop() {
  ending_ = Ending::kStopping;
  deadline_ = absl::Now() + kStopTime;
  if (!server_.exists()) return GiveUp(ExitCode::kOk, "");
  (void)SendMessage(socket_, {.what = KeeperMessage::What::kStop}, {}).ok();
}

void Keeper::GiveUp(ExitCode code, const std::string& why) {
  if (!why.empty()) {
    Log(LogLevel::kError,
        absl::StrCat(why, ": the mount ends, open files of it are lost"));
  }
  if (prepared_.is_ours) {
    (void)UnmountFuse(prepared_.mounted, Unmount::kDetach).ok();
  }
  result_ = code;
}

// In a process of its own: unmounting can write pages back, for which the
// server is needed, and if that dies meanwhile, its successor.
void Keeper::Unmount(handlefs::Unmount how) {
  unmounter_ = Child::Fork();
  if (unmounter_.is_child()) {
    Status status = UnmountFuse(prepared_.mounted, how);
    _exit(status.ok() ? 0 : status.error().value());
  }
  if (!unmounter_.exists()) Stop();
}

void Keeper::OnUnmounted() {
  auto status = unmounter_.Reap();
  if (!status) return;
  int error = WIFEXITED(*status) ? WEXITSTATUS(*status) : EIO;
  if (error == 0) {
    // The last user's end is the server's.
    if (ending_ == Ending::kUnmounting) ending_ = Ending::kDraining;
    return;
  }
  if (error == EBUSY && ending_ == Ending::kUnmounting) {
    Log(LogLevel::kWarning, BusyText(prepared_.mounted));
    ending_ = Ending::kDraining;
    deadline_ = absl::Now() + absl::Seconds(kDrainSeconds);
    Unmount(handlefs::Unmount::kDetach);
    return;
  }
  Stop();
}

void Keeper::OnSignal() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) > 0) {
    if (info.ssi_signo == SIGHUP) {
      reports_.Reload([&] { return handlefs::Reload(options_); });
      if (socket_) {
        (void)SendMessage(socket_, {.what = KeeperMessage::What::kReload}, {})
            .ok();
      }
      continue;
    }
    if (info.ssi_signo == SIGUSR1) {
      BeginLeaving();
    } else if (change_ == Change::kLeave) {
      end_waits_ = true;
    } else {
      EndMount();
    }
  }
}

void Keeper::EndMount() {
  if (orders_to_end_ == 0) reports_.Stopping("unmounting");
  start_at_ = absl::InfinitePast();  // unmounting may need a server
  if (++orders_to_end_ > 1 || !prepared_.is_ours) {
    if (ending_ == Ending::kStopping) server_.Kill(SIGKILL);
    Stop();
  } else {
    ending_ = Ending::kUnmounting;
    Unmount(handlefs::Unmount::kIfIdle);
  }
}

ExitCode KeepServing(const Options& options, Prepared& prepared,
                     ServiceReports& reports,
                     const std::function<void()>& ready) {
  auto state = State::Create();
  if (!state.ok()) {
    if (options.restart == Restart::kLossless) {
      Log(LogLevel::kError,
          absl::StrCat("restart=lossless: ",
                       absl::string_view(state.status().message())));
      return ExitCode::kServe;
    }
    Log(LogLevel::kWarning,
        absl::StrCat(absl::string_view(state.status().message()),
                     ": the mount does not survive the server"));
    return ServeAlone(options, prepared, reports, ready);
  }
  (*state)->SetKey(prepared.key);
  return Keeper(options, prepared, reports, *std::move(state), ready).Run();
}

ExitCode GoOnServing(const Options& options, Holdings holdings) {
  // Else it is called after the link that it was run by.
  (void)prctl(PR_SET_NAME, "handlefs", 0, 0, 0);
  ServiceReports reports(TakeServiceManager());
  auto fail = [](const absl::Status& status) {
    Log(LogLevel::kError, absl::StrCat("cannot go on with the mount: ",
                                       absl::string_view(status.message())));
    return ExitCode::kServe;
  };
  auto state = State::Open(std::move(holdings.state));
  if (!state.ok()) return fail(state.status());
  auto prepared = PrepareAgain(options, std::move(holdings.source),
                               std::move(holdings.mounted), (*state)->key());
  if (auto* error = std::get_if<StartError>(&prepared)) {
    return fail(absl::UnknownError(error->message));
  }
  Prepared& mount = std::get<Prepared>(prepared);
  mount.is_ours = holdings.is_ours;
  Keeper keeper(options, mount, reports, *std::move(state), [] {});
  keeper.TakeOver(std::move(holdings));
  return keeper.Run();
}

std::optional<ExitCode> GoOnFromStore(const Options& options,
                                      StoredMount stored,
                                      ServiceReports& reports) {
  absl::Status good = stored.holdings.status();
  std::unique_ptr<State> state;
  std::variant<Prepared, StartError> prepared;
  if (good.ok()) {
    BorrowedFd memory = stored.holdings->state;
    good = CheckState(UniqueFd(fcntl(memory.get(), F_DUPFD_CLOEXEC, 0)));
  }
  if (good.ok()) {
    auto opened = State::Open(std::move(stored.holdings->state));
    good = opened.status();
    if (opened.ok()) state = *std::move(opened);
  }
  if (good.ok()) {
    prepared = PrepareAgain(options, std::move(stored.holdings->source),
                            std::move(stored.holdings->mounted), state->key());
    if (auto* error = std::get_if<StartError>(&prepared)) {
      good = absl::FailedPreconditionError(error->message);
    }
  }
  if (!good.ok()) {
    Log(LogLevel::kWarning,
        absl::StrCat("cannot go on with the mount of before (",
                     absl::string_view(good.message()),
                     "): it is mounted anew, open files of it are lost"));
    if (stored.mounted) {
      (void)UnmountFuse(*stored.mounted, Unmount::kDetach).ok();
    }
    FdStore store(reports.manager());
    store.GoOn(std::move(stored));
    store.Forget();
    return std::nullopt;
  }
  Keeper keeper(options, std::get<Prepared>(prepared), reports,
                std::move(state), [] {});
  keeper.TakeOver(std::move(stored));
  return keeper.Run();
}

}  // namespace handlefs

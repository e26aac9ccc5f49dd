#include "daemon/serve.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "daemon/control/lone_control.h"
#include "daemon/control/metrics_file.h"
#include "daemon/control/server_control.h"
#include "daemon/log.h"
#include "daemon/mount.h"
#include "daemon/reload.h"
#include "daemon/restart/failpoint.h"
#include "daemon/restart/fd_store.h"
#include "daemon/restart/keeper.h"
#include "daemon/restart/messages.h"
#include "daemon/restart/upgrade.h"
#include "daemon/server.h"
#include "daemon/service_reports.h"
#include "daemon/uring_parameter.h"
#include "handles/nodes.h"
#include "io/dev_transport.h"

namespace handlefs {
namespace {

ExitCode Report(const StartError& error) {
  Log(LogLevel::kError, error.message);
  return error.code;
}

std::string Message(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

// Waits for signals while the main thread serves.
class SignalWatch {
 public:
  using Handler = std::function<void(int signal)>;
  // `timeout` is how long to wait for the next signal; 0 calls the handler.
  SignalWatch() {
    sigset_t set;
    sigemptyset(&set);
    for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
    // Every thread made from now on inherits the mask.
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signal(SIGPIPE, SIG_IGN);
    signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    end_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
  }
  ~SignalWatch() { Join(); }

  // `on_end` is called with 1, 2, ... for each signal to end; after the first
  // one `on_timeout` is called once when the drain time is over.
  void Start(std::function<void(int nth)> on_end,
             std::function<void()> on_timeout,
             std::function<void()> on_reload) {
    thread_ = std::thread([this, on_end = std::move(on_end),
                           on_timeout = std::move(on_timeout),
                           on_reload = std::move(on_reload)] {
      int count = 0;
      while (true) {
        pollfd fds[2] = {{signals_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}};
        int ready = poll(fds, 2, count == 1 ? kDrainSeconds * 1000 : -1);
        if (ready < 0 && errno == EINTR) continue;
        if (fds[1].revents != 0) return;
        if (ready == 0) {
          count = 2;
          on_timeout();
          continue;
        }
        signalfd_siginfo info;
        if (read(signals_.get(), &info, sizeof(info)) <= 0) continue;
        if (info.ssi_signo == SIGHUP) {
          on_reload();
        } else {
          on_end(++count);
        }
      }
    });
  }
  void Join() {
    if (!thread_.joinable()) return;
    uint64_t one = 1;
    (void)!write(end_.get(), &one, sizeof(one));
    thread_.join();
  }

 private:
  UniqueFd signals_;
  UniqueFd end_;
  std::thread thread_;
};

std::string Summary(const Options& options, const Nodes& nodes) {
  const HostFs& fs = nodes.file_systems().main();
  std::string identity = "descriptors";
  if (fs.has_handles) {
    std::string_view codec = fs.codec.name();
    identity = absl::StrCat("handles (",
                            absl::string_view(codec.data(), codec.size()), ")");
  }
  std::string out = absl::StrCat("serving ", nodes.source().path, " at ",
                                 options.mount_point, " by ", identity);
  const std::string& why = nodes.file_systems().why_not_handles();
  if (!fs.has_handles && options.identity == Identity::kAuto) {
    absl::StrAppend(&out, ": ", why);
  }
  return out;
}

// Tells how the session ended; says nothing of an end that was asked for.
ExitCode Conclude(const Server& server, const io::DevTransport::End& end,
                  bool was_stopped) {
  if (server.phase() == Server::Phase::kFailed) {
    Log(LogLevel::kError, server.failure());
    return ExitCode::kHandshake;
  }
  switch (end.reason) {
    case io::StopReason::kUnmounted:
    case io::StopReason::kPeerClosed:
    case io::StopReason::kStopped:
      return ExitCode::kOk;
    case io::StopReason::kAborted:
      if (was_stopped) return ExitCode::kOk;
      Log(LogLevel::kError,
          "the connection was aborted; open files of the mount are lost");
      return ExitCode::kServe;
    case io::StopReason::kReadError:
      Log(LogLevel::kError, absl::StrCat("cannot read requests: ",
                                         std::strerror(end.read_error)));
      return ExitCode::kServe;
  }
  return ExitCode::kServe;
}

// What is told of a mount once it is served.
void Report(const Options& options, const Prepared& prepared,
            const Server& server, ServiceReports& reports) {
  const std::string summary =
      absl::StrCat(Summary(options, *prepared.nodes), ", ", server.Transport());
  Log(LogLevel::kInfo, summary);
  const HostFs& fs = prepared.nodes->file_systems().main();
  LogOf(LogFolder::kHandles, LogLevel::kDebug,
        absl::StrCat("the source is file system 0x", absl::Hex(fs.magic),
                     ", device ", fs.dev >> 32, ":", fs.dev & 0xffffffff,
                     fs.is_remote   ? ", remote"
                     : fs.is_memory ? ", in memory"
                                    : "",
                     fs.is_stacked ? ", stacked" : ""));
  LogOf(LogFolder::kIo, LogLevel::kDebug,
        absl::StrCat("up to ", options.threads, " readers, requests of up to ",
                     options.max_write, " bytes"));
  reports.Serving(prepared.is_ours ? prepared.mounted.mount_point : "",
                  summary);
}

std::optional<StartError> RefuseMetricsFile(const Options& options) {
  const std::string& path = options.metrics_file;
  if (path.empty()) return std::nullopt;
  Status good = TryReplaceFile(path);
  if (good.ok()) return std::nullopt;
  return StartError{
      ExitCode::kUsage,
      absl::StrCat("metrics_file=", path, ": cannot write there (", path,
                   ".tmp): ", std::strerror(good.error().value()),
                   "; name a file in a directory that is there")};
}

// What the first server of a mount says besides, while it runs.
void Announce(const Options& options, const Prepared& prepared, Server& server,
              const io::DevTransport& transport, ServiceReports& reports) {
  Report(options, prepared, server, reports);
  Stats& stats = server.stats();
  const HostFsSet& hosts = prepared.nodes->file_systems();
  if (!hosts.main().has_handles && options.identity == Identity::kAuto) {
    stats.NoteFallback("handles", hosts.why_not_handles());
  }
  if (prepared.facts.is_device && options.transport == Transport::kAuto) {
    const UringParameter uring = ReadUringParameter();
    if (options.restart == Restart::kLossless) {
      if (uring == UringParameter::kOn) {
        stats.NoteFallback("io_uring", kLosslessIsDev);
        Log(LogLevel::kInfo, std::string(kLosslessIsDev));
      }
    } else if (uring == UringParameter::kOff) {
      stats.NoteFallback("io_uring", kUringIsOff);
      Log(LogLevel::kInfo, std::string(kUringIsOff));
    }
  }
  if (options.scheduling == io::Scheduling::kAuto) {
    std::string_view why = io::Yielder::WhyNot();
    if (!why.empty()) stats.NoteFallback("scheduling", why);
  }
  if (!transport.uses_io_uring()) {
    stats.NoteFallback("submission by io_uring", "it cannot be set up");
    Log(LogLevel::kWarning,
        "io_uring is not to be had (kernel.io_uring_disabled, a seccomp "
        "filter, or the limit of locked memory): serving with poll and read");
  }
}

absl::StatusOr<std::unique_ptr<io::DevTransport>> MakeTransport(
    const Options& options, UniqueFd device, Vault* vault) {
  return io::DevTransport::Create(std::move(device),
                                  {.max_write = options.max_write,
                                   .max_readers = options.threads,
                                   .scheduling = options.scheduling,
                                   .vault = vault});
}

// A mount whose connection is over would be dead; it goes, in use or not.
void TakeAway(const Prepared& prepared, const io::DevTransport::End& end) {
  if (prepared.is_ours && end.reason != io::StopReason::kUnmounted) {
    (void)UnmountFuse(prepared.mounted, Unmount::kDetach).ok();
  }
}

// Obeys the keeper on a thread of its own.
class Orders {
 public:
  explicit Orders(BorrowedFd keeper)
      : keeper_(keeper), end_(eventfd(0, EFD_CLOEXEC)) {}
  ~Orders() { Join(); }

  // `on_orphaned` is called when the other side is gone; true if another one
  // listens there now.
  void Start(std::function<void(Received)> obey,
             std::function<bool()> on_orphaned) {
    thread_ = std::thread([this, obey = std::move(obey),
                           orphaned = std::move(on_orphaned)] {
      while (true) {
        pollfd fds[2] = {{keeper_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
        if (fds[1].revents != 0) return;
        if (fds[0].revents == 0) continue;
        auto received = ReceiveMessage(keeper_);
        if (!received.ok()) continue;
        if (*received) {
          obey(std::move(**received));
        } else if (!orphaned()) {
          return;
        }
      }
    });
  }
  void Join() {
    if (!thread_.joinable()) return;
    uint64_t one = 1;
    (void)!write(end_.get(), &one, sizeof(one));
    thread_.join();
  }

 private:
  const BorrowedFd keeper_;
  UniqueFd end_;
  std::thread thread_;
};

// The keeper has died. Another is started, at the other end of the same
// descriptor, and gets all that the first one had.
absl::Status ReplaceKeeper(const Options& options, const Prepared& prepared,
                           const State& state, Kept& kept,
                           const io::UringMemory* rings, BorrowedFd keeper) {
  auto pair = MakeKeeperSocket();
  if (!pair.ok()) return pair.status();
  const KeptFds none;
  absl::Status started =
      StartKeeper(options.command_line, {.state = state.memory(),
                                         .source = prepared.nodes->source(),
                                         .mounted = prepared.mounted,
                                         .is_ours = prepared.is_ours,
                                         .fds = none,
                                         .control = {},
                                         .server = getpid(),
                                         .server_socket = pair->keeper,
                                         .rings = rings,
                                         .fallback = {},
                                         .asker = {},
                                         .guard = {},
                                         .paused_ns = 0,
                                         .failure = "",
                                         .stored = ""});
  if (!started.ok()) return started;
  if (dup3(pair->server.get(), keeper.get(), O_CLOEXEC) < 0) {
    return absl::ErrnoToStatus(errno, "dup3");
  }
  kept.GiveAgain();
  return absl::OkStatus();
}

}  // namespace

std::string BusyText(const Mounted& mounted) {
  return absl::StrCat(mounted.mount_point,
                      " is in use: it is detached, and who uses it is served "
                      "for ",
                      kDrainSeconds, " s more");
}

ExitCode ServeAlone(const Options& options, Prepared& prepared,
                    ServiceReports& reports,
                    const std::function<void()>& ready) {
  SignalWatch signals;
  auto transport =
      MakeTransport(options, std::move(prepared.mounted.device), nullptr);
  if (!transport.ok()) {
    return Report({ExitCode::kMountPoint, Message(transport.status())});
  }
  Server server(options, prepared.facts, *prepared.nodes, **transport);
  reports.FeedWatchdog(server);
  server.OnServing([&] {
    // First, so that what follows goes where the daemon's messages go.
    ready();
    Announce(options, prepared, server, **transport, reports);
  });

  std::atomic<bool> stopping{false};
  LoneControl control(options, prepared.mounted, *prepared.nodes, server,
                      **transport, [&] { (*transport)->Stop(); });
  control.Start(prepared.is_ours ? LoneControl::Socket::kListen
                                 : LoneControl::Socket::kNone);
  auto unmount = [&](int nth) {
    stopping.store(true);
    if (nth == 1) reports.Stopping("unmounting");
    if (nth > 1 || !prepared.is_ours) {
      (*transport)->Stop();
      return;
    }
    Status gone = UnmountFuse(prepared.mounted, Unmount::kIfIdle);
    if (gone.ok()) return;
    if (gone.error() == Errno(EBUSY)) {
      Log(LogLevel::kWarning, BusyText(prepared.mounted));
      if (UnmountFuse(prepared.mounted, Unmount::kDetach).ok()) return;
    }
    (*transport)->Stop();
  };
  signals.Start(
      unmount, [&] { (*transport)->Stop(); },
      [&] { reports.Reload([&] { return Reload(options); }); });

  io::DevTransport::End end = (*transport)->Run(server);
  signals.Join();
  server.Drain();
  TakeAway(prepared, end);
  return Conclude(server, end, stopping.load());
}

ExitCode ServeKept(const Options& options, Prepared& prepared, State& state,
                   const KeptFds& fds, io::UringMemory* rings,
                   BorrowedFd keeper, ServiceReports& reports,
                   ServedAs served_as, const std::function<void()>& ready) {
  auto tell = [&](KeeperMessage::What what, ExitCode code) {
    (void)SendMessage(
        keeper, {.what = what, .value = static_cast<uint64_t>(ToInt(code))}, {})
        .ok();
    return code;
  };
  auto end_with = [&](ExitCode code) {
    return tell(KeeperMessage::What::kEnded, code);
  };
  PassFailpoint("start", state.counters().generation.load());
  Kept kept(state, keeper, fds);
  if (Status taken = prepared.nodes->TakeOver(kept); !taken.ok()) {
    return end_with(
        Report({ExitCode::kServe,
                absl::StrCat("cannot take the nodes over: ",
                             std::strerror(taken.error().value()))}));
  }
  UniqueFd device(fcntl(prepared.mounted.device.get(), F_DUPFD_CLOEXEC, 3));
  auto transport = MakeTransport(options, std::move(device), &kept);
  if (!transport.ok()) {
    return end_with(
        Report({ExitCode::kMountPoint, Message(transport.status())}));
  }
  Continuity continuity{
      .state = state,
      .vault = kept,
      .rings = rings,
      .ask = [&](uint16_t cpu, size_t times) {
        (void)SendMessage(
            keeper,
            {.what = KeeperMessage::What::kAsk, .kind = cpu, .value = times},
            {})
            .ok();
      }};
  Server server(options, prepared.facts, *prepared.nodes, **transport,
                &continuity);
  reports.FeedWatchdog(server);
  server.OnServing([&] {
    ready();
    Announce(options, prepared, server, **transport, reports);
    tell(KeeperMessage::What::kServing, ExitCode::kOk);
  });

  std::atomic<bool> stopping{false}, handing_over{false};
  ServerControl control(server, *prepared.nodes, **transport);
  Orders orders(keeper);
  orders.Start(
      [&](Received received) {
        switch (received.message.what) {
          case KeeperMessage::What::kStop:
            stopping.store(true);
            (*transport)->Stop();
            break;
          case KeeperMessage::What::kHandOver:
            handing_over.store(true);
            (*transport)->Stop();
            break;
          case KeeperMessage::What::kReload:
            // The keeper has said what is wrong with it.
            (void)Reload(options).ok();
            break;
          case KeeperMessage::What::kControl:
            control.Do(
                {.what = static_cast<ServerWork::What>(received.message.kind),
                 .argument = received.message.value},
                std::move(received.fd));
            break;
          default:
            break;
        }
      },
      [&] {
        // It ends all processes of the service, and starts the next keeper.
        if (reports.manager().present()) return false;
        absl::Status started =
            ReplaceKeeper(options, prepared, state, kept, rings, keeper);
        Log(LogLevel::kWarning,
            started.ok() ? "the keeper is gone; another one was started"
                         : absl::StrCat("the keeper is gone (",
                                        absl::string_view(started.message()),
                                        "): the mount goes on, but does not "
                                        "survive this process"));
        return started.ok();
      });

  if (auto session = state.session()) {
    if (absl::Status resumed = server.Resume(*session); !resumed.ok()) {
      return end_with(Report({ExitCode::kServe, Message(resumed)}));
    }
    if (served_as == ServedAs::kFromStore) {
      Report(options, prepared, server, reports);
    }
    tell(KeeperMessage::What::kServing, ExitCode::kOk);
  }
  io::DevTransport::End end = (*transport)->Run(server);
  if (handing_over.load() && end.reason == io::StopReason::kStopped) {
    server.HandOver();
    tell(KeeperMessage::What::kHandedOver, ExitCode::kOk);
    FlushLog();
    // What still waits is not answered here: it comes to the successor again.
    _exit(0);
  }
  server.Drain();
  orders.Join();
  TakeAway(prepared, end);
  return end_with(Conclude(server, end, stopping.load()));
}

ExitCode Serve(const Options& options, const std::function<void()>& ready) {
  ServiceReports reports(TakeServiceManager());
  // What it means is the keeper's business; without one it means nothing.
  signal(SIGUSR1, SIG_IGN);
  if (auto stored = TakeStoredMount(options)) {
    if (auto code = GoOnFromStore(options, *std::move(stored), reports)) {
      return *code;
    }
  }
  if (auto refused = RefuseMetricsFile(options)) return Report(*refused);
  auto prepared = Prepare(options);
  if (auto* error = std::get_if<StartError>(&prepared)) return Report(*error);
  Prepared& mount = std::get<Prepared>(prepared);
  // A socket's other end has nothing to send again.
  if (options.restart == Restart::kOff || !mount.facts.is_device) {
    return ServeAlone(options, mount, reports, ready);
  }
  return KeepServing(options, mount, reports, ready);
}

}  // namespace handlefs

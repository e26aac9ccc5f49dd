#include "daemon/serve.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "daemon/credentials.h"
#include "daemon/key_file.h"
#include "daemon/log.h"
#include "daemon/mount.h"
#include "daemon/server.h"
#include "daemon/service_reports.h"
#include "daemon/uring_parameter.h"
#include "handles/nodes.h"
#include "handles/source.h"
#include "io/dev_transport.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

namespace handlefs {
namespace {

// How long users of a mount that was told to stop keep being served.
constexpr int kDrainMilliseconds = 10000;
// Descriptors that are not for nodes: open files, directories, the server's
// own.
constexpr rlim_t kFdReserve = 512;

ExitCode Report(const StartError& error) {
  Log(LogLevel::kError, error.message);
  return error.code;
}

std::string Message(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

// While the process still may: limits, and a place that the kernel treats with
// care, since memory reclaim can wait for this server.
rlim_t PrepareProcess() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  // Rings count as locked memory; only root may raise this one.
  rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  (void)setrlimit(RLIMIT_MEMLOCK, &unlimited);
  (void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
  UniqueFd oom(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  if (oom) (void)!write(oom.get(), "-900", 4);
  return limit.rlim_cur;
}

size_t FdBudget(rlim_t limit) {
  return static_cast<size_t>(limit > 2 * kFdReserve ? limit - kFdReserve
                                                    : limit / 4);
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
        int ready = poll(fds, 2, count == 1 ? kDrainMilliseconds : -1);
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

// The log file may have been moved away. Other logs are not opened.
absl::Status ReopenLog(const Options& options) {
  for (const char* name : {"auto", "stderr", "syslog"}) {
    if (options.log == name) return absl::OkStatus();
  }
  return SetLog(options.log, options.log_level);
}

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
  if (server.state() == Server::State::kFailed) {
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

}  // namespace

int DescriptorOf(const std::string& mount_point) {
  constexpr std::string_view kPrefix = "/dev/fd/";
  if (!mount_point.starts_with(kPrefix)) return -1;
  int fd = -1;
  const char* end = mount_point.data() + mount_point.size();
  auto [at, error] =
      std::from_chars(mount_point.data() + kPrefix.size(), end, fd);
  return error == std::errc() && at == end ? fd : -1;
}

ExitCode Serve(const Options& options, const std::function<void()>& ready) {
  ServiceReports reports(TakeServiceManager());
  SignalWatch signals;
  const rlim_t fd_limit = PrepareProcess();
  const Privileges privileges = ReducePrivileges();

  const int given = DescriptorOf(options.mount_point);
  std::string mount_point = options.mount_point;
  if (given < 0) {
    auto checked = CheckMountPoint(options.mount_point);
    if (auto* error = std::get_if<StartError>(&checked)) return Report(*error);
    mount_point = std::get<std::string>(checked);
  }

  auto source = OpenSource(options.source, options.submounts);
  if (!source.ok()) {
    return Report({ExitCode::kSource, Message(source.status())});
  }
  if (given < 0 && !source->is_private &&
      (mount_point + "/").starts_with(source->path + "/")) {
    return Report({ExitCode::kMountPoint,
                   absl::StrCat("the mount point ", mount_point,
                                " lies inside the source ", source->path,
                                ", which would then contain itself; as root "
                                "this is possible")});
  }

  Nodes::Config config{.identity = options.identity,
                       .exported = options.exported == Switch::kOn
                                       ? Nodes::Export::kOn
                                       : Nodes::Export::kOff,
                       .key = RandomKey(),
                       .fd_budget = FdBudget(fd_limit)};
  // What is given out under a key that is lost with the process is lost too.
  if (options.exported == Switch::kOn ||
      options.dialect != &proto::MainlineDialect()) {
    auto key = LoadKey(options.key_file, source->dir);
    if (!key.ok()) return Report({ExitCode::kUsage, Message(key.status())});
    config.key = *key;
  }
  auto nodes = Nodes::Make(std::move(*source), config);
  if (!nodes.ok()) {
    return Report({ExitCode::kSource, Message(nodes.status())});
  }
  const HostFs& fs = (*nodes)->file_systems().main();
  if (options.exported == Switch::kOn && !fs.has_handles) {
    return Report({ExitCode::kSource,
                   absl::StrCat("export=on needs file handles of the source: ",
                                (*nodes)->file_systems().why_not_handles())});
  }

  // Before the mount: its INIT tells whether it is on.
  if (options.enable_uring == Switch::kOn) {
    if (Status on = TurnUringOn(); !on.ok()) {
      return Report({ExitCode::kFuse,
                     absl::StrCat("enable_uring=on: cannot turn FUSE over "
                                  "io_uring on: ",
                                  on.error() == Errno(ENOENT)
                                      ? "this kernel has none (Linux 6.14, "
                                        "CONFIG_FUSE_IO_URING)"
                                      : std::strerror(on.error().value()),
                                  "; leave the option out")});
    }
  }

  Mounted mounted;
  if (given >= 0) {
    mounted.device = UniqueFd(fcntl(given, F_DUPFD_CLOEXEC, 3));
    close(given);
    if (!mounted.device) {
      return Report({ExitCode::kMountPoint,
                     absl::StrCat(options.mount_point, " is not open")});
    }
  } else {
    auto result =
        MountFuse(options, mount_point, (*nodes)->source().path,
                  privileges.mount ? MountBy::kKernel : MountBy::kHelper);
    if (auto* error = std::get_if<StartError>(&result)) return Report(*error);
    mounted = std::move(std::get<Mounted>(result));
  }

  auto transport = io::DevTransport::Create(
      std::move(mounted.device),
      {.max_write = options.max_write, .max_readers = options.threads});
  if (!transport.ok()) {
    return Report(
        {ExitCode::kMountPoint,
         absl::StrCat(options.mount_point, ": ", Message(transport.status()))});
  }
  HostFacts facts{
      .can_register_backing =
          privileges.mount && (*transport)->kind() == io::DeviceKind::kFuse,
      .is_device = (*transport)->kind() == io::DeviceKind::kFuse,
      // Of crossed mounts nothing is known yet.
      .dir_positions_last =
          fs.dir_positions_last && options.submounts == Submounts::kHide,
      .source_is_stacked = fs.is_stacked,
  };
  Server server(options, facts, **nodes, **transport);
  reports.FeedWatchdog(server);
  server.OnServing([&] {
    // First, so that what follows goes where the daemon's messages go.
    ready();
    const std::string summary =
        absl::StrCat(Summary(options, **nodes), ", ", server.Transport());
    Log(LogLevel::kInfo, summary);
    reports.Serving(given < 0 ? mount_point : "", summary);
    if (facts.is_device && options.transport == Transport::kAuto &&
        ReadUringParameter() == UringParameter::kOff) {
      Log(LogLevel::kInfo, std::string(kUringIsOff));
    }
    if (!(*transport)->uses_io_uring()) {
      Log(LogLevel::kWarning,
          "io_uring is not to be had (kernel.io_uring_disabled, a seccomp "
          "filter, or the limit of locked memory): serving with poll and read");
    }
  });

  std::atomic<bool> stopping{false};
  auto unmount = [&](int nth) {
    stopping.store(true);
    if (nth == 1) reports.Stopping("unmounting");
    if (nth > 1 || given >= 0) {
      (*transport)->Stop();
      return;
    }
    Status gone = UnmountFuse(mounted, Unmount::kIfIdle);
    if (gone.ok()) return;
    if (gone.error() == Errno(EBUSY)) {
      Log(LogLevel::kWarning,
          absl::StrCat(mount_point,
                       " is in use: it is detached, and who uses it is served "
                       "for ",
                       kDrainMilliseconds / 1000, " s more"));
      if (UnmountFuse(mounted, Unmount::kDetach).ok()) return;
    }
    (*transport)->Stop();
  };
  signals.Start(
      unmount, [&] { (*transport)->Stop(); },
      [&] { reports.Reload([&] { return ReopenLog(options); }); });

  // Nothing of the host is kept busy by the working directory.
  (void)!chdir("/");
  io::DevTransport::End end = (*transport)->Run(server);
  signals.Join();
  server.Drain();
  // A mount whose connection is over would be dead; it goes, in use or not.
  if (given < 0 && end.reason != io::StopReason::kUnmounted) {
    (void)UnmountFuse(mounted, Unmount::kDetach).ok();
  }
  return Conclude(server, end, stopping.load());
}

}  // namespace handlefs

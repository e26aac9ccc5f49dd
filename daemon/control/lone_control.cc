#include "daemon/control/lone_control.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "daemon/control/connection.h"
#include "daemon/control/stale_sockets.h"
#include "daemon/log.h"

namespace handlefs {
namespace {
constexpr absl::Duration kLook = absl::Seconds(2);
}  // namespace

ControlListening ListenFor(const std::string& mount_point) {
  if (geteuid() != 0) return {};
  RemoveStaleSockets(kControlDirectory);
  const std::string path = ControlPath(mount_point);
  auto listening = ListenAt(path);
  if (!listening.ok()) {
    Log(LogLevel::kWarning, std::string(listening.status().message().data(),
                                        listening.status().message().size()));
    return {};
  }
  return {.fd = *std::move(listening), .name = ControlName::At(path)};
}

LoneControl::LoneControl(const Options& options, const Mounted& mounted,
                         Nodes& nodes, Server& server,
                         io::DevTransport& transport,
                         std::function<void()> on_abort)
    : mounted_(mounted),
      nodes_(nodes),
      server_(server),
      on_abort_(std::move(on_abort)),
      began_ns_(absl::ToUnixNanos(absl::Now())),
      control_(server, nodes, transport),
      metrics_(options.metrics_file),
      end_(eventfd(0, EFD_CLOEXEC)) {}

LoneControl::~LoneControl() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  (void)!write(end_.get(), &one, sizeof(one));
  thread_.join();
  metrics_.End([this] { return ToPrometheus(Report()); });
  listening_.name.Remove();
}

void LoneControl::Start(Socket socket) {
  if (socket == Socket::kListen) listening_ = ListenFor(mounted_.mount_point);
  if (listening_.fd) (void)port_.Open(listening_.fd).ok();
  thread_ = std::thread([this] { Serve(); });
}

void LoneControl::Serve() {
  while (true) {
    const absl::Time now = absl::Now();
    const absl::Time until =
        std::min({now + kLook, drain_.next(), metrics_.next()});
    pollfd fds[] = {{end_.get(), POLLIN, 0},
                    {port_.fd().get(), POLLIN, 0},
                    {drain_.fd().get(), POLLIN, 0},
                    {metrics_.fd().get(), POLLIN, 0}};
    const auto wait = std::clamp<int64_t>(
        absl::ToInt64Milliseconds(until - now) + 1, 0, 10000);
    (void)poll(fds, std::size(fds), static_cast<int>(wait));
    if (fds[0].revents != 0) return;
    for (ControlRequest& request : port_.Collect()) Obey(std::move(request));
    drain_.Look(mounted_, server_.stats());
    metrics_.Look([this] { return ToPrometheus(Report()); });
  }
}

StatsReport LoneControl::Report() const {
  return {.mount_point = mounted_.mount_point,
          .sum = server_.stats().Read(),
          .server = ReadProcess(getpid()),
          .waiting = WaitingIn(mounted_),
          .began_ns = began_ns_};
}

nlohmann::ordered_json LoneControl::StatusOf() const {
  auto status = OkAnswer();
  status["version"] = HANDLEFS_VERSION;
  status["source"] = nodes_.source().path;
  status["mount_point"] = mounted_.mount_point;
  status["restart"] = "off";
  status["server"] = getpid();
  status["serving"] = server_.phase() == Server::Phase::kServing;
  status["uptime_seconds"] =
      absl::ToDoubleSeconds(absl::Now() - absl::FromUnixNanos(began_ns_));
  if (auto waiting = WaitingIn(mounted_)) status["in_flight"] = *waiting;
  status["trace"] = server_.stats().trace() != TraceLevel::kOff ? "on" : "off";
  return status;
}

void LoneControl::Abort(UniqueFd connection) {
  Log(LogLevel::kWarning, "told to abort the connection");
  const bool aborted = AbortConnection(mounted_);
  auto answer = OkAnswer();
  answer["by"] = aborted ? "the kernel" : "closing the device";
  Answer(std::move(connection), answer);
  if (!aborted) on_abort_();
}

void LoneControl::Obey(ControlRequest request) {
  ControlCommand command = ParseControl(request.words);
  auto answer = [&](const nlohmann::ordered_json& json) {
    Answer(std::move(request.connection), json);
  };
  const char* const no_keeper =
      "the mount was started with restart=off: its server cannot be replaced "
      "(unmount, and start it again)";
  if (auto* wrong = std::get_if<NoCommand>(&command)) {
    answer(ErrorAnswer(wrong->why));
  } else if (auto* trace = std::get_if<SwitchTrace>(&command)) {
    answer(SwitchedTrace(server_.stats(), trace->level));
  } else if (auto* drain = std::get_if<DrainFor>(&command)) {
    drain_.Begin(mounted_, nodes_.source().dir, drain->limit,
                 std::move(request.connection));
  } else if (auto* work = std::get_if<ServerWork>(&command)) {
    control_.Do(*work, std::move(request.connection));
  } else if (std::holds_alternative<UpgradeTo>(command)) {
    answer(ErrorAnswer(no_keeper));
  } else {
    switch (std::get<Simple>(command)) {
      case Simple::kStatus:
        return answer(StatusOf());
      case Simple::kStats:
        return answer(ToJson(Report()));
      case Simple::kMetrics:
        return answer(MetricsAnswer(ToPrometheus(Report())));
      case Simple::kRestart:
        return answer(ErrorAnswer(no_keeper));
      case Simple::kAbort:
        return Abort(std::move(request.connection));
    }
  }
}

}  // namespace handlefs

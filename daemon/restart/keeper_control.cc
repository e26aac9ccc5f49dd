// What people ask the keeper for. It answers what it can: the server may hang.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "daemon/control/connection.h"
#include "daemon/control/lone_control.h"
#include "daemon/log.h"
#include "daemon/restart/keeper_process.h"
#include "proto/flags.h"

namespace handlefs {
namespace {

// A server that was told to hand over has this long to finish what it began.
constexpr absl::Duration kHandOverTime = absl::Seconds(15);
// A program that is asked whether it can go on has this long.
constexpr absl::Duration kAnswerTime = absl::Seconds(10);
constexpr char kUnderWay[] = "a restart or upgrade is under way";

double Since(int64_t since_ns) {
  return since_ns == 0 ? 0
                       : absl::ToDoubleSeconds(absl::Now() -
                                               absl::FromUnixNanos(since_ns));
}

}  // namespace

void Keeper::Listen() {
  if (!prepared_.is_ours || geteuid() != 0) return;
  if (control_) {  // from the program before
    control_name_ = ControlName::At(ControlPath(prepared_.mounted.mount_point));
  } else {
    ControlListening listening = ListenFor(prepared_.mounted.mount_point);
    control_ = std::move(listening.fd);
    control_name_ = std::move(listening.name);
  }
  if (!control_) return;
  if (absl::Status open = port_.Open(control_); !open.ok()) {
    Log(LogLevel::kWarning,
        std::string(open.message().data(), open.message().size()));
  }
}

void Keeper::OnControl() {
  for (ControlRequest& request : port_.Collect()) Command(std::move(request));
}

void Keeper::Command(ControlRequest request) {
  ControlCommand command = ParseControl(request.words);
  UniqueFd connection = std::move(request.connection);
  if (auto* wrong = std::get_if<NoCommand>(&command)) {
    Answer(std::move(connection), ErrorAnswer(wrong->why));
  } else if (auto* trace = std::get_if<SwitchTrace>(&command)) {
    Answer(std::move(connection), SwitchedTrace(*stats_, trace->level));
  } else if (auto* drain = std::get_if<DrainFor>(&command)) {
    drain_.Begin(prepared_.mounted, prepared_.nodes->source().dir, drain->limit,
                 std::move(connection));
  } else if (auto* work = std::get_if<ServerWork>(&command)) {
    PassOn(*work, std::move(connection));
  } else if (auto* upgrade = std::get_if<UpgradeTo>(&command)) {
    if (change_ != Change::kNone) {
      Answer(std::move(connection), ErrorAnswer(kUnderWay));
    } else {
      BeginUpgrade(upgrade->program, std::move(connection));
    }
  } else {
    Command(std::get<Simple>(command), std::move(connection));
  }
}

void Keeper::Command(Simple command, UniqueFd connection) {
  switch (command) {
    case Simple::kStatus:
      return Answer(std::move(connection), StatusOf());
    case Simple::kStats:
      return Answer(std::move(connection), ToJson(Report()));
    case Simple::kMetrics:
      return Answer(std::move(connection),
                    MetricsAnswer(ToPrometheus(Report())));
    case Simple::kAbort:
      return Abort(std::move(connection));
    case Simple::kRestart:
      break;
  }
  if (change_ != Change::kNone) {
    return Answer(std::move(connection), ErrorAnswer(kUnderWay));
  }
  change_ = Change::kRestart;
  HandOver(std::move(connection));
}

void Keeper::PassOn(ServerWork work, UniqueFd connection) {
  // A server that hangs does not read: its queue must not fill up and hang us.
  pollfd room{socket_.get(), POLLOUT, 0};
  if (!socket_ || !serving_) {
    return Answer(std::move(connection),
                  ErrorAnswer("no server runs just now: try again"));
  }
  if (poll(&room, 1, 0) != 1 || (room.revents & POLLOUT) == 0 ||
      !SendMessage(socket_,
                   {.what = KeeperMessage::What::kControl,
                    .kind = static_cast<uint32_t>(work.what),
                    .value = work.argument},
                   connection)
           .ok()) {
    Answer(std::move(connection),
           ErrorAnswer("the server does not take commands: it hangs"));
  }
}

StatsReport Keeper::Report() const {
  const State::Counters& counters = state_->counters();
  return {.mount_point = prepared_.mounted.mount_point,
          .sum = stats_->Read(),
          .server = ReadProcess(server_.exists() ? server_.pid() : 0),
          .waiting = WaitingIn(prepared_.mounted),
          .generation = counters.generation.load(),
          .crashes = counters.crashes.load(),
          .began_ns = counters.began_ns.load(),
          .kept_descriptors = fds_.size(),
          .state_bytes = counters.record_bytes.load()};
}

nlohmann::ordered_json Keeper::StatusOf() const {
  const State::Counters& counters = state_->counters();
  auto status = OkAnswer();
  status["version"] = HANDLEFS_VERSION;
  status["source"] = prepared_.nodes->source().path;
  status["mount_point"] = prepared_.mounted.mount_point;
  status["keeper"] = getpid();
  status["server"] = server_.exists() ? server_.pid() : 0;
  status["serving"] = serving_;
  status["generation"] = counters.generation.load();
  status["uptime_seconds"] = Since(counters.began_ns);
  status["serving_seconds"] = Since(counters.serving_ns);
  status["crashes"] = counters.crashes.load();
  status["last_pause_ms"] = static_cast<double>(counters.pause_ns) / 1e6;
  status["resent"] = counters.resent.load();
  status["answered_from_journal"] = counters.recalled.load();
  status["settled"] = counters.settled.load();
  status["kept_descriptors"] = fds_.size();
  status["state_bytes"] = counters.record_bytes.load();
  if (auto waiting = WaitingIn(prepared_.mounted)) {
    status["in_flight"] = *waiting;
  }
  status["trace"] = stats_->trace() != TraceLevel::kOff ? "on" : "off";
  if (auto session = state_->session()) {
    status["dialect"] = session->dialect.data();
    status["protocol"] =
        absl::StrCat(session->init.major, ".", session->init.minor);
  }
  return status;
}

void Keeper::Abort(UniqueFd connection) {
  Log(LogLevel::kWarning, "told to abort the connection");
  const bool aborted = AbortConnection(prepared_.mounted);
  server_.Kill(SIGKILL);
  GiveUp(ExitCode::kServe, "aborted");
  auto answer = OkAnswer();
  answer["by"] = aborted ? "the kernel" : "closing the device";
  Answer(std::move(connection), answer);
}

void Keeper::BeginUpgrade(const std::string& program, UniqueFd connection) {
  program_ = program;
  question_ =
      AskProgram(program_, options_.command_line, directory_, state_->memory());
  if (!question_.child.exists()) {
    Answer(std::move(connection), ErrorAnswer("cannot make a process"));
    return;
  }
  question_until_ = absl::Now() + kAnswerTime;
  change_ = Change::kAsking;
  asker_ = std::move(connection);
}

void Keeper::OnProgramAnswered() {
  auto status = question_.child.Reap();
  if (!status) return;
  std::string said = AnswerOf(question_);
  question_ = Question();
  question_until_ = absl::InfiniteFuture();
  if (*status != 0 || said != kCanGoOn) {
    EndChange(absl::StrCat(program_, " cannot go on with this mount (",
                           DescribeEnd(*status),
                           "): ", said.empty() ? "it is not handlefs" : said));
    program_.clear();
    return;
  }
  change_ = Change::kUpgrade;
  HandOver(std::move(asker_));
}

void Keeper::HandOver(UniqueFd asker) {
  asker_ = std::move(asker);
  died_ = absl::Now();
  hand_over_until_ = died_ + kHandOverTime;
  change_after_ = state_->counters().generation;
  if (!server_.exists()) {
    // Killed meanwhile, and its successor is not there yet.
    if (!program_.empty()) Become(std::exchange(program_, ""));
    return;
  }
  if (!socket_) return;  // it is dead already
  (void)SendMessage(socket_, {.what = KeeperMessage::What::kHandOver}, {}).ok();
}

void Keeper::EndChange(const std::string& failure) {
  hand_over_until_ = absl::InfiniteFuture();
  change_ = Change::kNone;
  auto answer = failure.empty() ? OkAnswer() : ErrorAnswer(failure);
  answer["generation"] = state_->counters().generation.load();
  answer["pause_ms"] =
      static_cast<double>(state_->counters().pause_ns.load()) / 1e6;
  Answer(std::exchange(asker_, UniqueFd()), answer);
}

HoldingsView Keeper::Held() const {
  return {.state = state_->memory(),
          .source = prepared_.nodes->source(),
          .mounted = prepared_.mounted,
          .is_ours = prepared_.is_ours,
          .fds = fds_,
          .control = control_,
          .server = 0,
          .server_socket = {},
          .rings = rings_.get(),
          .fallback = {},
          .asker = asker_,
          .guard = guard_,
          .paused_ns = absl::ToUnixNanos(died_),
          .failure = "",
          .stored = store_.Names()};
}

void Keeper::Become(const std::string& program) {
  UniqueFd self(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  HoldingsView held = Held();
  held.fallback = self;
  auto guard =
      StartGuard(options_.command_line, directory_, reports_.manager(), Held());
  if (guard.ok()) guard_ = *std::move(guard);
  held.guard = guard_;
  absl::Status failed =
      BecomeProgram(program, options_.command_line, directory_,
                    reports_.manager().Environment(), held);
  went_back_ = std::string(failed.message().data(), failed.message().size());
}

void Keeper::GoBack(const std::string& why) {
  std::string program = absl::StrCat("/proc/self/fd/", fallback_.get());
  HoldingsView held = Held();
  held.failure = absl::StrCat("the new program did not serve (", why,
                              "); the old one goes on");
  Log(LogLevel::kError, held.failure);
  (void)fcntl(fallback_.get(), F_SETFD, 0);
  absl::Status failed =
      BecomeProgram(program, options_.command_line, directory_,
                    reports_.manager().Environment(), held);
  // The last hope is this program itself.
  fallback_.reset();
  start_at_ = absl::Now();
}

void Keeper::BeginLeaving() {
  absl::Status ready = absl::OkStatus();
  auto session = state_->session();
  if (ending_ != Ending::kNo || change_ == Change::kLeave) return;
  if (!prepared_.is_ours || !session || !was_serving_) {
    ready = absl::UnavailableError("nothing is mounted by this process");
  } else if (!proto::InitFlags::FromWire(session->init.flags,
                                         session->init.flags2)
                  .Has(proto::init::kHasResend)) {
    ready = absl::UnavailableError(
        "this kernel (before Linux 6.9) does not send unanswered requests "
        "again");
  } else {
    ready = store_.Try();
  }
  if (!ready.ok()) {
    Log(LogLevel::kWarning,
        absl::StrCat("cannot leave the mount to the next process: ",
                     absl::string_view(ready.message())));
    return;
  }
  if (change_ != Change::kNone) EndChange("the service restarts");
  program_.clear();
  question_ = Question();
  change_ = Change::kLeave;
  HandOver({});
  if (!server_.exists()) Leave();
}

void Keeper::Leave() {
  hand_over_until_ = absl::InfiniteFuture();
  absl::Status left = store_.Leave(fds_, absl::ToUnixNanos(died_));
  if (left.ok()) {
    Log(LogLevel::kInfo, "the mount goes on with the next process");
    result_ = ExitCode::kOk;
    return;
  }
  Log(LogLevel::kError,
      std::string(left.message().data(), left.message().size()));
  change_ = Change::kNone;
  if (std::exchange(end_waits_, false)) EndMount();
}

}  // namespace handlefs

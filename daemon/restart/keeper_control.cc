// What people ask the keeper for: status, restart, upgrade, abort.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "daemon/control/stale_sockets.h"
#include "daemon/log.h"
#include "daemon/mountinfo.h"
#include "daemon/restart/keeper_process.h"
#include "proto/flags.h"

namespace handlefs {
namespace {

// A server that was told to hand over has this long to finish what it began.
constexpr absl::Duration kHandOverTime = absl::Seconds(15);
// A program that is asked whether it can go on has this long.
constexpr absl::Duration kAnswerTime = absl::Seconds(10);

double Since(int64_t since_ns) {
  return since_ns == 0 ? 0
                       : absl::ToDoubleSeconds(absl::Now() -
                                               absl::FromUnixNanos(since_ns));
}

// The number of the connection in /sys/fs/fuse/connections: the minor number of
// the mount's device. Empty if the mount is not there.
std::string ConnectionOf(const Mounted& mounted) {
  auto mount = MountOfId(mounted.mount_id);
  return mount ? mount->minor : "";
}

std::string ConnectionFile(const std::string& connection, const char* name) {
  return absl::StrCat("/sys/fs/fuse/connections/", connection, "/", name);
}

}  // namespace

void Keeper::Listen() {
  if (!prepared_.is_ours || geteuid() != 0) return;
  RemoveStaleSockets(kControlDirectory);
  const std::string path = ControlPath(prepared_.mounted.mount_point);
  if (control_) {  // from the program before
    control_name_ = ControlName::At(path);
    return;
  }
  auto listening = ListenAt(path);
  if (listening.ok()) {
    control_ = *std::move(listening);
    control_name_ = ControlName::At(path);
    return;
  }
  Log(LogLevel::kWarning, std::string(listening.status().message().data(),
                                      listening.status().message().size()));
}

void Keeper::OnControl() {
  auto request = AcceptControl(control_);
  if (request.ok()) Command(std::move(request).value());
}

void Keeper::Command(ControlRequest request) {
  const std::string word = request.words.empty() ? "" : request.words[0];
  if (word == "status" && request.words.size() == 1) {
    Answer(std::move(request.connection), StatusOf());
  } else if (word == "abort" && request.words.size() == 1) {
    Abort(std::move(request.connection));
  } else if (change_ != Change::kNone &&
             (word == "restart" || word == "upgrade")) {
    Answer(std::move(request.connection),
           ErrorAnswer("a restart or upgrade is under way"));
  } else if (word == "restart" && request.words.size() == 1) {
    change_ = Change::kRestart;
    HandOver(std::move(request.connection));
  } else if (word == "upgrade" && request.words.size() == 2) {
    BeginUpgrade(std::move(request));
  } else {
    Answer(std::move(request.connection),
           ErrorAnswer("the commands are: status, restart, upgrade PROGRAM, "
                       "abort"));
  }
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
  std::ifstream waiting(
      ConnectionFile(ConnectionOf(prepared_.mounted), "waiting"));
  uint64_t in_flight = 0;
  if (waiting >> in_flight) status["in_flight"] = in_flight;
  if (auto session = state_->session()) {
    status["dialect"] = session->dialect.data();
    status["protocol"] =
        absl::StrCat(session->init.major, ".", session->init.minor);
  }
  return status;
}

void Keeper::Abort(UniqueFd connection) {
  Log(LogLevel::kWarning, "told to abort the connection");
  // Numbers are used again: it is looked up by the mount that is ours, now.
  std::string number = ConnectionOf(prepared_.mounted);
  UniqueFd abort(number.empty() ? -1
                                : open(ConnectionFile(number, "abort").c_str(),
                                       O_WRONLY | O_CLOEXEC));
  bool aborted = abort && write(abort.get(), "1", 1) == 1;
  server_.Kill(SIGKILL);
  GiveUp(ExitCode::kServe, "aborted");
  auto answer = OkAnswer();
  answer["by"] = aborted ? "the kernel" : "closing the device";
  Answer(std::move(connection), answer);
}

void Keeper::BeginUpgrade(ControlRequest request) {
  program_ = request.words[1];
  question_ =
      AskProgram(program_, options_.command_line, directory_, state_->memory());
  if (!question_.child.exists()) {
    Answer(std::move(request.connection), ErrorAnswer("cannot make a process"));
    return;
  }
  question_until_ = absl::Now() + kAnswerTime;
  change_ = Change::kAsking;
  asker_ = std::move(request.connection);
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

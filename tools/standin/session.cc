#include "session.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "init.h"
#include "proto/base/ids.h"
#include "proto/text.h"

namespace handlefs::standin {
namespace {

using proto::Opcode;

// Of requests that are longer, only the beginning is of interest later.
constexpr size_t kKeptBytes = 8192;
constexpr int kReadsInARow = 16;
constexpr auto kStopTime = std::chrono::seconds(10);
constexpr auto kDrainTime = std::chrono::seconds(5);

}  // namespace

Session::Session(const Options& options)
    : options_(options),
      coin_(options.seed),
      translator_(*options.layout, nodes_, coin_, options.fault),
      answers_(*options.layout, nodes_, translator_, complaints_),
      server_(options.command) {}

int Session::Run() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (Status started = server_.Start(); !started.ok()) {
    Say("cannot start the server: " +
        std::string(std::strerror(started.error().value())));
    return 2;
  }
  std::string why;
  auto mounted = Mount(options_.mount_point, &why);
  if (!mounted.ok()) {
    Say(why + ": " + std::strerror(mounted.error().value()));
    return 2;
  }
  mounted_ = std::move(*mounted);
  // Nothing that is mounted or unmounted is kept busy by this process.
  (void)!chdir("/");
  buffer_.resize(Server::kLargest);
  Loop();
  Detach(mounted_);
  mounted_.device.reset();
  if (server_.socket()) {
    int status = server_.Stop();
    if (status < 0) {
      complaints_.Add("the server does not end when its connection does");
    } else if (status != 0) {
      complaints_.Add("the server ended with status " + std::to_string(status));
    }
  }
  Summary();
  if (refused_) return 2;
  return complaints_.count() == 0 ? 0 : 1;
}

void Session::Loop() {
  while (state_ != State::kEnded) {
    const bool feeds =
        state_ == State::kServing && !restart_wanted_ && !server_.is_clogged();
    pollfd fds[3] = {
        {signals_.get(), POLLIN, 0},
        {server_.socket().get(),
         static_cast<short>(POLLIN | (server_.has_waiting() ? POLLOUT : 0)), 0},
        // Without events it still tells of the end.
        {mounted_.device.get(), static_cast<short>(feeds ? POLLIN : 0), 0},
    };
    // Without memory for a message POLLOUT says nothing.
    int timeout = server_.has_waiting()                             ? 10
                  : stop_signals_ > 0 || state_ == State::kDraining ? 100
                                                                    : -1;
    if (poll(fds, 3, timeout) < 0 && errno != EINTR) {
      Say(std::string("poll: ") + std::strerror(errno));
      return;
    }
    if (fds[0].revents != 0) OnSignals();
    (void)server_.Flush();
    if (fds[1].revents != 0) ReadServer();
    if (state_ == State::kServing && (feeds || fds[2].revents != 0)) {
      ReadKernel();
    }
    if (stop_signals_ > 0 && Clock::now() >= stop_at_) return;
    if (state_ != State::kEnded) ConsiderRestart();
  }
}

void Session::OnSignals() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGUSR1) {
      restart_wanted_ = true;
      continue;
    }
    Detach(mounted_);
    stop_at_ = ++stop_signals_ == 1 ? Clock::now() + kStopTime : Clock::now();
  }
}

void Session::ReadKernel() {
  for (int i = 0; i < kReadsInARow && !server_.is_clogged(); ++i) {
    ssize_t n = read(mounted_.device.get(), buffer_.data(), buffer_.size());
    if (n < 0) {
      if (errno == EINTR || errno == ENOENT) continue;
      // ENODEV: unmounted; ECONNABORTED: ended by force.
      if (errno != EAGAIN) state_ = State::kEnded;
      return;
    }
    OnRequest(Bytes(buffer_).first(static_cast<size_t>(n)));
    // One that came before the limit was reached is enough.
    if (restart_wanted_) return;
  }
}

void Session::OnRequest(Bytes message) {
  auto header = *proto::Cursor(message).Take<abi::InHeader>();
  const proto::OpRow* row = proto::FindRow(header.opcode);
  if (row != nullptr && row->op == Opcode::kInit) {
    init_request_.assign(message.begin(), message.end());
    init_to_server_ = ToServer(*options_.layout, message);
    server_.Send(init_to_server_);
    return;
  }
  if (row != nullptr && row->reply == proto::ReplyKind::kNever) {
    if (row->op == Opcode::kForget) {
      auto in =
          proto::Cursor(message.subspan(sizeof(header))).Take<abi::ForgetIn>();
      nodes_.Forget(header.nodeid, in->nlookup);
    } else if (row->op == Opcode::kBatchForget) {
      proto::Cursor cursor(message.subspan(sizeof(header)));
      auto in = cursor.Take<abi::BatchForgetIn>();
      for (uint32_t i = 0; i < in->count; ++i) {
        auto one = cursor.Take<abi::ForgetOne>();
        nodes_.Forget(one->nodeid, one->nlookup);
      }
    }
    server_.Send(Buffer(message.begin(), message.end()));
    return;
  }
  ++requests_;
  if (options_.restart_every != 0 &&
      ++since_restart_ >= options_.restart_every) {
    restart_wanted_ = true;
  }
  Exchange exchange;
  exchange.header = header;
  exchange.request.assign(message.begin(), message.end());
  Buffer out = translator_.Translate(exchange);
  if (exchange.form != Form::kPlain) ++compounds_;
  if (exchange.request.size() > kKeptBytes) {
    exchange.request.resize(kKeptBytes);
    exchange.request.shrink_to_fit();
  }
  if (exchange.op() == Opcode::kSetlkw) ++waiting_for_locks_;
  open_[header.unique] = std::move(exchange);
  largest_memory_ = std::max<uint64_t>(largest_memory_, nodes_.size());
  server_.Send(std::move(out));
}

void Session::ReadServer() {
  for (int i = 0; i < kReadsInARow && state_ != State::kEnded; ++i) {
    Bytes message;
    switch (server_.Receive(&message)) {
      case Server::Read::kNothing:
        return;
      case Server::Read::kEnd:
        ServerEnded();
        return;
      case Server::Read::kMessage:
        OnReply(message);
        break;
    }
  }
}

void Session::ServerEnded() {
  // Its last words may have been about the mount that has just gone.
  int status = server_.Stop();
  complaints_.Add("the server ended by itself, with status " +
                  std::to_string(status));
  state_ = State::kEnded;
}

void Session::OnReply(Bytes message) {
  auto header = proto::Cursor(message).Take<abi::OutHeader>();
  if (!header) {
    complaints_.Add("a message of " + std::to_string(message.size()) +
                    " bytes");
    return;
  }
  if (state_ == State::kReplaying) {
    OnReplayed(message);
    return;
  }
  if (header->unique == 0) {
    WriteKernel(message, nullptr);
    return;
  }
  if (!is_initialized_) {
    OnInitReply(message);
    return;
  }
  auto it = open_.find(header->unique);
  if (it == open_.end()) {
    // The kernel takes an answer to an INTERRUPT, too.
    if ((header->unique & kUniqueInterrupt) != 0) {
      WriteKernel(message, nullptr);
    } else {
      complaints_.Add("an answer to request " + std::to_string(header->unique) +
                      ", which is not waiting for one");
    }
    return;
  }
  Act(header->unique, answers_.Take(it->second, message));
}

void Session::Act(uint64_t unique, Verdict verdict) {
  if (!verdict.before.empty()) server_.Send(std::move(verdict.before));
  if (!verdict.again.empty()) {
    server_.Send(std::move(verdict.again));
    return;
  }
  // Whoever made the request may go on at once: nothing is left of it then.
  Exchange exchange = std::move(open_.extract(unique).mapped());
  if (exchange.op() == Opcode::kSetlkw) --waiting_for_locks_;
  WriteKernel(verdict.reply, &exchange);
}

void Session::OnInitReply(Bytes message) {
  init_reply_.assign(message.begin(), message.end());
  InitAnswer answer = ToKernel(*options_.layout, init_request_, message,
                               server_.data_limit(), complaints_);
  if (answer.agreed) {
    is_initialized_ = true;
    if (answer.has_handles) translator_.HandlesGranted();
  }
  WriteKernel(answer.reply, nullptr);
  if (!answer.agreed) return;
  if (Status attached = Attach(mounted_); !attached.ok()) {
    Say("cannot mount on " + mounted_.path + ": " +
        std::strerror(attached.error().value()));
    refused_ = true;
    state_ = State::kEnded;
  }
}

void Session::WriteKernel(Bytes message, const Exchange* exchange) {
  ssize_t n;
  do {
    n = write(mounted_.device.get(), message.data(), message.size());
  } while (n < 0 && errno == EINTR);
  // ENOENT: the request was given up, or a notification is about what the
  // kernel does not know.
  if (n >= 0 || errno == ENOENT || errno == ENODEV || errno == ECONNABORTED) {
    return;
  }
  int error = errno;
  std::string what =
      "the kernel refuses a message with " + std::string(std::strerror(error));
  if (exchange != nullptr) {
    what += ", the reply to " + proto::OpcodeName(exchange->header.opcode);
  }
  // Notifications may fail for reasons that are not the server's.
  if (exchange != nullptr || error == EINVAL) complaints_.Add(what);
}

void Session::ConsiderRestart() {
  if (!restart_wanted_ || !is_initialized_ || state_ == State::kReplaying) {
    return;
  }
  if (state_ == State::kServing) {
    const char* why = waiting_for_locks_ != 0 ? "a lock is waited for"
                                              : nodes_.WhyNotRestart();
    if (why != nullptr) {
      // Later: the same number of requests is counted again.
      ++postponed_[why];
      restart_wanted_ = false;
      since_restart_ = options_.restart_every - options_.restart_every / 8 - 1;
      return;
    }
    state_ = State::kDraining;
    drain_until_ = Clock::now() + kDrainTime;
  }
  if (open_.empty() && !server_.has_waiting()) {
    // The replies on the way may have left a node without a name.
    if (const char* why = nodes_.WhyNotRestart()) {
      ++postponed_[why];
      restart_wanted_ = false;
      state_ = State::kServing;
      return;
    }
    Restart();
  } else if (Clock::now() >= drain_until_) {
    ++postponed_["a reply takes long"];
    restart_wanted_ = false;
    since_restart_ = 0;
    state_ = State::kServing;
  }
}

void Session::Restart() {
  // Notifications that were sent before the last reply.
  Bytes message;
  while (server_.Receive(&message) == Server::Read::kMessage) OnReply(message);
  server_.Kill();
  if (Status started = server_.Start(); !started.ok()) {
    complaints_.Add("the server cannot be started again");
    state_ = State::kEnded;
    return;
  }
  server_.Send(init_to_server_);
  state_ = State::kReplaying;
}

void Session::OnReplayed(Bytes message) {
  if (!std::ranges::equal(message, init_reply_)) {
    complaints_.Add("a new server answers INIT in another way");
  }
  ++restarts_;
  restart_wanted_ = false;
  since_restart_ = 0;
  state_ = State::kServing;
}

void Session::Summary() {
  std::string text = "dialect " + std::string(options_.layout->name) +
                     ": requests " + std::to_string(requests_) +
                     ", translated " + std::to_string(compounds_) +
                     ", restarts " + std::to_string(restarts_) +
                     ", violations " + std::to_string(complaints_.count()) +
                     ", faults " + std::to_string(translator_.faults()) +
                     ", nodes at most " + std::to_string(largest_memory_);
  for (const auto& [why, times] : postponed_) {
    text += "; restart put off " + std::to_string(times) + " times: " + why;
  }
  Say(text);
}

}  // namespace handlefs::standin

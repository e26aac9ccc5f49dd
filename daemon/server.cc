#include "daemon/server.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "daemon/log.h"
#include "daemon/pending_signal.h"
#include "proto/text.h"

namespace handlefs {
namespace {

constexpr absl::Duration kDrainTime = absl::Seconds(10);
constexpr absl::Duration kHandOverTime = absl::Seconds(2);
// Ticks of 10 ms between trims of what is only kept for speed.
constexpr unsigned kTrimTicks = 100;
constexpr std::chrono::milliseconds kPublishEvery{200};

// Servers of one mount follow each other by one, so that no two are the same.
uint32_t IncarnationOf(State* state) {
  uint32_t value = 0;
  if (state != nullptr) {
    // Of the key, so that it says nothing of how often the server was started.
    return static_cast<uint32_t>(state->key()[1] +
                                 state->counters().generation.load());
  }
  while (value == 0) {
    if (getrandom(&value, sizeof(value), 0) != sizeof(value)) continue;
    value &= 0xffffff;
  }
  return value;
}

Validity ToValidity(double seconds) {
  double whole = std::floor(seconds);
  return {.seconds = static_cast<uint64_t>(whole),
          .nanoseconds = static_cast<uint32_t>((seconds - whole) * 1e9)};
}

Policy MakePolicy(const Options& options, const Negotiated& negotiated) {
  Policy policy;
  Validity validity;
  if (options.cache == Cache::kAuto) validity = ToValidity(options.timeout);
  if (options.cache == Cache::kAlways) {
    validity.seconds = std::numeric_limits<uint32_t>::max();
  }
  policy.entry = policy.attr = policy.negative = validity;
  policy.keep_cache = options.cache == Cache::kAlways;
  policy.passthrough = negotiated.flags.Has(proto::init::kPassthrough);
  policy.no_opendir = negotiated.flags.Has(proto::init::kNoOpendirSupport);
  policy.loses_interrupts = negotiated.flags.Has(proto::init::kOverIoUring);
  policy.host_locks = negotiated.flags.Has(proto::init::kPosixLocks);
  policy.exported = negotiated.flags.Has(proto::init::kExportSupport);
  policy.entry_shape = negotiated.dialect->entry;
  return policy;
}

// A signal that a program survives must not make its fsync(2) or write(2) fail
// with EINTR, which no local file system does: databases take that for data
// that is lost. Who waits for a lock, or opens what another process has a lease
// of, is woken by a signal on the host too.
bool MayCallOff(const io::Packet& packet) {
  const abi::InHeader& header = packet.raw.header;
  switch (static_cast<Opcode>(header.opcode)) {
    case Opcode::kOpen:
    case Opcode::kSetlkw:
      return true;
    default:
      return IsDying(header.pid);
  }
}

}  // namespace

TraceLevel TraceOf(const Options& options) {
  return options.trace == Switch::kOff ? TraceLevel::kOff : TraceLevel::kLines;
}

Server::Server(const Options& options, const HostFacts& facts, Nodes& nodes,
               io::DevTransport& transport, const Continuity* continuity)
    : options_(options),
      facts_(facts),
      nodes_(nodes),
      transport_(transport),
      state_(continuity == nullptr ? nullptr : &continuity->state),
      vault_(continuity == nullptr ? nullptr : &continuity->vault),
      ring_memory_(continuity == nullptr ? nullptr : continuity->rings),
      ask_(continuity == nullptr ? nullptr : continuity->ask),
      stats_(state_ == nullptr
                 ? Stats::Alone(TraceOf(options))
                 : Stats::In(state_->stats_area(), TraceOf(options))),
      files_(IncarnationOf(state_), vault_),
      ops_(nodes, files_, transport, vault_) {
  stats_->BeginServer();
  if (state_ != nullptr) {
    journal_.emplace(state_->journal(), state_->counters().generation.load());
    ops_.Restore(state_->counters().highest_backing);
  }
  if (options.offload != Offload::kNever) {
    pool_ = std::make_unique<io::OffloadPool>(
        options.threads, [this] { OnThreadStart(); },
        [this](io::Packet packet) {
          stats_->Run(packet);
          Run(std::move(packet), Place::kPool);
        });
    pool_->MayCallOff(&MayCallOff);
    pool_->OnCalledOff([this](const io::Packet& packet, Errno error) {
      stats_->End(packet, error.value());
      TraceReply(packet.raw,
                 proto::MakeErrorHeader(packet.token.unique(), error), {});
    });
  }
  transport.SetTick([this] { return Tick(); });
}

Server::~Server() {
  if (rings_ != nullptr) rings_->Stop();
}

void Server::OnProgress(std::chrono::microseconds every,
                        std::function<void()> callback) {
  report_every_ = every;
  on_progress_ = std::move(callback);
}

void Server::ReportProgress() {
  if (!on_progress_) return;
  auto now = std::chrono::steady_clock::now();
  if (now - reported_ < report_every_) return;
  auto progress = transport_.last_progress();
  if (phase_.load() == Phase::kServing && rings_ != nullptr) {
    progress = std::min(progress, rings_->last_progress());
  }
  if (progress <= reported_) return;
  reported_ = now;
  on_progress_();
}

std::string Server::failure() const {
  absl::MutexLock lock(&mutex_);
  return failure_;
}

std::string Server::Transport() const {
  if (rings_ == nullptr) {
    return transport_.kind() == io::DeviceKind::kFuse ? "over /dev/fuse"
                                                      : "over a socket";
  }
  return absl::StrCat("over io_uring (", rings_->queues(), " queues of ",
                      rings_->payload_size() >> 10, " KiB)");
}

void Server::OnThreadStart() {
  ThreadStart();
  stats_->JoinThread();
  size_t i = own_count_.fetch_add(1);
  if (i < kMaxThreads) {
    own_threads_[i].store(static_cast<uint32_t>(gettid()));
  }
}

bool Server::IsOwnThread(uint32_t tid) const {
  if (tid == 0) return false;  // not visible from here: not one of ours
  size_t n = std::min(own_count_.load(std::memory_order_relaxed), kMaxThreads);
  for (size_t i = 0; i < n; ++i) {
    if (own_threads_[i].load(std::memory_order_relaxed) == tid) return true;
  }
  return false;
}

void Server::OnMalformed(size_t size) {
  stats_->CountMalformed();
  Log(LogLevel::kWarning,
      absl::StrCat("a message of ", size, " bytes is no request"));
}

bool Server::TracesRaw() const {
  return stats_->trace() != TraceLevel::kOff &&
         Logs(LogFolder::kProto, LogLevel::kDebug);
}

void Server::TraceRequest(const proto::RawRequest& raw) const {
  if (!Traces()) return;
  std::string text = proto::ExplainRequest(raw, framing_.load()).text;
  if (auto path = PathForTrace(raw.header)) {
    text.insert(std::min(text.find('\n'), text.size()), " @ " + *path);
  }
  TellTrace(text);
  if (!TracesRaw()) return;
  auto header = std::as_bytes(std::span(&raw.header, 1));
  LogTrace(absl::StrCat("rx ", proto::HexOf(header), proto::HexOf(raw.fixed),
                        proto::HexOf(raw.tail)));
}

void Server::TellTrace(const std::string& text) const {
  if (stats_->trace() != TraceLevel::kOff) LogTrace(text);
  if (followers_.any()) followers_.Tell(text);
}

// The host's path of the node that a request is about, where it is at hand: not
// where looking for it could wait. The root's says nothing.
std::optional<std::string> Server::PathForTrace(
    const abi::InHeader& header) const {
  const proto::OpRow* row = proto::FindRow(header.opcode);
  const NodeId node{header.nodeid};
  if (row == nullptr || row->reply == proto::ReplyKind::kNever ||
      node == kNoNode || node == kRootNode ||
      phase_.load() != Phase::kServing || GoesToPool(*row, node)) {
    return std::nullopt;
  }
  auto path = nodes_.HostPath(node);
  if (!path.ok()) return std::nullopt;
  return absl::Utf8SafeCEscape(*path);
}

void Server::TraceReply(const proto::RawRequest& raw,
                        const abi::OutHeader& header,
                        proto::Bytes payload) const {
  if (!Traces()) return;
  TraceReply(proto::AskedBy(raw, framing_.load()), header, payload);
}

void Server::TraceReply(const proto::Asked& asked, const abi::OutHeader& header,
                        proto::Bytes payload) const {
  TellTrace(proto::ExplainReply(asked, header, payload).text);
  if (!TracesRaw()) return;
  LogTrace(absl::StrCat("tx ",
                        proto::HexOf(std::as_bytes(std::span(&header, 1))),
                        proto::HexOf(payload)));
}

io::LateReply Server::Defer(io::Packet& packet) const {
  const Stats::Ticket ticket = stats_->Wait(packet);
  std::optional<proto::Asked> asked;
  if (Traces()) asked = proto::AskedBy(packet.raw, framing_.load());
  io::LateReply reply = packet.token.Defer();
  reply.Watch([this, ticket, asked](const abi::OutHeader& header) {
    stats_->End(ticket, -header.error);
    if (asked) TraceReply(*asked, header, {});
  });
  return reply;
}

void Server::Start(io::Packet packet) {
  auto fail = [this](Errno error, std::string why, io::Packet& p) {
    {
      absl::MutexLock lock(&mutex_);
      failure_ = std::move(why);
    }
    phase_.store(Phase::kFailed);
    TraceReply(p.raw, proto::MakeErrorHeader(p.token.unique(), error), {});
    stats_->End(p, error.value());
    p.token.ReplyError(error);
    transport_.Stop();
  };
  auto request = proto::Decode<Opcode::kInit>(packet.raw);
  if (!request.ok()) {
    fail(request.error(), "the kernel's INIT is malformed", packet);
    return;
  }
  InitAnswer answer = Negotiate(request->in, options_, facts_);
  if (auto* refused = std::get_if<Refused>(&answer)) {
    fail(Errno(refused->error), refused->why, packet);
    return;
  }
  auto reply = [&](const abi::InitOut& out) {
    std::memcpy(packet.token.payload().data(), &out, sizeof(out));
    TraceReply(packet.raw,
               proto::MakeOutHeader(packet.token.unique(), sizeof(out)),
               packet.token.payload().first(sizeof(out)));
    stats_->End(packet, 0);
    packet.token.Reply(sizeof(out));
  };
  if (auto* again = std::get_if<TryAgain>(&answer)) {
    reply(again->out);
    return;
  }
  Negotiated& negotiated = std::get<Negotiated>(answer);
  if (negotiated.flags.Has(proto::init::kOverIoUring)) {
    absl::Status made = MakeRings(negotiated.out.max_write);
    if (!made.ok()) {
      std::string why(made.message().data(), made.message().size());
      if (options_.transport == Transport::kUring) {
        fail(Errno(EPROTO), absl::StrCat("transport=uring: ", why), packet);
        return;
      }
      stats_->NoteFallback("io_uring", why);
      Log(LogLevel::kWarning,
          absl::StrCat("FUSE over io_uring is not to be had (", why,
                       "): serving over /dev/fuse"));
      negotiated.flags.Remove(proto::init::kOverIoUring);
      negotiated.out.flags2 = negotiated.flags.high();
    }
  }
  Settle(negotiated);
  NoteSession(negotiated.out, *negotiated.dialect);
  reply(negotiated.out);
  if (rings_ != nullptr) {
    rings_->Start();
    transport_.LetForgetsGather();
  }
  if (on_serving_) on_serving_();
  Log(LogLevel::kDebug,
      absl::StrCat("INIT: the kernel's protocol is 7.", request->in.minor,
                   ", answered 7.", negotiated.out.minor, ", flags 0x",
                   absl::Hex(negotiated.out.flags), " 0x",
                   absl::Hex(negotiated.out.flags2), ", max_write ",
                   negotiated.out.max_write),
      {.op = "INIT"});
  if (negotiated.dialect != &proto::MainlineDialect() ||
      !negotiated.evidence.empty()) {
    Log(LogLevel::kInfo,
        absl::StrCat("dialect ", std::string(negotiated.dialect->name),
                     negotiated.evidence.empty() ? "" : ": ",
                     negotiated.evidence));
  }
}

void Server::Settle(const Negotiated& negotiated) {
  ops_.policy() = MakePolicy(options_, negotiated);
  if (options_.passthrough == Passthrough::kAuto &&
      !negotiated.flags.Has(proto::init::kPassthrough)) {
    stats_->NoteFallback("passthrough",
                         facts_.can_register_backing
                             ? "the kernel does not offer it (Linux 6.9)"
                             : "it needs root and /dev/fuse");
  }
  dialect_.store(negotiated.dialect);
  if (negotiated.dialect->has_compounds()) framing_ = negotiated.dialect;
  if (negotiated.dialect->handles_everywhere) nodes_.KernelKeepsHandles();
  transport_.SetSetxattrSize(
      negotiated.flags.Has(proto::init::kSetxattrExt) ? 16 : 8);
  phase_.store(Phase::kServing);
}

void Server::NoteSession(const abi::InitOut& out,
                         const proto::Dialect& dialect) {
  if (state_ == nullptr) return;
  SessionRecord session{.init = out, .dialect = {}, .framing = {}};
  dialect.name.copy(session.dialect.data(), session.dialect.size() - 1);
  if (const proto::Dialect* framing = framing_.load()) {
    framing->name.copy(session.framing.data(), session.framing.size() - 1);
  }
  state_->SetSession(session);
}

absl::Status Server::Resume(const SessionRecord& session) {
  Negotiated negotiated;
  negotiated.out = session.init;
  negotiated.flags =
      proto::InitFlags::FromWire(session.init.flags, session.init.flags2);
  negotiated.dialect = proto::FindDialect(session.dialect.data());
  if (negotiated.dialect == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("the mount speaks dialect ", session.dialect.data(),
                     ", which this program does not know"));
  }
  const bool over_rings = negotiated.flags.Has(proto::init::kOverIoUring);
  if (over_rings) {
    absl::Status made = MakeRings(negotiated.out.max_write);
    if (!made.ok()) return made;
  }
  Settle(negotiated);
  if (session.framing[0] != '\0') {
    framing_ = proto::FindDialect(session.framing.data());
  }
  if (Status sent = transport_.Notify(proto::Resend(), {}); !sent.ok()) {
    return absl::ErrnoToStatus(
        sent.error().value(),
        "the kernel does not send unanswered requests again");
  }
  // Nothing waits on the clones of earlier servers any more.
  for (const Vault::Item& clone : vault_->Inherited(Vault::Kind::kClone)) {
    vault_->Erase(clone.ref);
  }
  if (over_rings) {
    rings_->Start();
    // Whoever is told that it serves has each CPU ask something, which an entry
    // must be there for.
    rings_->WaitUntilRegistered();
    transport_.LetForgetsGather();
  }
  return absl::OkStatus();
}

absl::Status Server::MakeRings(size_t max_write) {
  auto cpus = io::ReadCpus();
  if (!cpus.ok()) return cpus.status();
  auto rings = io::UringTransport::Create(
      transport_.device(), *cpus,
      {.payload_size = io::PayloadSize(max_write),
       .max_lanes = options_.threads,
       .scheduling = options_.scheduling,
       .memory = ring_memory_,
       .report =
           [this](const std::string& what) {
             stats_->NoteFallback("io_uring", what);
             LogOf(LogFolder::kIo, LogLevel::kWarning,
                   absl::StrCat("io_uring: ", what));
           },
       .ask = ask_},
      *this);
  if (!rings.ok()) return rings.status();
  rings_ = *std::move(rings);
  if (journal_) journal_->SetBehind(Journal::kMostBehind);
  return absl::OkStatus();
}

bool Server::GoesToPool(const proto::OpRow& row, NodeId node) const {
  if (pool_ == nullptr || (row.flags & proto::kDevOnly) != 0) return false;
  if (options_.offload == Offload::kAlways) return true;
  if (nodes_.file_systems().main().is_remote) return true;
  return IsTableId(node) && nodes_.FsOf(node).is_remote;
}

void Server::Interrupt(Unique target) {
  if (ops_.waiters().Interrupt(target)) return;
  // Answered meanwhile, or on its way to the waiters on another thread, which
  // may be one of the pool's.
  if (pool_ != nullptr) (void)pool_->Interrupt(target);
  ops_.waiters().NoteEarlyInterrupt(target);
}

io::Activity Server::Tick() {
  io::Activity activity = io::Activity::kIdle;
  // What INIT makes may be looked at once it serves.
  if (phase_.load() == Phase::kServing && rings_ != nullptr) {
    activity = rings_->Tick();
  }
  ReportProgress();
  PublishGauges();
  if (pool_ != nullptr) pool_->Tick();
  if (++ticks_ % kTrimTicks == 0) nodes_.Trim();
  absl::Time now = absl::Now();
  nodes_.Tick(now);
  if (journal_) journal_->Tick(now);
  int refusal = ops_.backings().last_refusal();
  if (refusal != told_refusal_) {
    told_refusal_ = refusal;
    stats_->NoteFallback("passthrough",
                         absl::StrCat("the kernel refuses it for some files: ",
                                      std::strerror(refusal)));
    Log(LogLevel::kWarning,
        absl::StrCat("the kernel refuses passthrough for some files (",
                     std::strerror(refusal),
                     "): their data goes through the server"));
  }
  return activity;
}

void Server::PublishGauges() {
  const auto now = std::chrono::steady_clock::now();
  if (now - published_ < kPublishEvery) return;
  published_ = now;
  const Nodes::Stats nodes = nodes_.stats();
  stats_->SetGauges({.nodes = nodes.table.entries,
                     .node_bytes = nodes.table.bytes,
                     .node_descriptors = nodes.table.descriptors,
                     .pins = nodes.pins,
                     .open_files = files_.size(),
                     .lock_waiters = ops_.waiters().size(),
                     .dropped_tokens = io::Token::dropped()});
}

void Server::HandOver() {
  if (rings_ != nullptr && !rings_->HandOver(absl::Now() + kHandOverTime)) {
    Log(LogLevel::kWarning,
        "io_uring: a queue that hangs is left as it is; requests that were on "
        "their way to it end with ECANCELED");
  }
  if (pool_ != nullptr) pool_->Drain(kHandOverTime);
}

void Server::Drain() {
  if (pool_ != nullptr) pool_->Drain(kDrainTime);
}

}  // namespace handlefs

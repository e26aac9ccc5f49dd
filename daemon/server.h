// The session: takes packets from a transport, knows which state it is in, and
// gives each request to its op (dispatch.cc).
//
//   starting -> serving -> draining
//
// Only INIT is answered while starting; a second INIT never is. Draining is
// serving with the mount gone.
#ifndef HANDLEFS_DAEMON_SERVER_H_
#define HANDLEFS_DAEMON_SERVER_H_

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "daemon/control/followers.h"
#include "daemon/negotiate.h"
#include "daemon/ops.h"
#include "daemon/options.h"
#include "daemon/restart/journal.h"
#include "daemon/restart/state.h"
#include "daemon/stats/stats.h"
#include "io/dev_transport.h"
#include "io/offload.h"
#include "io/slot.h"
#include "io/transport.h"
#include "io/uring_transport.h"
#include "proto/explain.h"

namespace handlefs {

// What a server is given that goes on where an earlier one ended, or that may
// be followed by another. All of it outlives the server.
struct Continuity {
  State& state;
  Vault& vault;
  io::UringMemory* rings = nullptr;  // null: buffers end with the server
  // Has another process ask the mount for something, so often, on that CPU.
  std::function<void(uint16_t cpu, size_t times)> ask = nullptr;
};

// What is traced from the start.
TraceLevel TraceOf(const Options& options);

class Server final : public io::PacketHandler {
 public:
  enum class Phase { kStarting, kServing, kFailed };
  // `nodes` and `transport` outlive the server. `continuity`: null if it ends
  // with the process.
  Server(const Options& options, const HostFacts& facts, Nodes& nodes,
         io::DevTransport& transport, const Continuity* continuity = nullptr);
  ~Server() override;

  // Called once, on a reader thread, when INIT was answered.
  void OnServing(std::function<void()> callback) {
    on_serving_ = std::move(callback);
  }
  // Goes on with the session that INIT settled for an earlier server, and has
  // the kernel send again what that one left unanswered. Before Run.
  // FAILED_PRECONDITION: this program cannot go on with that session.
  absl::Status Resume(const SessionRecord& session);
  // `callback` is called each `every`, on the watchdog's thread, as long as
  // requests get on: not when no thread that takes requests has moved since the
  // call before. To be set before the transport runs.
  void OnProgress(std::chrono::microseconds every,
                  std::function<void()> callback);
  // What is counted; anybody may read it.
  Stats& stats() { return *stats_; }
  const OpenFiles& files() const { return files_; }
  // Who gets the trace, whether it goes to the log or not.
  Followers& followers() { return followers_; }
  // How requests come, for people; once it serves.
  std::string Transport() const;
  Phase phase() const { return phase_.load(); }
  // Why the phase is kFailed; one line.
  std::string failure() const;

  // Waits for requests that wait elsewhere; locks that wait end with EINTR.
  void Drain();
  // After Run, for a successor: what has begun ends, for a while; nothing new
  // begins, and what waits is not answered.
  void HandOver();

  void OnPacket(io::Packet packet) override;
  void OnMalformed(size_t size) override;
  void OnThreadStart() override;

 private:
  friend struct Dispatch;

  void Start(io::Packet packet);
  void Settle(const Negotiated& negotiated);
  void NoteSession(const abi::InitOut& out, const proto::Dialect& dialect);
  void Run(io::Packet packet, Place place);
  void CountResent(const Intent& intent);
  // One request of the kind that has an answer; `out` gets the payload.
  Status Answer(OpContext context, const proto::RawRequest& raw,
                ReplyBuffer& out);
  // compound.cc
  Status RunCompound(OpContext context, const proto::RawRequest& raw,
                     ReplyBuffer& out);
  const proto::Dialect* FramingOf(proto::Bytes body);
  const proto::Dialect& dialect() const { return *dialect_.load(); }
  Status Vouch(NodeId node, const std::optional<proto::Bytes>& handle);
  bool GoesToPool(const proto::OpRow& row, NodeId node) const;
  bool IsOwnThread(uint32_t tid) const;
  void Interrupt(Unique target);
  io::Activity Tick();
  void ReportProgress();
  // Threads and rings of the queues, before INIT is answered. Why not.
  absl::Status MakeRings(size_t max_write);
  // The trace; with raw messages (handlefs-trace) for log_level=debug.
  bool Traces() const {
    return stats_->trace() != TraceLevel::kOff || followers_.any();
  }
  bool TracesRaw() const;
  void TraceRequest(const proto::RawRequest& raw) const;
  std::optional<std::string> PathForTrace(const abi::InHeader& header) const;
  void TellTrace(const std::string& text) const;
  void TraceReply(const proto::RawRequest& raw, const abi::OutHeader& header,
                  proto::Bytes payload) const;
  void TraceReply(const proto::Asked& asked, const abi::OutHeader& header,
                  proto::Bytes payload) const;
  // Gives the buffers back; the reply comes later and is traced then.
  io::LateReply Defer(io::Packet& packet) const;
  void PublishGauges();

  const Options options_;
  const HostFacts facts_;
  Nodes& nodes_;
  io::DevTransport& transport_;
  State* const state_;
  Vault* const vault_;
  io::UringMemory* const ring_memory_;
  const std::function<void(uint16_t, size_t)> ask_;
  // Before all that counts.
  const std::unique_ptr<Stats> stats_;
  mutable Followers followers_;
  std::optional<Journal> journal_;
  std::function<void()> on_serving_;
  OpenFiles files_;
  // Outlives what holds requests: ops_ and pool_.
  std::unique_ptr<io::UringTransport> rings_;
  Ops ops_;
  std::unique_ptr<io::OffloadPool> pool_;
  std::atomic<Phase> phase_{Phase::kStarting};
  // Settled by INIT; the framing of compounds, where options leave it open, by
  // the first compound.
  std::atomic<const proto::Dialect*> dialect_{&proto::MainlineDialect()};
  std::atomic<const proto::Dialect*> framing_{nullptr};
  mutable absl::Mutex mutex_;
  std::string failure_ ABSL_GUARDED_BY(mutex_);
  // Thread ids of this process that serve: a request from one of them would
  // wait for itself.
  static constexpr size_t kMaxThreads = 1024;
  std::array<std::atomic<uint32_t>, kMaxThreads> own_threads_{};
  std::atomic<size_t> own_count_{0};
  std::atomic<bool> told_own_request_{false};
  int told_refusal_ = 0;  // of the tick
  unsigned ticks_ = 0;
  std::chrono::microseconds report_every_{};
  std::function<void()> on_progress_;
  std::chrono::steady_clock::time_point reported_{};   // of the tick
  std::chrono::steady_clock::time_point published_{};  // of the tick
};

}  // namespace handlefs

#endif  // HANDLEFS_DAEMON_SERVER_H_

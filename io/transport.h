// The contract between the transports, which move bytes, and the server above
// them, which cannot tell by which transport a request came.
//
// Threads: a transport calls PacketHandler::OnPacket on one of its own reader
// threads, one packet at a time per reader. A Token may be answered on any
// thread; the fast path is the thread that OnPacket runs on, where the reply
// leaves together with the next read.
// Lifetime: the bytes of a packet and of its reply buffer belong to the
// transport and stay valid until the token is used. A transport outlives its
// tokens.
// Exactly once: every token ends in Reply, ReplyError, NoReply or Defer. One
// that dies unused answers EIO and is counted.
#ifndef HANDLEFS_IO_TRANSPORT_H_
#define HANDLEFS_IO_TRANSPORT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <utility>

#include "io/base/fd.h"
#include "proto/base/errno.h"
#include "proto/base/ids.h"
#include "proto/cursor.h"
#include "proto/notify.h"
#include "proto/reply.h"

namespace handlefs::io {

// Why a transport stopped serving.
enum class StopReason {
  kUnmounted,   // ENODEV: the last user of the mount is gone
  kAborted,     // ECONNABORTED: the connection was ended by force
  kPeerClosed,  // the other end of the socket is closed
  kStopped,     // Stop() was called
  kReadError,   // read failed in a way that has no name here
};
std::string_view Describe(StopReason reason);

// Whether requests came, or are being worked on, since one looked last.
enum class Activity { kIdle, kBusy };

// Where the reply of a request goes when its buffers are no longer wanted.
class ReplyPort {
 public:
  virtual ~ReplyPort() = default;
  virtual void SendHeader(const abi::OutHeader& header) = 0;
};

// The promise of a header-only reply, without a buffer: what a waiting lock
// keeps. Move-only; answers EIO if it dies unused. Any thread.
class LateReply {
 public:
  LateReply() = default;
  LateReply(ReplyPort* port, Unique unique) : port_(port), unique_(unique) {}
  LateReply(LateReply&& other) noexcept
      : port_(std::exchange(other.port_, nullptr)),
        unique_(other.unique_),
        watch_(std::move(other.watch_)) {}
  LateReply& operator=(LateReply&& other) noexcept {
    if (this != &other) {
      Drop();
      port_ = std::exchange(other.port_, nullptr);
      unique_ = other.unique_;
      watch_ = std::move(other.watch_);
    }
    return *this;
  }
  ~LateReply() { Drop(); }
  Unique unique() const { return unique_; }
  // Called with the reply before it is sent, whoever does that.
  void Watch(std::function<void(const abi::OutHeader&)> watch) {
    watch_ = std::move(watch);
  }
  void Send(Status status);

 private:
  void Drop() {
    if (port_ != nullptr) Send(Errno(EIO));
  }
  ReplyPort* port_ = nullptr;
  Unique unique_{0};
  std::function<void(const abi::OutHeader&)> watch_;
};

// One request in the server's hands, with the buffers for it and its reply.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual void Finish(const abi::OutHeader& header) = 0;
  virtual void FinishSilently() = 0;
  virtual LateReply Release(Unique unique) = 0;
  // Where a reply's payload is built: page-aligned.
  std::span<std::byte> payload() const { return payload_; }

 protected:
  std::span<std::byte> payload_;
};

class Token {
 public:
  Token(Exchange* exchange, Unique unique)
      : exchange_(exchange), unique_(unique) {}
  Token(Token&& other) noexcept
      : exchange_(std::exchange(other.exchange_, nullptr)),
        unique_(other.unique_) {}
  Token& operator=(Token&& other) noexcept {
    if (this != &other) {
      Drop();
      exchange_ = std::exchange(other.exchange_, nullptr);
      unique_ = other.unique_;
    }
    return *this;
  }
  ~Token() { Drop(); }

  Unique unique() const { return unique_; }
  std::span<std::byte> payload() const { return exchange_->payload(); }

  // `payload` bytes were written to payload().
  void Reply(size_t payload) {
    Take()->Finish(proto::MakeOutHeader(unique_, payload));
  }
  void ReplyError(Errno error) {
    Take()->Finish(proto::MakeErrorHeader(unique_, error));
  }
  void NoReply() { Take()->FinishSilently(); }
  // Gives the buffers back now and answers later, header only.
  LateReply Defer() { return Take()->Release(unique_); }

  // Tokens that died unused since the start of the process: always a bug.
  static uint64_t dropped();

 private:
  Exchange* Take() { return std::exchange(exchange_, nullptr); }
  void Drop();
  Exchange* exchange_;
  Unique unique_;
};

struct Packet {
  // kAgain: an earlier server may have executed it, and has not answered.
  enum class Origin : uint8_t { kNew, kAgain };
  proto::RawRequest raw;
  Token token;
  Origin origin = Origin::kNew;
  // The handler's own: since when it has it, and where that is noted.
  int64_t began_ns = 0;
  uint32_t seat = 0;
};

class PacketHandler {
 public:
  virtual ~PacketHandler() = default;
  virtual void OnPacket(Packet packet) = 0;
  // A message that is no request, or that did not fit the buffer. The transport
  // has answered it where it could; this is for counting.
  virtual void OnMalformed(size_t size) = 0;
  // Called once on every thread of the transport before it serves.
  virtual void OnThreadStart() = 0;
};

// What the server may do with the connection besides answering. Thread-safe.
class Connection {
 public:
  virtual ~Connection() = default;
  // ENOENT where the kernel does not know the node: not a failure. Must not be
  // called with a lock that a handler takes. INVAL_ENTRY and DELETE take the
  // directory's lock in the kernel and may not be sent by a thread that serves
  // requests; INVAL_INODE of attributes takes none.
  virtual Status Notify(const proto::Notification& head, proto::Bytes data) = 0;
  Status Notify(const proto::Notification& head) { return Notify(head, {}); }
  // EOPNOTSUPP where the connection is a socket; else see protocol.md 10.2:
  // EPERM without CAP_SYS_ADMIN, ELOOP where the host file system is stacked
  // too deep. The caller's credentials become those of the backing I/O.
  virtual Result<BackingId> OpenBacking(BorrowedFd fd) = 0;
  virtual Status CloseBacking(BackingId id) = 0;
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_TRANSPORT_H_

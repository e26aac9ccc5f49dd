// One descriptor that requests are read from. A reply must be written to the
// descriptor its request was read from (the kernel searches there only), so
// slots and late replies remember their port. Ports live as long as the
// transport.
#ifndef HANDLEFS_IO_DEV_PORT_H_
#define HANDLEFS_IO_DEV_PORT_H_

#include <atomic>
#include <cstdint>
#include <span>
#include <thread>

#include "io/base/fd.h"
#include "io/transport.h"

namespace handlefs::io {

class Slot;

class DevPort final : public ReplyPort {
 public:
  enum class Outcome : uint8_t {
    kAway,    // the request went elsewhere; its slot comes back to the pool
    kReply,   // the slot holds a reply, to be sent with the next read
    kSilent,  // the slot is free again
  };

  explicit DevPort(BorrowedFd fd) : fd_(fd) {}
  BorrowedFd fd() const { return fd_; }

  // The reader thread brackets the work on one request with these two.
  void Begin(const Slot* slot) {
    outcome_ = Outcome::kAway;
    // Not for each request: a thread that answers one of ours late may be
    // reading it.
    if (auto self = std::this_thread::get_id(); reader_ != self) reader_ = self;
    working_on_.store(slot, std::memory_order_relaxed);
  }
  Outcome End() {
    working_on_.store(nullptr, std::memory_order_relaxed);
    return outcome_;
  }

  // True if this is the reader thread and the slot is the one it works on: then
  // the reply leaves in the reader's next submission instead of a call of its
  // own.
  bool TakeBack(const Slot* slot, Outcome outcome) {
    if (working_on_.load(std::memory_order_relaxed) != slot ||
        reader_ != std::this_thread::get_id()) {
      return false;
    }
    outcome_ = outcome;
    return true;
  }

  // Any thread. An ENOENT of the kernel means that the request is gone
  // (aborted): nobody waits for the answer.
  void Write(std::span<const std::byte> message);
  void SendHeader(const abi::OutHeader& header) override;

  // Replies that the kernel refused for another reason than ENOENT: a bug.
  static uint64_t refused();
  static void CountRefused(int error);

 private:
  const BorrowedFd fd_;
  std::atomic<const Slot*> working_on_{nullptr};
  // Both belong to the reader thread, except that other threads compare reader_
  // when working_on_ matched: it is written once, before the first request.
  std::thread::id reader_;
  Outcome outcome_ = Outcome::kAway;
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_DEV_PORT_H_

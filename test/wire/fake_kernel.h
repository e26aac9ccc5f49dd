// The kernel's side of a connection, played by a test: whole messages over a
// SOCK_SEQPACKET socketpair whose other end the daemon serves.
//
// Checked with every message that comes from the daemon, without asking: its
// length, the range of its error, that an error comes bare, that a success has
// the size which the opcode table promises, and that it answers a request which
// wants an answer and has none yet. What is wrong throws WireFailure.
#ifndef HANDLEFS_TEST_WIRE_FAKE_KERNEL_H_
#define HANDLEFS_TEST_WIRE_FAKE_KERNEL_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/base/fd.h"
#include "message.h"
#include "process.h"
#include "proto/abi.h"
#include "proto/flags.h"
#include "proto/opcode.h"

namespace handlefs::test {

// What Linux 6.18 offers.
proto::InitFlags OfferedFlags();

class FakeKernel {
 public:
  enum class Handshake { kDone, kLeftToTest };
  struct Setup {
    std::vector<std::string> options = {};
    Handshake handshake = Handshake::kDone;
    uint32_t minor = 45;
    proto::InitFlags offered = OfferedFlags();
  };

  explicit FakeKernel(const std::filesystem::path& source);
  FakeKernel(const std::filesystem::path& source, const Setup& setup);
  // Ends the connection as Stop does, unless a failure is under way.
  ~FakeKernel() noexcept(false);
  FakeKernel(const FakeKernel&) = delete;
  FakeKernel& operator=(const FakeKernel&) = delete;

  static Message InitMessage(uint32_t major, uint32_t minor,
                             proto::InitFlags offered);
  // The daemon's answer to INIT.
  const abi::InitOut& init() const { return init_; }
  proto::InitFlags granted() const {
    return proto::InitFlags::FromWire(init_.flags, init_.flags2);
  }

  // Sends and does not wait. The message gets a unique unless it has one.
  uint64_t Send(Message message);
  // A request as bytes, whatever they say of themselves, with its unique.
  uint64_t SendBytes(std::string_view bytes);
  // Bytes that need not be a request; nothing is expected for them.
  void SendRaw(std::string_view bytes);
  // The answer to one request; others that come meanwhile are kept. Ten seconds
  // without it are a failure.
  Answer Receive(uint64_t unique);
  Answer Call(const Message& message) { return Receive(Send(message)); }
  bool Answered(uint64_t unique) const { return answers_.contains(unique); }
  // A round trip: whatever was sent before has been read by the daemon. Fails
  // if a request was answered that wants no answer, or one twice.
  void Barrier();
  // Closes the connection, reads what is left, and expects the daemon to end
  // with this exit status.
  void Stop(int status = 0);

  DaemonProcess& process() { return *process_; }
  size_t notifications() const { return notifications_; }
  size_t unanswered() const { return waiting_.size(); }

  // Requests as the kernel makes them. `node` is a nodeid.
  Answer Lookup(uint64_t dir, std::string_view name);
  Answer Getattr(uint64_t node);
  Answer Open(uint64_t node, uint32_t flags);
  Answer Opendir(uint64_t node);
  Answer Create(uint64_t dir, std::string_view name, uint32_t flags,
                uint32_t mode);
  Answer Mkdir(uint64_t dir, std::string_view name, uint32_t mode);
  Answer Read(uint64_t node, uint64_t fh, uint64_t offset, uint32_t size);
  Answer Write(uint64_t node, uint64_t fh, uint64_t offset,
               std::string_view data);
  Answer Release(proto::Opcode op, uint64_t node, uint64_t fh, uint32_t flags);
  Answer Readdir(proto::Opcode op, uint64_t node, uint64_t fh, uint64_t offset,
                 uint32_t size);
  Message LockMessage(proto::Opcode op, uint64_t node, uint64_t fh,
                      uint64_t owner, const abi::FileLock& lock,
                      uint32_t flags = 0) const;
  void Forget(uint64_t node, uint64_t nlookup);

  // The same where success is a matter of course.
  uint64_t Node(uint64_t dir, std::string_view name);
  uint64_t OpenFh(uint64_t node, uint32_t flags);
  static std::vector<ListedEntry> Entries(proto::Opcode op,
                                          std::string_view page);

 private:
  Answer Parse(const std::string& bytes);
  bool ReceiveOne();

  UniqueFd socket_;
  std::unique_ptr<DaemonProcess> process_;
  abi::InitOut init_{};
  uint64_t next_unique_ = 2;
  std::map<uint64_t, uint32_t> waiting_;  // unique, opcode
  std::map<uint64_t, Answer> answers_;
  std::string buffer_;
  size_t notifications_ = 0;
  int exceptions_at_start_ = 0;
  bool stopped_ = false;
};

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_WIRE_FAKE_KERNEL_H_

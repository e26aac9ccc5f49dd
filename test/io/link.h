// Both ends of a connection: a SOCK_SEQPACKET socketpair stands in for the
// device, and the test is the kernel.
#ifndef HANDLEFS_TEST_IO_LINK_H_
#define HANDLEFS_TEST_IO_LINK_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "io/base/fd.h"
#include "io/dev_transport.h"
#include "io/transport.h"
#include "message.h"

namespace handlefs::test {

// An opcode that no row has: its whole body arrives as the tail.
inline constexpr uint32_t kEchoOpcode = 3999;

// The kernel's end.
class Peer {
 public:
  explicit Peer(UniqueFd socket) : socket_(std::move(socket)) {}
  bool SendBytes(std::string_view bytes);
  bool Send(const Message& message) { return SendBytes(message.Encode()); }
  // The next message as it came; nothing if the other end is closed or silent
  // for too long.
  std::optional<std::string> ReceiveBytes();
  // The next answer, whose header was checked; one with unique 0 if it is bad.
  Answer Receive();
  // Nothing has arrived that was not received.
  bool Quiet() const;
  void Close() { socket_.reset(); }
  BorrowedFd fd() const { return socket_; }

 private:
  UniqueFd socket_;
};

struct Link {
  Link();
  UniqueFd device;
  Peer peer;
};

Message EchoMessage(uint64_t unique, std::string_view body);

// Gives each packet to a function; by default the body is sent back.
class Handler final : public io::PacketHandler {
 public:
  using Function = std::function<void(io::Packet)>;
  Handler() : function_(&Echo) {}
  explicit Handler(Function function) : function_(std::move(function)) {}
  static void Echo(io::Packet packet);

  void OnPacket(io::Packet packet) override {
    function_(std::move(packet));
    packets.fetch_add(1);
  }
  void OnMalformed(size_t size) override {
    malformed.fetch_add(1);
    malformed_size.store(size);
  }
  void OnThreadStart() override { threads.fetch_add(1); }

  std::atomic<int> threads{0};
  std::atomic<int> packets{0};  // that the function has returned from
  std::atomic<int> malformed{0};
  std::atomic<size_t> malformed_size{0};

 private:
  const Function function_;
};

// kPlain: the kernel refuses io_uring_setup to the thread, as where io_uring is
// forbidden.
enum class Engine { kRing, kPlain };
// For the rest of the calling thread's life, and for the threads it makes.
bool ForbidIoUring();

// A transport that serves on a thread of its own.
class Serving {
 public:
  Serving(Engine engine, io::PacketHandler& handler,
          const io::DevTransport::Config& config = {});
  ~Serving();
  // Waits for the end of Run.
  io::DevTransport::End End();

  Peer& peer() { return link_.peer; }
  io::DevTransport& transport() { return *transport_; }

 private:
  Link link_;
  std::unique_ptr<io::DevTransport> transport_;
  std::thread thread_;
  io::DevTransport::End end_{};
};

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_IO_LINK_H_

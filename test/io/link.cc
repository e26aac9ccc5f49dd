#include "link.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "waiting.h"

namespace handlefs::test {
namespace {

constexpr int kBuffer = 4 << 20;

void Widen(int socket) {
  for (int option : {SO_SNDBUFFORCE, SO_RCVBUFFORCE}) {
    (void)setsockopt(socket, SOL_SOCKET, option, &kBuffer, sizeof(kBuffer));
  }
}

UniqueFd MakePair(UniqueFd& other) {
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
  Widen(fds[0]);
  Widen(fds[1]);
  other = UniqueFd(fds[1]);
  return UniqueFd(fds[0]);
}

constexpr int kMilliseconds =
    static_cast<int>(std::chrono::milliseconds(kLimit).count());

}  // namespace

bool Peer::SendBytes(std::string_view bytes) {
  return send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

std::optional<std::string> Peer::ReceiveBytes() {
  pollfd fd{socket_.get(), POLLIN, 0};
  if (poll(&fd, 1, kMilliseconds) != 1) return std::nullopt;
  ssize_t size = recv(socket_.get(), nullptr, 0, MSG_PEEK | MSG_TRUNC);
  if (size <= 0) return std::nullopt;
  std::string bytes(static_cast<size_t>(size), '\0');
  if (recv(socket_.get(), bytes.data(), bytes.size(), 0) != size) {
    return std::nullopt;
  }
  return bytes;
}

Answer Peer::Receive() {
  auto bytes = ReceiveBytes();
  abi::OutHeader header{};
  if (!bytes || bytes->size() < sizeof(header)) return {};
  std::memcpy(&header, bytes->data(), sizeof(header));
  if (header.len != bytes->size() || header.error > 0) return {};
  return {.unique = header.unique,
          .error = -header.error,
          .payload = bytes->substr(sizeof(header))};
}

bool Peer::Quiet() const {
  pollfd fd{socket_.get(), POLLIN, 0};
  return poll(&fd, 1, 0) == 0;
}

Link::Link() : peer(MakePair(device)) {}

Message EchoMessage(uint64_t unique, std::string_view body) {
  return Message(kEchoOpcode, 1).Data(body).WithUnique(unique);
}

void Handler::Echo(io::Packet packet) {
  proto::Bytes body = packet.raw.tail;
  std::copy(body.begin(), body.end(), packet.token.payload().begin());
  packet.token.Reply(body.size());
}

bool ForbidIoUring() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{.len = static_cast<unsigned short>(std::size(filter)),
                     .filter = filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

Serving::Serving(Engine engine, io::PacketHandler& handler,
                 const io::DevTransport::Config& config) {
  auto transport = io::DevTransport::Create(std::move(link_.device), config);
  REQUIRE(transport.ok());
  transport_ = std::move(*transport);
  thread_ = std::thread([this, engine, &handler] {
    if (engine == Engine::kPlain && !ForbidIoUring()) return;
    end_ = transport_->Run(handler);
  });
}

Serving::~Serving() {
  transport_->Stop();
  if (thread_.joinable()) thread_.join();
}

io::DevTransport::End Serving::End() {
  thread_.join();
  return end_;
}

}  // namespace handlefs::test

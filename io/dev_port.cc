#include "io/dev_port.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace handlefs::io {
namespace {
std::atomic<uint64_t> refused_replies{0};
}  // namespace

uint64_t DevPort::refused() {
  return refused_replies.load(std::memory_order_relaxed);
}

void DevPort::CountRefused(int error) {
  // ENODEV and the like: the connection ended while the request was worked on.
  if (error == ENOENT || error == ENODEV || error == ECONNABORTED ||
      error == EPIPE || error == ECONNRESET) {
    return;
  }
  refused_replies.fetch_add(1, std::memory_order_relaxed);
}

void DevPort::Write(std::span<const std::byte> message) {
  ssize_t n;
  do {
    n = ::write(fd_.get(), message.data(), message.size());
  } while (n < 0 && errno == EINTR);
  if (n < 0) CountRefused(errno);
}

void DevPort::SendHeader(const abi::OutHeader& header) {
  Write(std::as_bytes(std::span(&header, 1)));
}

}  // namespace handlefs::io

#include "io/transport.h"

#include <atomic>

namespace handlefs::io {
namespace {
std::atomic<uint64_t> dropped_tokens{0};
}  // namespace

std::string_view Describe(StopReason reason) {
  switch (reason) {
    case StopReason::kUnmounted:
      return "unmounted";
    case StopReason::kAborted:
      return "connection aborted";
    case StopReason::kPeerClosed:
      return "peer closed the socket";
    case StopReason::kStopped:
      return "stopped";
    case StopReason::kReadError:
      return "read error";
  }
  return "unknown";
}

void LateReply::Send(Status status) {
  ReplyPort* port = std::exchange(port_, nullptr);
  if (port == nullptr) return;
  const abi::OutHeader header =
      status.ok() ? proto::MakeOutHeader(unique_, 0)
                  : proto::MakeErrorHeader(unique_, status.error());
  if (watch_) watch_(header);
  port->SendHeader(header);
}

void Token::Drop() {
  if (exchange_ == nullptr) return;
  dropped_tokens.fetch_add(1, std::memory_order_relaxed);
  ReplyError(Errno(EIO));
}

uint64_t Token::dropped() {
  return dropped_tokens.load(std::memory_order_relaxed);
}

}  // namespace handlefs::io

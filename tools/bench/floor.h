// The floor: a server that gives the same answer to everything and looks at
// nothing, on our own transports. No server on this machine can be faster, so
// what others cost above it is what they do.
//
// It answers GETXATTR with ENODATA, every LOOKUP with one regular file, GETATTR
// with constants, OPEN with a file of no content; everything else is ENOSYS.
#ifndef HANDLEFS_TOOLS_BENCH_FLOOR_H_
#define HANDLEFS_TOOLS_BENCH_FLOOR_H_

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "io/base/fd.h"
#include "io/transport.h"
#include "proto/flags.h"

namespace handlefs::bench {

// Answers; any transport may call it, on any number of threads.
class FloorHandler final : public io::PacketHandler {
 public:
  // What a transport adds to INIT: a bit that the kernel must offer, what to do
  // before the answer (false refuses the mount) and after it.
  struct Extension {
    proto::init::Bit bit;
    std::function<bool()> prepare;
    std::function<void()> start;
  };
  explicit FloorHandler(std::optional<Extension> extension = std::nullopt)
      : extension_(std::move(extension)) {}
  void OnPacket(io::Packet packet) override;
  void OnMalformed(size_t) override {}
  void OnThreadStart() override {}

 private:
  void AnswerInit(io::Packet& packet);
  const std::optional<Extension> extension_;
};

// A transport that the floor runs on: one row for each.
struct FloorKind {
  const char* transport;
  // Whether this kernel has it.
  bool (*available)();
  // Serves the mounted device until it is unmounted; the exit status.
  int (*serve)(UniqueFd device);
};
std::span<const FloorKind> Floors();
const FloorKind* FindFloor(const std::string& transport);

// In a process of its own: mounts and serves. The exit status; stderr says why.
int RunFloor(const FloorKind& kind, const std::string& mount_point);

}  // namespace handlefs::bench

#endif  // HANDLEFS_TOOLS_BENCH_FLOOR_H_

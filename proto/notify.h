// Messages that the server sends unasked. Encoding only; who may send one, and
// when, is written in io/transport.h.
//
// What the kernel's write(2) of one answers (7.45): ENOENT where the node or
// name is not in its cache, which is not an error for the sender.
#ifndef HANDLEFS_PROTO_NOTIFY_H_
#define HANDLEFS_PROTO_NOTIFY_H_

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "proto/abi.h"
#include "proto/base/ids.h"
#include "proto/flags.h"

namespace handlefs::proto {

// An encoded notification without its bulk data (STORE's bytes, PRUNE's ids),
// which is sent behind it.
class Notification {
 public:
  std::span<const std::byte> bytes() const { return {bytes_.data(), size_}; }

 private:
  friend class NotificationEncoder;
  static constexpr size_t kMax = 16 + 24 + kNameMax + 1;
  std::array<std::byte, kMax> bytes_{};
  size_t size_ = 0;
};

// Attributes and ACLs only; cached pages stay.
Notification InvalAttributes(NodeId node);
// Attributes and the pages from `off`, `len` bytes of them; 0 is to the end.
Notification InvalData(NodeId node, int64_t off, int64_t len);
enum class EntryFate : uint32_t { kDrop = 0, kExpire = kExpireOnly };
// `name` has at most 255 bytes.
Notification InvalEntry(NodeId parent, std::string_view name, EntryFate fate);
Notification Delete(NodeId parent, NodeId child, std::string_view name);
Notification PollWakeup(uint64_t kh);
Notification Resend();
Notification IncEpoch();
// `size` bytes of data follow.
Notification Store(NodeId node, uint64_t off, uint32_t size);
Notification Retrieve(Unique answer, NodeId node, uint64_t off, uint32_t size);
// `count` nodeids follow.
Notification Prune(uint32_t count);

}  // namespace handlefs::proto

#endif  // HANDLEFS_PROTO_NOTIFY_H_

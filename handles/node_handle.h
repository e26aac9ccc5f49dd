// Node handles: what a kernel that keeps handles (FUSE_LOOKUP_HANDLE) is given
// for a node, and sends back. Opaque to it, at most 128 bytes, byte-stable:
//
//   u8 version   u8 kind   u16 host handle type   u32 file system index
//   host handle bytes, up to 112 (kind kHost)
//   u8[8] MAC of all of that and of the nodeid, by the key of the server
//
// Little-endian. A server that was started again with the same key reads the
// handles of its predecessor; another version or key is ESTALE. The root's
// handle is empty.
#ifndef HANDLEFS_HANDLES_NODE_HANDLE_H_
#define HANDLEFS_HANDLES_NODE_HANDLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "handles/host_handle.h"
#include "handles/siphash.h"
#include "proto/base/errno.h"
#include "proto/base/ids.h"

namespace handlefs {

inline constexpr size_t kMaxNodeHandleSize = 128;

struct NodeHandle {
  uint8_t size = 0;
  std::array<std::byte, kMaxNodeHandleSize> bytes{};

  std::span<const std::byte> view() const { return {bytes.data(), size}; }
};

struct NodeHandleContent {
  uint32_t fs = 0;
  // Nothing for a node that is known by a descriptor or has a longer handle:
  // only the server that gave it out knows what it is.
  std::optional<HostHandle> host;
};

NodeHandle PackNodeHandle(const HashKey& key, NodeId id,
                          const NodeHandleContent& content);
// ESTALE: not made by PackNodeHandle with this key for this node.
Result<NodeHandleContent> UnpackNodeHandle(const HashKey& key, NodeId id,
                                           std::span<const std::byte> bytes);

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_NODE_HANDLE_H_

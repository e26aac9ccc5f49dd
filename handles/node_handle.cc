#include "handles/node_handle.h"

#include <cerrno>
#include <cstring>

namespace handlefs {
namespace {

constexpr uint8_t kVersion = 1;
enum Kind : uint8_t { kHost = 1, kServerOnly = 2 };

struct Head {
  uint8_t version;
  uint8_t kind;
  uint16_t type;
  uint32_t fs;
};
static_assert(sizeof(Head) == 8);
constexpr size_t kMacSize = 8;
constexpr size_t kMaxHost = kMaxNodeHandleSize - sizeof(Head) - kMacSize;
static_assert(kMaxHost == 112);

// Over the nodeid, so that a handle cannot be given for another node.
uint64_t MacOf(const HashKey& key, NodeId id,
               std::span<const std::byte> signed_part) {
  std::array<std::byte, sizeof(uint64_t) + kMaxNodeHandleSize> text;
  uint64_t raw = Raw(id);
  std::memcpy(text.data(), &raw, sizeof(raw));
  std::memcpy(text.data() + sizeof(raw), signed_part.data(),
              signed_part.size());
  return SipHash(key, std::span(text).first(sizeof(raw) + signed_part.size()));
}

}  // namespace

NodeHandle PackNodeHandle(const HashKey& key, NodeId id,
                          const NodeHandleContent& content) {
  const bool has_host = content.host && content.host->size <= kMaxHost &&
                        content.host->type >= 0 &&
                        content.host->type <= UINT16_MAX;
  Head head{.version = kVersion,
            .kind = has_host ? kHost : kServerOnly,
            .type = 0,
            .fs = content.fs};
  NodeHandle handle;
  size_t size = sizeof(head);
  if (has_host) {
    head.type = static_cast<uint16_t>(content.host->type);
    std::memcpy(handle.bytes.data() + size, content.host->bytes.data(),
                content.host->size);
    size += content.host->size;
  }
  std::memcpy(handle.bytes.data(), &head, sizeof(head));
  uint64_t mac = MacOf(key, id, std::span(handle.bytes).first(size));
  std::memcpy(handle.bytes.data() + size, &mac, kMacSize);
  handle.size = static_cast<uint8_t>(size + kMacSize);
  return handle;
}

Result<NodeHandleContent> UnpackNodeHandle(const HashKey& key, NodeId id,
                                           std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(Head) + kMacSize ||
      bytes.size() > kMaxNodeHandleSize) {
    return Errno(ESTALE);
  }
  auto signed_part = bytes.first(bytes.size() - kMacSize);
  uint64_t mac;
  std::memcpy(&mac, bytes.data() + signed_part.size(), kMacSize);
  if (mac != MacOf(key, id, signed_part)) return Errno(ESTALE);
  Head head;
  std::memcpy(&head, bytes.data(), sizeof(head));
  if (head.version != kVersion) return Errno(ESTALE);
  NodeHandleContent content{.fs = head.fs, .host = std::nullopt};
  auto host = signed_part.subspan(sizeof(head));
  if (head.kind == kHost) {
    HostHandle handle;
    handle.type = head.type;
    handle.size = static_cast<uint8_t>(host.size());
    std::memcpy(handle.bytes.data(), host.data(), host.size());
    content.host = handle;
  } else if (head.kind != kServerOnly || !host.empty()) {
    return Errno(ESTALE);
  }
  return content;
}

}  // namespace handlefs

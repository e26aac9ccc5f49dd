// What node handles promise: what was packed is unpacked, and nothing else.
#ifndef HANDLEFS_TEST_FUZZ_NODE_HANDLE_ALL_H_
#define HANDLEFS_TEST_FUZZ_NODE_HANDLE_ALL_H_

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "handles/node_handle.h"

namespace handlefs::test {

class NodeHandleAll {
 public:
  // A nodeid, and the bytes of a handle.
  explicit NodeHandleAll(std::span<const std::byte> input) {
    uint64_t id = 2;
    size_t n = std::min(input.size(), sizeof(id));
    std::memcpy(&id, input.data(), n);
    id_ = NodeId{id};
    bytes_ = input.subspan(n);
  }

  void Check() const {
    Unpack(bytes_);
    UnpackSigned();
    PackAndUnpack();
  }

 private:
  static void Require(bool held) {
    if (!held) std::abort();
  }

  void Unpack(std::span<const std::byte> bytes) const {
    auto content = UnpackNodeHandle(kKey, id_, bytes);
    if (!content.ok()) {
      Require(content.error() == Errno(ESTALE));
      return;
    }
    Require(bytes.size() <= kMaxNodeHandleSize);
    if (!content->host) return;
    NodeHandle again = PackNodeHandle(kKey, id_, *content);
    Require(std::ranges::equal(again.view(), bytes));
    Require(!UnpackNodeHandle(kOtherKey, id_, bytes).ok());
    Require(!UnpackNodeHandle(kKey, NodeId{Raw(id_) ^ 1}, bytes).ok());
  }

  // Nobody guesses a MAC, so it is made here.
  void UnpackSigned() const {
    uint64_t id = Raw(id_);
    std::vector<std::byte> text(sizeof(id));
    std::memcpy(text.data(), &id, sizeof(id));
    text.insert(text.end(), bytes_.begin(), bytes_.end());
    uint64_t mac = SipHash(kKey, text);
    std::vector<std::byte> handle(bytes_.begin(), bytes_.end());
    handle.resize(handle.size() + sizeof(mac));
    std::memcpy(handle.data() + bytes_.size(), &mac, sizeof(mac));
    Unpack(handle);
  }

  // The bytes as those of a host handle.
  void PackAndUnpack() const {
    HostHandle host;
    host.type = bytes_.empty() ? 0 : std::to_integer<int>(bytes_[0]);
    host.size = static_cast<uint8_t>(std::min(bytes_.size(), HostHandle::kMax));
    std::memcpy(host.bytes.data(), bytes_.data(), host.size);
    NodeHandle handle = PackNodeHandle(kKey, id_, {.fs = 7, .host = host});
    Require(handle.size <= kMaxNodeHandleSize);
    auto content = UnpackNodeHandle(kKey, id_, handle.view());
    Require(content.ok() && content->fs == 7);
    // A longer one does not fit, and only the server knows it.
    Require(content->host.has_value() == (host.size <= 112));
    if (content->host) Require(*content->host == host);
    for (size_t bit = 0; bit < size_t{handle.size} * 8; ++bit) {
      NodeHandle flipped = handle;
      flipped.bytes[bit / 8] ^= std::byte{1} << (bit % 8);
      Require(!UnpackNodeHandle(kKey, id_, flipped.view()).ok());
    }
  }

  static constexpr HashKey kKey = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
  static constexpr HashKey kOtherKey = {0x0706050403020100, 0};
  NodeId id_;
  std::span<const std::byte> bytes_;
};

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_FUZZ_NODE_HANDLE_ALL_H_

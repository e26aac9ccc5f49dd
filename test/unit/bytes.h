// Messages written byte by byte, at offsets that come from the protocol's
// tables and not from our structs, so that a wrong struct cannot hide itself.
#ifndef HANDLEFS_TEST_UNIT_BYTES_H_
#define HANDLEFS_TEST_UNIT_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proto/cursor.h"

namespace handlefs::test {

// Grows as far as somebody writes; what nobody wrote is zero.
class Wire {
 public:
  Wire() = default;
  explicit Wire(size_t size) : bytes_(size) {}

  Wire& U8(size_t at, uint64_t value) { return Put(at, value, 1); }
  Wire& U16(size_t at, uint64_t value) { return Put(at, value, 2); }
  Wire& U32(size_t at, uint64_t value) { return Put(at, value, 4); }
  Wire& U64(size_t at, uint64_t value) { return Put(at, value, 8); }
  Wire& Text(size_t at, std::string_view text) {
    for (size_t i = 0; i < text.size(); ++i) {
      U8(at + i, static_cast<unsigned char>(text[i]));
    }
    return *this;
  }
  // At the end.
  Wire& Append(std::string_view text) { return Text(bytes_.size(), text); }
  Wire& AppendBytes(const Wire& other) {
    bytes_.insert(bytes_.end(), other.bytes_.begin(), other.bytes_.end());
    return *this;
  }
  Wire& Resize(size_t size) {
    bytes_.resize(size);
    return *this;
  }

  size_t size() const { return bytes_.size(); }
  proto::Bytes bytes() const {
    return std::as_bytes(std::span<const uint8_t>(bytes_));
  }
  const std::vector<uint8_t>& raw() const { return bytes_; }

 private:
  Wire& Put(size_t at, uint64_t value, size_t width) {
    // Not resize(): g++ 14 sees it write behind the end when all is inlined.
    while (bytes_.size() < at + width) bytes_.push_back(0);
    for (size_t i = 0; i < width; ++i) {
      bytes_[at + i] = static_cast<uint8_t>(value >> (8 * i));
    }
    return *this;
  }

  std::vector<uint8_t> bytes_;
};

// An in header for `opcode`, unique 12, from u1000 g1000 p4242; its length is
// set by Finish.
inline Wire Header(uint32_t opcode, uint64_t nodeid) {
  Wire wire(40);
  wire.U32(4, opcode).U64(8, 12).U64(16, nodeid);
  return wire.U32(24, 1000).U32(28, 1000).U32(32, 4242);
}

// Sets the length, and where `extensions` follow, appends and counts them.
inline Wire Finish(Wire wire, const Wire& extensions = {}) {
  wire.AppendBytes(extensions);
  return wire.U32(0, wire.size()).U16(36, extensions.size() / 8);
}

// Byte `i` of a pattern in which no two fields read alike.
constexpr uint8_t PatternByte(size_t i) {
  return static_cast<uint8_t>(i * 37 + 11 + (i >> 8) * 101);
}
inline uint64_t PatternValue(size_t at, size_t width) {
  uint64_t value = 0;
  for (size_t i = 0; i < width; ++i) {
    value |= uint64_t{PatternByte(at + i)} << (8 * i);
  }
  return value;
}
inline Wire Pattern(size_t size) {
  Wire wire(size);
  for (size_t i = 0; i < size; ++i) wire.U8(i, PatternByte(i));
  return wire;
}

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_UNIT_BYTES_H_

// SipHash-2-4 against the numbers its authors publish.
#include "handles/siphash.h"

#include <catch2/catch.hpp>
#include <vector>

namespace handlefs::test {
namespace {

// Key 00 01 .. 0f; the message of n bytes is 00 01 .. n-1: the first 16 of the
// reference's vectors, as little-endian numbers. The last is the example of the
// paper's appendix A.
constexpr HashKey kKey = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
constexpr uint64_t kVectors[] = {
    0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a,
    0x85676696d7fb7e2d, 0xcf2794e0277187b7, 0x18765564cd99a68d,
    0xcbc9466e58fee3ce, 0xab0200f58b01d137, 0x93f5f5799a932462,
    0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
    0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee,
    0xa129ca6149be45e5,
};

TEST_CASE("SipHash: published vectors", "[siphash]") {
  std::vector<std::byte> message;
  for (uint64_t expected : kVectors) {
    CAPTURE(message.size());
    CHECK(SipHash(kKey, message) == expected);
    message.push_back(static_cast<std::byte>(message.size()));
  }
}

TEST_CASE("SipHash: every bit of message, length and key counts", "[siphash]") {
  std::vector<std::byte> message(41, std::byte{0x5a});
  uint64_t whole = SipHash(kKey, message);
  for (size_t bit = 0; bit < message.size() * 8; ++bit) {
    auto changed = message;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    CHECK(SipHash(kKey, changed) != whole);
  }
  for (size_t bit = 0; bit < 128; ++bit) {
    HashKey key = kKey;
    key[bit / 64] ^= uint64_t{1} << (bit % 64);
    CHECK(SipHash(key, message) != whole);
  }
  auto longer = message;
  longer.push_back(std::byte{0});
  CHECK(SipHash(kKey, longer) != whole);
}

}  // namespace
}  // namespace handlefs::test

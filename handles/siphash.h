// SipHash-2-4 with a 128-bit key (Aumasson and Bernstein, 2012): the keyed hash
// behind table ids and the generations of exported handles.
#ifndef HANDLEFS_HANDLES_SIPHASH_H_
#define HANDLEFS_HANDLES_SIPHASH_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace handlefs {

using HashKey = std::array<uint64_t, 2>;

inline uint64_t SipHash(const HashKey& key, std::span<const std::byte> data) {
  uint64_t v0 = key[0] ^ 0x736f6d6570736575;
  uint64_t v1 = key[1] ^ 0x646f72616e646f6d;
  uint64_t v2 = key[0] ^ 0x6c7967656e657261;
  uint64_t v3 = key[1] ^ 0x7465646279746573;
  auto rounds = [&](int n) {
    for (; n > 0; --n) {
      v0 += v1, v1 = std::rotl(v1, 13) ^ v0, v0 = std::rotl(v0, 32);
      v2 += v3, v3 = std::rotl(v3, 16) ^ v2;
      v0 += v3, v3 = std::rotl(v3, 21) ^ v0;
      v2 += v1, v1 = std::rotl(v1, 17) ^ v2, v2 = std::rotl(v2, 32);
    }
  };
  uint64_t last = uint64_t{data.size()} << 56;
  while (data.size() >= 8) {
    uint64_t word;
    std::memcpy(&word, data.data(), 8);
    v3 ^= word;
    rounds(2);
    v0 ^= word;
    data = data.subspan(8);
  }
  uint64_t tail = 0;
  if (!data.empty()) std::memcpy(&tail, data.data(), data.size());
  last |= tail;
  v3 ^= last;
  rounds(2);
  v0 ^= last;
  v2 ^= 0xff;
  rounds(4);
  return v0 ^ v1 ^ v2 ^ v3;
}

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_SIPHASH_H_

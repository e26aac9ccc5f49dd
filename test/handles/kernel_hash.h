// A model of how Linux spreads FUSE's inodes over its inode hash table: by
// nodeid and by the address of the super block (cache lines of 64 bytes).
#ifndef HANDLEFS_TEST_HANDLES_KERNEL_HASH_H_
#define HANDLEFS_TEST_HANDLES_KERNEL_HASH_H_

#include <cstdint>

namespace handlefs::test {

// The table has 2^bits chains.
constexpr uint64_t ChainOf(uint64_t nodeid, uint64_t super_block, int bits) {
  constexpr uint64_t kGoldenRatio = 0x61c8864680b583eb;
  uint64_t line = (nodeid + kGoldenRatio) >> 6;
  uint64_t mixed = nodeid * super_block ^ line;
  uint64_t folded = (mixed ^ kGoldenRatio) >> bits;
  return (mixed ^ folded) & ((uint64_t{1} << bits) - 1);
}

// Super blocks are 2 KiB slab objects; the first digits depend on the
// machine's memory and on where the kernel put its linear map.
inline constexpr uint64_t kSuperBlocks[] = {
    0xffff888100a5c000, 0xffff88810a5c4800, 0xffff8f3b41234000,
    0xffff9f00deadb800, 0xff1100042fe7d000, 0xffff0000c5a3b000,
};

}  // namespace handlefs::test

#endif  // HANDLEFS_TEST_HANDLES_KERNEL_HASH_H_

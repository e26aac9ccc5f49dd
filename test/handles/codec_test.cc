// Codecs: exact or refused, and their ids spread over the kernel's table.
#include "handles/codec.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <map>
#include <unordered_map>
#include <vector>

#include "handles/node_table.h"
#include "kernel_hash.h"
#include "support.h"

namespace handlefs::test {
namespace {

using Layout = Codec::Layout;

struct Parts {
  uint64_t ino = 0;
  uint32_t generation = 0;
  uint64_t subvolume = 0;
};

template <typename T>
void Append(HostHandle& handle, T value) {
  std::memcpy(&handle.bytes[handle.size], &value, sizeof(value));
  handle.size = static_cast<uint8_t>(handle.size + sizeof(value));
}

// The bytes that the kernels' file systems write, field by field.
HostHandle Make(Layout layout, const Parts& p) {
  HostHandle handle;
  handle.bytes.fill(std::byte{0xee});  // what is behind `size` must not count
  switch (layout) {
    case Layout::kNone:
      break;
    case Layout::kInoGen:
      handle.type = 0x1;
      Append(handle, static_cast<uint32_t>(p.ino));
      Append(handle, p.generation);
      break;
    case Layout::kGenIno64:
      handle.type = 0x1;
      Append(handle, p.generation);
      Append(handle, p.ino);
      break;
    case Layout::kIno64Gen:
      handle.type = 0x81;
      Append(handle, p.ino);
      Append(handle, p.generation);
      break;
    case Layout::kBtrfs:
      handle.type = 0x4d;
      Append(handle, p.ino);
      Append(handle, p.subvolume);
      Append(handle, p.generation);
      break;
  }
  return handle;
}

struct Subject {
  Layout layout;
  Parts root;
};
constexpr Subject kSubjects[] = {
    {Layout::kInoGen, {2, 0, 0}},
    {Layout::kGenIno64, {1, 0x1234abcd, 0}},
    {Layout::kIno64Gen, {128, 0, 0}},
    {Layout::kBtrfs, {256, 7, 5}},
};

Codec CodecOf(const Subject& subject) {
  return Codec::Probe(Make(subject.layout, subject.root), subject.root.ino);
}

bool MustPack(const Subject& subject, const Parts& p) {
  return p.generation != 0 && p.ino >= 2 && p.ino < uint64_t{1} << 31 &&
         (subject.layout != Layout::kBtrfs ||
          p.subvolume == subject.root.subvolume);
}

TEST_CASE("Codec: a sample of each layout is known", "[codec]") {
  for (const Subject& subject : kSubjects) {
    Codec codec = CodecOf(subject);
    CAPTURE(codec.name());
    CHECK(codec.layout() == subject.layout);
    HostHandle root = Make(subject.layout, subject.root);
    CHECK(codec.Ino(root) == subject.root.ino);
    CHECK(codec.Subvolume(root) == subject.root.subvolume);
    CHECK(codec.IsWildcard(root) == (subject.root.generation == 0));
    // The number decides, not the type.
    CHECK(Codec::Probe(root, subject.root.ino + 1).layout() == Layout::kNone);
  }
  HostHandle odd = Make(Layout::kInoGen, {2, 1, 0});
  odd.size = 7;
  CHECK(Codec::Probe(odd, 2).layout() == Layout::kNone);
  odd.size = 0;
  CHECK(Codec::Probe(odd, 0).layout() == Layout::kNone);
}

TEST_CASE("Codec: without a layout everything is refused", "[codec]") {
  Codec none;
  for (const Subject& subject : kSubjects) {
    HostHandle handle = Make(subject.layout, {5000, 9, 5});
    CHECK_FALSE(none.Pack(handle));
    CHECK_FALSE(none.Ino(handle));
    CHECK_FALSE(none.IsWildcard(handle));
  }
  HostHandle empty;
  CHECK_FALSE(none.Pack(empty));
}

TEST_CASE("Codec: exact or refused", "[codec]") {
  for (const Subject& subject : kSubjects) {
    Codec codec = CodecOf(subject);
    CAPTURE(codec.name());
    Random random(11);
    std::map<uint64_t, std::pair<uint64_t, uint32_t>> ids;
    size_t packed = 0, wrong = 0, mixed_up = 0;
    for (int i = 0; i < 200000; ++i) {
      // All widths of numbers, and the edges more often than chance would.
      Parts p;
      p.ino = random.Next() >> random.Below(64);
      if (random.OneIn(8)) p.ino = random.Below(4);
      if (random.OneIn(8)) p.ino = (uint64_t{1} << 31) - 2 + random.Below(4);
      if (subject.layout == Layout::kInoGen) p.ino &= 0xffffffff;
      p.generation = static_cast<uint32_t>(random.Next() >> random.Below(64));
      if (random.OneIn(8)) p.generation = static_cast<uint32_t>(p.ino);
      if (random.OneIn(16)) p.generation = 0;
      if (subject.layout == Layout::kBtrfs) {
        p.subvolume = random.OneIn(4) ? random.Next() >> random.Below(64) : 5;
      }
      HostHandle handle = Make(subject.layout, p);
      auto id = codec.Pack(handle);
      if (id.has_value() != MustPack(subject, p)) ++wrong;
      if (codec.Ino(handle) != p.ino) ++wrong;
      if (codec.IsWildcard(handle) != (p.generation == 0)) ++wrong;
      if (!id) continue;
      ++packed;
      if (!(codec.Unpack(*id) == handle)) ++wrong;
      if (IsTableId(*id) || Raw(*id) < uint64_t{1} << 33) ++wrong;
      auto mine = std::pair(p.ino, p.generation);
      auto [it, fresh] = ids.try_emplace(Raw(*id), mine);
      if (!fresh && it->second != mine) ++mixed_up;
    }
    CHECK(wrong == 0);
    CHECK(mixed_up == 0);
    CHECK(packed > 20000);
  }
}

TEST_CASE("Codec: handles of another kind are refused", "[codec]") {
  for (const Subject& subject : kSubjects) {
    Codec codec = CodecOf(subject);
    CAPTURE(codec.name());
    Parts p{4711, 42, subject.root.subvolume};
    HostHandle good = Make(subject.layout, p);
    REQUIRE(codec.Pack(good));
    for (int bit = 0; bit < 31; ++bit) {
      HostHandle other = good;
      other.type ^= 1 << bit;
      CHECK_FALSE(codec.Pack(other));
      CHECK_FALSE(codec.Ino(other));
    }
    for (int size = 0; size <= 128; ++size) {
      HostHandle other = good;
      other.size = static_cast<uint8_t>(size);
      CHECK(codec.Pack(other).has_value() == (size == good.size));
    }
    for (uint64_t bit = 0; bit < 64; ++bit) {
      Parts other = p;
      other.subvolume ^= uint64_t{1} << bit;
      CHECK(codec.Pack(Make(subject.layout, other)).has_value() ==
            (subject.layout != Layout::kBtrfs));
    }
    Parts wildcard = p;
    wildcard.generation = 0;
    CHECK_FALSE(codec.Pack(Make(subject.layout, wildcard)));
  }
}

// How the files of a large tree are numbered, the i-th one made.
struct Numbering {
  const char* name;
  Layout layout;
  std::function<Parts(uint64_t, Random&)> at;
};

uint32_t AnyGeneration(Random& random) {
  return static_cast<uint32_t>(random.Next() | 1);
}

const std::vector<Numbering>& Numberings() {
  static const std::vector<Numbering> all = {
      {"ext4, one directory after the other", Layout::kInoGen,
       [](uint64_t i, Random& r) {
         return Parts{12 + i, AnyGeneration(r), 0};
       }},
      {"ext4, directories spread over block groups", Layout::kInoGen,
       [](uint64_t i, Random& r) {
         return Parts{12 + i % 61 * 8192 + i / 61 % 8180 + i / 498980 * 499712,
                      AnyGeneration(r), 0};
       }},
      // Both are counters of the file system: ext2, f2fs.
      {"ext2, sequential generations from somewhere", Layout::kInoGen,
       [](uint64_t i, Random&) {
         return Parts{12 + i, static_cast<uint32_t>(0x8a3c91d7 + i), 0};
       }},
      {"tmpfs, random generations", Layout::kGenIno64,
       [](uint64_t i, Random& r) {
         return Parts{2 + i, AnyGeneration(r), 0};
       }},
      {"tmpfs, sequential generations", Layout::kGenIno64,
       [](uint64_t i, Random&) {
         return Parts{2 + i, static_cast<uint32_t>(1 + i), 0};
       }},
      {"tmpfs, sequential generations from somewhere", Layout::kGenIno64,
       [](uint64_t i, Random&) {
         return Parts{2 + i, static_cast<uint32_t>(0xd1ce5u + i), 0};
       }},
      {"xfs, chunks of 64, small generations", Layout::kIno64Gen,
       [](uint64_t i, Random&) {
         return Parts{128 + i / 64 * 192 + i % 64,
                      static_cast<uint32_t>(1 + i % 3), 0};
       }},
      {"xfs, chunks far apart, all of generation 1", Layout::kIno64Gen,
       [](uint64_t i, Random&) {
         return Parts{128 + i / 64 * 1856 + i % 64, 1, 0};
       }},
      {"xfs, four allocation groups, all of generation 1", Layout::kIno64Gen,
       [](uint64_t i, Random&) {
         return Parts{((i % 4) << 27) + 128 + i / 256 * 128 + i / 4 % 64, 1, 0};
       }},
      {"xfs, four allocation groups, random generations", Layout::kIno64Gen,
       [](uint64_t i, Random& r) {
         return Parts{((i % 4) << 27) + 128 + i / 256 * 128 + i / 4 % 64,
                      AnyGeneration(r), 0};
       }},
      {"btrfs, many files in a transaction", Layout::kBtrfs,
       [](uint64_t i, Random&) {
         return Parts{257 + i, static_cast<uint32_t>(8 + i / 3000), 5};
       }},
      {"btrfs, few files in a transaction", Layout::kBtrfs,
       [](uint64_t i, Random&) {
         return Parts{257 + i, static_cast<uint32_t>(8 + i / 7), 5};
       }},
  };
  return all;
}

TEST_CASE("Codec: no long chains in the kernel's inode table", "[codec]") {
  constexpr int kBits = 20;  // of a machine with much memory
  constexpr uint64_t kFiles = 1000000;
  std::vector<uint64_t> ids;
  ids.reserve(kFiles);
  std::vector<uint8_t> chains;
  for (const Numbering& numbering : Numberings()) {
    CAPTURE(numbering.name);
    for (const Subject& subject : kSubjects) {
      if (subject.layout != numbering.layout) continue;
      Codec codec = CodecOf(subject);
      Random random(5);
      ids.clear();
      for (uint64_t i = 0; i < kFiles; ++i) {
        Parts p = numbering.at(i, random);
        if (auto id = codec.Pack(Make(subject.layout, p))) {
          ids.push_back(Raw(*id));
        }
      }
      REQUIRE(ids.size() == kFiles);
      for (uint64_t super_block : kSuperBlocks) {
        chains.assign(size_t{1} << kBits, 0);
        int longest = 0;
        for (uint64_t id : ids) {
          uint8_t& chain = chains[ChainOf(id, super_block, kBits)];
          if (chain < 255) ++chain;
          longest = std::max<int>(longest, chain);
        }
        CAPTURE(super_block);
        CHECK(longest <= 16);
      }
    }
  }
}

}  // namespace
}  // namespace handlefs::test

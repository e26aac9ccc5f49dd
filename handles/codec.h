// Packs a host handle into a nodeid and back, without a table:
//   nodeid = inode number << 32 | (generation XOR mix(inode number))
// The kernel hashes nodeids with the low bits foremost; mix, a multiplication,
// spreads them, also where generations and inode numbers count up together.
// Bit 63 stays clear (table ids have it set) and ids below 2^33 do not occur,
// so that no node is mistaken for the root.
//
// A codec is exact or refuses: what Pack accepts, Unpack gives back byte for
// byte. Refused are inode numbers below 2 or from 2^31, handles of another type
// or subvolume than the probed one, and generation 0: on ext4 that is a
// wildcard which opens whatever has the inode number.
#ifndef HANDLEFS_HANDLES_CODEC_H_
#define HANDLEFS_HANDLES_CODEC_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "handles/host_handle.h"
#include "proto/base/ids.h"

namespace handlefs {

class Codec {
 public:
  enum class Layout : uint8_t {
    kNone,
    kInoGen,    // ino32 gen32: ext4, f2fs and others with the generic form
    kGenIno64,  // gen32 ino64: tmpfs
    kIno64Gen,  // ino64 gen32: xfs
    kBtrfs,     // objectid64 root64 gen32
  };

  Codec() = default;
  // Finds the layout from the handle of a file whose inode number is known.
  // The handle's type alone would not do: type 1 has two layouts.
  static Codec Probe(const HostHandle& sample, uint64_t ino);

  Layout layout() const { return layout_; }
  std::string_view name() const;
  std::optional<NodeId> Pack(const HostHandle& handle) const;
  HostHandle Unpack(NodeId id) const;  // an id that Pack gave
  // The inode number in a handle; nothing if the layout is not known.
  std::optional<uint64_t> Ino(const HostHandle& handle) const;
  // The btrfs subvolume in a handle; 0 elsewhere.
  uint64_t Subvolume(const HostHandle& handle) const;
  // A handle that is made but never opened: of the empty directory that stands
  // for a nested subvolume in a btrfs snapshot. All of them are inode 2.
  bool IsPlaceholder(const HostHandle& handle) const;
  // The handle names an inode number but not a generation: whoever opens it
  // must compare what was opened.
  bool IsWildcard(const HostHandle& handle) const;

 private:
  struct Fields {
    uint64_t ino;
    uint32_t generation;
    uint64_t subvolume;
  };
  std::optional<Fields> Read(const HostHandle& handle) const;

  Layout layout_ = Layout::kNone;
  int32_t type_ = 0;
  uint8_t size_ = 0;
  uint64_t subvolume_ = 0;
};

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_CODEC_H_

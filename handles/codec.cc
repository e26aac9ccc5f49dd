#include "handles/codec.h"

namespace handlefs {
namespace {

// 2^32 over the golden ratio: neighbours end far apart.
constexpr uint32_t Mix(uint32_t ino) { return ino * 0x9e3779b1u; }

template <typename T>
T Load(const HostHandle& handle, size_t at) {
  T value;
  std::memcpy(&value, &handle.bytes[at], sizeof(T));
  return value;
}

template <typename T>
void Store(HostHandle& handle, size_t at, T value) {
  std::memcpy(&handle.bytes[at], &value, sizeof(T));
}

struct Shape {
  Codec::Layout layout;
  std::string_view name;
  uint8_t size;
};
constexpr Shape kShapes[] = {
    {Codec::Layout::kNone, "none", 0},
    {Codec::Layout::kInoGen, "ino32-gen32", 8},
    {Codec::Layout::kGenIno64, "gen32-ino64", 12},
    {Codec::Layout::kIno64Gen, "ino64-gen32", 12},
    {Codec::Layout::kBtrfs, "btrfs", 20},
};

}  // namespace

std::string_view Codec::name() const {
  return kShapes[static_cast<size_t>(layout_)].name;
}

std::optional<Codec::Fields> Codec::Read(const HostHandle& handle) const {
  if (handle.type != type_ || handle.size != size_) return std::nullopt;
  switch (layout_) {
    case Layout::kNone:
      return std::nullopt;
    case Layout::kInoGen:
      return Fields{Load<uint32_t>(handle, 0), Load<uint32_t>(handle, 4), 0};
    case Layout::kGenIno64:
      return Fields{Load<uint64_t>(handle, 4), Load<uint32_t>(handle, 0), 0};
    case Layout::kIno64Gen:
      return Fields{Load<uint64_t>(handle, 0), Load<uint32_t>(handle, 8), 0};
    case Layout::kBtrfs:
      return Fields{Load<uint64_t>(handle, 0), Load<uint32_t>(handle, 16),
                    Load<uint64_t>(handle, 8)};
  }
  return std::nullopt;
}

Codec Codec::Probe(const HostHandle& sample, uint64_t ino) {
  for (const Shape& shape : kShapes) {
    if (shape.layout == Layout::kNone || shape.size != sample.size) continue;
    Codec codec;
    codec.layout_ = shape.layout;
    codec.type_ = sample.type;
    codec.size_ = sample.size;
    auto fields = codec.Read(sample);
    if (!fields || fields->ino != ino) continue;
    codec.subvolume_ = fields->subvolume;
    return codec;
  }
  return Codec();
}

std::optional<NodeId> Codec::Pack(const HostHandle& handle) const {
  auto fields = Read(handle);
  if (!fields || fields->generation == 0 || fields->ino < 2 ||
      fields->ino >= uint64_t{1} << 31 || fields->subvolume != subvolume_) {
    return std::nullopt;
  }
  auto ino = static_cast<uint32_t>(fields->ino);
  return NodeId{uint64_t{ino} << 32 | (fields->generation ^ Mix(ino))};
}

HostHandle Codec::Unpack(NodeId id) const {
  auto ino = static_cast<uint32_t>(Raw(id) >> 32);
  uint32_t generation = static_cast<uint32_t>(Raw(id)) ^ Mix(ino);
  HostHandle handle;
  handle.type = type_;
  handle.size = size_;
  switch (layout_) {
    case Layout::kNone:
      break;
    case Layout::kInoGen:
      Store(handle, 0, ino);
      Store(handle, 4, generation);
      break;
    case Layout::kGenIno64:
      Store(handle, 0, generation);
      Store(handle, 4, uint64_t{ino});
      break;
    case Layout::kIno64Gen:
      Store(handle, 0, uint64_t{ino});
      Store(handle, 8, generation);
      break;
    case Layout::kBtrfs:
      Store(handle, 0, uint64_t{ino});
      Store(handle, 8, subvolume_);
      Store(handle, 16, generation);
      break;
  }
  return handle;
}

std::optional<uint64_t> Codec::Ino(const HostHandle& handle) const {
  auto fields = Read(handle);
  if (!fields) return std::nullopt;
  return fields->ino;
}

uint64_t Codec::Subvolume(const HostHandle& handle) const {
  auto fields = Read(handle);
  return fields ? fields->subvolume : 0;
}

bool Codec::IsPlaceholder(const HostHandle& handle) const {
  constexpr uint64_t kPlaceholderIno = 2;
  if (layout_ != Layout::kBtrfs) return false;
  auto fields = Read(handle);
  return fields && fields->ino == kPlaceholderIno;
}

bool Codec::IsWildcard(const HostHandle& handle) const {
  auto fields = Read(handle);
  return fields && fields->generation == 0;
}

}  // namespace handlefs

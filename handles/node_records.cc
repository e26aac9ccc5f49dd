#include "handles/node_records.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <utility>

namespace handlefs {
namespace {

constexpr size_t kLongestName = 255;

// Behind it the bytes of the handle, or the name.
struct Layout {
  uint64_t id;
  uint64_t dev;
  uint64_t ino;
  int64_t birth_ns;
  uint64_t parent;
  uint32_t tag;
  uint16_t fs;
  uint16_t type;
  NodeRecord::Known known;
  uint8_t handle_size;
  uint16_t name_size;
  uint32_t spare;
};
static_assert(sizeof(Layout) == 56);

std::vector<std::byte> Write(const NodeRecord& record) {
  Layout layout{};
  layout.id = record.id;
  layout.fs = record.fs;
  layout.known = record.known;
  std::span<const std::byte> tail;
  if (record.known == NodeRecord::Known::kByHandle) {
    layout.tag = record.tag;
    layout.type = static_cast<uint16_t>(record.handle.type);
    layout.handle_size = record.handle.size;
    tail = record.handle.view();
  } else {
    layout.dev = record.dev;
    layout.ino = record.ino;
    layout.birth_ns = record.birth_ns;
    layout.parent = Raw(record.parent);
    layout.name_size = static_cast<uint16_t>(record.name.size());
    tail = std::as_bytes(std::span(record.name));
  }
  std::vector<std::byte> data(sizeof(layout) + tail.size());
  std::memcpy(data.data(), &layout, sizeof(layout));
  if (!tail.empty()) {
    std::memcpy(&data[sizeof(layout)], tail.data(), tail.size());
  }
  return data;
}

std::optional<NodeRecord> Read(std::span<const std::byte> data) {
  Layout layout;
  if (data.size() < sizeof(layout)) return std::nullopt;
  std::memcpy(&layout, data.data(), sizeof(layout));
  std::span<const std::byte> tail = data.subspan(sizeof(layout));
  const bool by_handle = layout.known == NodeRecord::Known::kByHandle;
  if (tail.size() != (by_handle ? layout.handle_size : layout.name_size) ||
      tail.size() > (by_handle ? HostHandle::kMax : kLongestName)) {
    return std::nullopt;
  }
  NodeRecord record;
  record.id = layout.id;
  record.known = layout.known;
  record.fs = layout.fs;
  if (by_handle) {
    record.tag = layout.tag;
    record.handle.type = layout.type;
    record.handle.size = layout.handle_size;
    std::memcpy(record.handle.bytes.data(), tail.data(), tail.size());
  } else {
    record.dev = layout.dev;
    record.ino = layout.ino;
    record.birth_ns = layout.birth_ns;
    record.parent = NodeId{layout.parent};
    record.name.assign(reinterpret_cast<const char*>(tail.data()), tail.size());
  }
  return record;
}

}  // namespace

std::vector<NodeRecords::Inherited> NodeRecords::TakeFrom(Vault& vault) {
  std::vector<Inherited> all;
  for (const Vault::Item& item : vault.Inherited(Vault::Kind::kNode)) {
    auto record = Read(item.data);
    if (!record) continue;
    all.push_back({.record = *std::move(record),
                   .ref = item.ref,
                   .lookups = static_cast<uint32_t>(std::min<uint64_t>(
                       item.word, std::numeric_limits<uint32_t>::max()))});
  }
  return all;
}

void NodeRecords::Put(const NodeRecord& record, uint32_t lookups) {
  if (vault_ == nullptr) return;
  Vault::Ref& ref = refs_[record.id];
  // The new one first: a node that has none is lost.
  Vault::Ref old =
      std::exchange(ref, vault_->Put(Vault::Kind::kNode, Write(record), {}));
  SetLookups(record.id, lookups);
  vault_->Erase(old);
}

void NodeRecords::SetLookups(uint64_t id, uint32_t lookups) {
  if (vault_ == nullptr) return;
  auto it = refs_.find(id);
  if (it == refs_.end() || it->second == Vault::kNoRef) return;
  vault_->Word(it->second)->store(lookups, std::memory_order_relaxed);
}

void NodeRecords::Erase(uint64_t id) {
  auto it = refs_.find(id);
  if (it == refs_.end()) return;
  vault_->Erase(it->second);
  refs_.erase(it);
}

}  // namespace handlefs

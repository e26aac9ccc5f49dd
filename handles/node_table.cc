#include "handles/node_table.h"

#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

namespace handlefs {
namespace {

constexpr size_t kInline = 20;
constexpr size_t kFirstSlots = 16;
// How many ids after its own a file may have got on collisions.
constexpr uint64_t kProbes = 4;

uint32_t AddSaturated(uint32_t a, uint32_t b) {
  uint32_t sum = a + b;
  return sum < a ? std::numeric_limits<uint32_t>::max() : sum;
}

}  // namespace

void NodeTable::Note(Shard& shard, const Entry& entry, const ByHandle& file) {
  shard.records.Put({.id = entry.id,
                     .known = NodeRecord::Known::kByHandle,
                     .fs = file.fs,
                     .tag = file.tag,
                     .handle = file.handle,
                     .name = ""},
                    entry.lookups);
}

void NodeTable::Note(Shard& shard, const Entry& entry, const ByNumbers& file,
                     const ByName& where) {
  shard.records.Put(
      {.id = entry.id,
       .known = entry.kind == Kind::kFd ? NodeRecord::Known::kByFd
                                        : NodeRecord::Known::kByName,
       .fs = file.fs,
       .handle = {},
       .dev = file.dev,
       .ino = file.ino,
       .birth_ns = where.birth_ns,
       .parent = where.parent,
       .name = where.name},
      entry.lookups);
}

void NodeTable::Restore(const NodeRecords::Inherited& item) {
  const NodeRecord& record = item.record;
  const bool by_handle = record.known == NodeRecord::Known::kByHandle;
  const ByNumbers numbers{
      .fs = record.fs, .dev = record.dev, .ino = record.ino};
  Entry entry = by_handle
                    ? MakeEntry(ByHandle{record.fs, record.handle, record.tag})
                    : MakeEntry(numbers, -1);
  entry.id = record.id;
  entry.lookups = item.lookups;
  Shard& shard = ShardOf(record.id);
  absl::MutexLock lock(&shard.mutex);
  shard.records.Adopt(record.id, item.ref);
  InsertIn(shard, entry);
  if (by_handle) return;
  ByName where{.parent = record.parent,
               .name = record.name,
               .birth_ns = record.birth_ns};
  // By name from now on, whatever it was.
  if (record.known == NodeRecord::Known::kByFd) {
    Note(shard, entry, numbers, where);
  }
  shard.names[record.id] = std::move(where);
}

void NodeTable::TakeOver(Vault& vault) {
  has_vault_ = true;
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mutex);
    shard.records.KeepIn(vault);
  }
  std::vector<NodeId> parents;
  for (const NodeRecords::Inherited& item : NodeRecords::TakeFrom(vault)) {
    bool is_known;
    {
      Shard& shard = ShardOf(item.record.id);
      absl::MutexLock lock(&shard.mutex);
      is_known = FindIn(shard, item.record.id) != nullptr;
    }
    if (is_known) {
      // A record was about to be replaced: either of the two does.
      vault.Erase(item.ref);
      continue;
    }
    Restore(item);
    if (item.record.known == NodeRecord::Known::kByFd) {
      parents.push_back(item.record.parent);
    }
  }
  // What is known by name holds its parent; what had a descriptor did not yet.
  for (NodeId parent : parents) AddLookup(parent);
}

NodeTable::~NodeTable() {
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mutex);
    for (Entry& entry : shard.slots) {
      if (entry.kind != Kind::kEmpty) {
        if (entry.kind == Kind::kFd) UniqueFd close(FdOf(entry));
        if (entry.kind == Kind::kHeap) {
          std::byte* heap;
          std::memcpy(&heap, entry.data.data(), sizeof(heap));
          delete[] heap;
        }
      }
    }
  }
}

uint64_t NodeTable::HashOf(const ByHandle& file) const {
  std::array<std::byte, 8 + HostHandle::kMax> text;
  std::memcpy(text.data(), &file.handle.type, 4);
  std::memcpy(&text[4], &file.tag, 4);
  std::memcpy(&text[8], file.handle.bytes.data(), file.handle.size);
  return SipHash(key_, std::span(text).first(8u + file.handle.size)) |
         kTableBit;
}

uint64_t NodeTable::HashOf(const ByNumbers& file) const {
  std::array<uint64_t, 4> text = {file.fs, file.dev, file.ino,
                                  static_cast<uint64_t>(file.birth_ns)};
  return SipHash(key_, std::as_bytes(std::span(text))) | kTableBit;
}

NodeTable::Entry NodeTable::MakeEntry(const ByHandle& file) {
  Entry entry;
  entry.lookups = 1;
  entry.fs = file.fs;
  entry.type = static_cast<uint16_t>(file.handle.type);
  entry.size = file.handle.size;
  if (file.handle.size <= kInline) {
    entry.kind = Kind::kInline;
    std::memcpy(entry.data.data(), file.handle.bytes.data(), file.handle.size);
  } else {
    entry.kind = Kind::kHeap;
    auto* heap = new std::byte[file.handle.size];
    std::memcpy(heap, file.handle.bytes.data(), file.handle.size);
    std::memcpy(entry.data.data(), &heap, sizeof(heap));
  }
  return entry;
}

NodeTable::Entry NodeTable::MakeEntry(const ByNumbers& file, int fd) {
  Entry entry;
  entry.lookups = 1;
  entry.fs = file.fs;
  entry.kind = fd >= 0 ? Kind::kFd : Kind::kName;
  std::memcpy(entry.data.data(), &file.dev, 8);
  std::memcpy(&entry.data[8], &file.ino, 8);
  std::memcpy(&entry.data[16], &fd, 4);
  return entry;
}

int NodeTable::FdOf(const Entry& entry) {
  int fd;
  std::memcpy(&fd, &entry.data[16], 4);
  return fd;
}

NodeTable::ByNumbers NodeTable::NumbersOf(const Entry& entry) {
  ByNumbers numbers{.fs = entry.fs, .dev = 0, .ino = 0};
  std::memcpy(&numbers.dev, entry.data.data(), 8);
  std::memcpy(&numbers.ino, &entry.data[8], 8);
  return numbers;
}

bool NodeTable::Same(const Entry& entry, const ByHandle& file) {
  if (entry.kind != Kind::kInline && entry.kind != Kind::kHeap) return false;
  if (entry.fs != file.fs || entry.size != file.handle.size ||
      entry.type != static_cast<uint16_t>(file.handle.type)) {
    return false;
  }
  const std::byte* bytes = entry.data.data();
  if (entry.kind == Kind::kHeap) {
    std::memcpy(&bytes, static_cast<const void*>(bytes), sizeof(bytes));
  }
  return std::memcmp(bytes, file.handle.bytes.data(), entry.size) == 0;
}

bool NodeTable::Same(const Entry& entry, const ByNumbers& file) {
  return (entry.kind == Kind::kFd || entry.kind == Kind::kName) &&
         entry.fs == file.fs && NumbersOf(entry).dev == file.dev &&
         NumbersOf(entry).ino == file.ino;
}

NodeTable::Entry* NodeTable::FindIn(Shard& shard, uint64_t id) {
  if (shard.slots.empty()) return nullptr;
  size_t mask = shard.slots.size() - 1;
  for (size_t i = id & mask;; i = (i + 1) & mask) {
    Entry& entry = shard.slots[i];
    if (entry.kind == Kind::kEmpty) return nullptr;
    if (entry.id == id) return &entry;
  }
}

NodeTable::Entry& NodeTable::InsertIn(Shard& shard, const Entry& entry) {
  if (shard.slots.empty()) shard.slots.resize(kFirstSlots);
  if (shard.used * 4 >= shard.slots.size() * 3) {
    std::vector<Entry> old(shard.slots.size() * 2);
    old.swap(shard.slots);
    shard.used = 0;
    for (Entry& moved : old) {
      if (moved.kind != Kind::kEmpty) InsertIn(shard, moved);
    }
  }
  size_t mask = shard.slots.size() - 1;
  size_t i = entry.id & mask;
  while (shard.slots[i].kind != Kind::kEmpty) i = (i + 1) & mask;
  shard.slots[i] = entry;
  ++shard.used;
  return shard.slots[i];
}

void NodeTable::EraseIn(Shard& shard, Entry& entry) {
  // Closes the gap, so that no tombstones pile up.
  size_t mask = shard.slots.size() - 1;
  size_t gap = static_cast<size_t>(&entry - shard.slots.data());
  for (size_t i = (gap + 1) & mask; shard.slots[i].kind != Kind::kEmpty;
       i = (i + 1) & mask) {
    size_t home = shard.slots[i].id & mask;
    if (((i - home) & mask) >= ((i - gap) & mask)) {
      shard.slots[gap] = shard.slots[i];
      gap = i;
    }
  }
  shard.slots[gap] = Entry();
  --shard.used;
  // Memory of a walk that is over goes back.
  if (shard.used * 8 < shard.slots.size() && shard.slots.size() > kFirstSlots) {
    std::vector<Entry> old(shard.slots.size() / 2);
    old.swap(shard.slots);
    shard.used = 0;
    for (Entry& moved : old) {
      if (moved.kind != Kind::kEmpty) InsertIn(shard, moved);
    }
  }
}

template <typename File, typename Make>
NodeId NodeTable::AcquireFile(const File& file, Make make) {
  uint64_t hash = HashOf(file);
  for (uint64_t probe = 0; probe < kProbes; ++probe) {
    uint64_t id = (hash + probe) | kTableBit;
    Shard& shard = ShardOf(id);
    absl::MutexLock lock(&shard.mutex);
    Entry* entry = FindIn(shard, id);
    if (entry == nullptr) {
      Entry fresh;
      fresh.id = id;
      make(shard, fresh);
      InsertIn(shard, fresh);
      return NodeId{id};
    }
    if (Same(*entry, file)) {
      entry->lookups = AddSaturated(entry->lookups, 1);
      shard.records.SetLookups(entry->id, entry->lookups);
      return NodeId{id};
    }
  }
  return kNoNode;
}

template <typename File>
std::optional<NodeId> NodeTable::FindFile(const File& file) {
  uint64_t hash = HashOf(file);
  for (uint64_t probe = 0; probe < kProbes; ++probe) {
    uint64_t id = (hash + probe) | kTableBit;
    Shard& shard = ShardOf(id);
    absl::MutexLock lock(&shard.mutex);
    Entry* entry = FindIn(shard, id);
    if (entry == nullptr) return std::nullopt;
    if (Same(*entry, file)) return NodeId{id};
  }
  return std::nullopt;
}

NodeId NodeTable::IdOf(const ByHandle& file) const {
  return NodeId{HashOf(file) | kTableBit};
}

bool NodeTable::Adopt(NodeId id, const ByHandle& file) {
  Shard& shard = ShardOf(Raw(id));
  absl::MutexLock lock(&shard.mutex);
  if (Entry* entry = FindIn(shard, Raw(id))) return Same(*entry, file);
  Entry fresh = MakeEntry(file);
  fresh.id = Raw(id);
  fresh.lookups = 0;
  Note(shard, fresh, file);
  InsertIn(shard, fresh);
  return true;
}

std::optional<NodeId> NodeTable::Find(const ByHandle& file) {
  return FindFile(file);
}

std::optional<NodeId> NodeTable::Find(const ByNumbers& file) {
  return FindFile(file);
}

NodeId NodeTable::Acquire(const ByHandle& file) {
  return AcquireFile(file, [&](Shard& shard, Entry& fresh) {
    shard.mutex.AssertHeld();
    uint64_t id = fresh.id;
    fresh = MakeEntry(file);
    fresh.id = id;
    Note(shard, fresh, file);
  });
}

// What is known by name and was just opened need not be, any more.
bool NodeTable::ToFd(NodeId id, UniqueFd& fd) {
  NodeId parent = kNoNode;
  {
    Shard& shard = ShardOf(Raw(id));
    absl::MutexLock lock(&shard.mutex);
    Entry* entry = FindIn(shard, Raw(id));
    auto name = shard.names.find(Raw(id));
    if (entry == nullptr || entry->kind != Kind::kName ||
        name == shard.names.end()) {
      return false;
    }
    uint32_t lookups = entry->lookups;
    *entry = MakeEntry(NumbersOf(*entry), fd.release());
    entry->id = Raw(id);
    entry->lookups = lookups;
    descriptors_.fetch_add(1, std::memory_order_relaxed);
    parent = name->second.parent;
    Note(shard, *entry, NumbersOf(*entry), name->second);
    if (!has_vault_) shard.names.erase(name);
  }
  Forget(parent, 1);
  return true;
}

NodeId NodeTable::Acquire(const ByNumbers& file, UniqueFd fd,
                          std::optional<ByName> where) {
  bool fresh = false;
  std::optional<ByName> again;
  if (has_vault_) again = where;
  NodeId id = AcquireFile(file, [&](Shard& shard, Entry& entry) {
    shard.mutex.AssertHeld();
    descriptors_.fetch_add(1, std::memory_order_relaxed);
    uint64_t own = entry.id;
    entry = MakeEntry(file, fd.release());
    entry.id = own;
    fresh = true;
    if (!has_vault_) return;
    // Without a name a pin has to find it.
    Note(shard, entry, file, where.value_or(ByName{}));
    if (where) shard.names[own] = std::move(*where);
  });
  if (fresh || id == kNoNode) return id;
  (void)ToFd(id, fd);
  // The name that a successor would look for may be gone; this one is there.
  if (again) Named(id, *std::move(again));
  return id;
}

NodeId NodeTable::Acquire(const ByNumbers& file, ByName where) {
  NodeId parent = where.parent;
  std::string name = where.name;
  bool fresh = false;
  // Counted first, so that a FORGET of the file cannot take it before.
  AddLookup(parent);
  NodeId id = AcquireFile(file, [&](Shard& shard, Entry& entry) {
    shard.mutex.AssertHeld();
    uint64_t own = entry.id;
    entry = MakeEntry(file, -1);
    entry.id = own;
    Note(shard, entry, file, where);
    shard.names[own] = std::move(where);
    fresh = true;
  });
  if (!fresh) {
    Moved(id, parent, std::move(name));
    Forget(parent, 1);
  }
  return id;
}

Result<NodeTable::Found> NodeTable::Get(NodeId id) {
  Shard& shard = ShardOf(Raw(id));
  absl::MutexLock lock(&shard.mutex);
  Entry* entry = FindIn(shard, Raw(id));
  if (entry == nullptr) return Errno(ESTALE);
  Found found;
  if (entry->kind == Kind::kInline || entry->kind == Kind::kHeap) {
    ByHandle& file = found.handle.emplace(ByHandle{});
    file.fs = entry->fs;
    file.handle.type = entry->type;
    file.handle.size = entry->size;
    const std::byte* bytes = entry->data.data();
    if (entry->kind == Kind::kHeap) {
      std::memcpy(&bytes, static_cast<const void*>(bytes), sizeof(bytes));
    }
    std::memcpy(file.handle.bytes.data(), bytes, entry->size);
    return found;
  }
  found.numbers = NumbersOf(*entry);
  if (entry->kind == Kind::kName) {
    found.name = shard.names.at(Raw(id));
    return found;
  }
  // A duplicate, because a FORGET on another thread may close the original.
  found.fd = UniqueFd(fcntl(FdOf(*entry), F_DUPFD_CLOEXEC, 0));
  if (!found.fd) return LastErrno();
  return found;
}

bool NodeTable::IsByName(NodeId id) {
  Shard& shard = ShardOf(Raw(id));
  absl::MutexLock lock(&shard.mutex);
  Entry* entry = FindIn(shard, Raw(id));
  return entry != nullptr && entry->kind == Kind::kName;
}

bool NodeTable::NeedsName(NodeId id) {
  Shard& shard = ShardOf(Raw(id));
  absl::MutexLock lock(&shard.mutex);
  return shard.names.contains(Raw(id));
}

void NodeTable::Named(NodeId id, ByName where) {
  if (!has_vault_) return;
  NodeId parent = where.parent;
  AddLookup(parent);
  NodeId uncounted = parent;
  {
    Shard& shard = ShardOf(Raw(id));
    absl::MutexLock lock(&shard.mutex);
    Entry* entry = FindIn(shard, Raw(id));
    if (entry != nullptr &&
        (entry->kind == Kind::kFd || entry->kind == Kind::kName)) {
      ByName& known = shard.names[Raw(id)];
      if (known.parent != where.parent || known.name != where.name) {
        Note(shard, *entry, NumbersOf(*entry), where);
        // Only what is known by name counts its parent.
        if (entry->kind == Kind::kName) uncounted = known.parent;
        known = std::move(where);
      }
    }
  }
  Forget(uncounted, 1);
}

void NodeTable::Moved(NodeId id, NodeId parent, std::string name) {
  AddLookup(parent);
  NodeId old = parent;
  {
    Shard& shard = ShardOf(Raw(id));
    absl::MutexLock lock(&shard.mutex);
    auto it = shard.names.find(Raw(id));
    if (it != shard.names.end()) {
      Entry* entry = FindIn(shard, Raw(id));
      if (entry != nullptr) {
        Note(shard, *entry, NumbersOf(*entry),
             {.parent = parent, .name = name, .birth_ns = it->second.birth_ns});
      }
      // Only what is known by name counts its parent.
      bool counts = entry != nullptr && entry->kind == Kind::kName;
      NodeId before = std::exchange(it->second.parent, parent);
      if (counts) old = before;
      it->second.name = std::move(name);
    }
  }
  Forget(old, 1);
}

void NodeTable::AddLookup(NodeId id) {
  if (!IsTableId(id)) return;
  Shard& shard = ShardOf(Raw(id));
  absl::MutexLock lock(&shard.mutex);
  if (Entry* entry = FindIn(shard, Raw(id))) {
    entry->lookups = AddSaturated(entry->lookups, 1);
    shard.records.SetLookups(entry->id, entry->lookups);
  }
}

bool NodeTable::Forget(NodeId id, uint64_t lookups) {
  if (!IsTableId(id)) return false;
  NodeId parent = kNoNode;
  UniqueFd close;
  std::unique_ptr<std::byte[]> free;
  {
    Shard& shard = ShardOf(Raw(id));
    absl::MutexLock lock(&shard.mutex);
    Entry* entry = FindIn(shard, Raw(id));
    if (entry == nullptr) return false;
    if (entry->lookups > lookups) {
      // A saturated count is not known any more: the entry stays for good.
      if (entry->lookups != std::numeric_limits<uint32_t>::max()) {
        entry->lookups -= static_cast<uint32_t>(lookups);
        shard.records.SetLookups(entry->id, entry->lookups);
      }
      return false;
    }
    if (entry->kind == Kind::kFd) {
      close.reset(FdOf(*entry));
      descriptors_.fetch_sub(1, std::memory_order_relaxed);
    }
    if (entry->kind == Kind::kHeap) {
      std::byte* heap;
      std::memcpy(&heap, entry->data.data(), sizeof(heap));
      free.reset(heap);
    }
    if (entry->kind == Kind::kName) {
      auto it = shard.names.find(Raw(id));
      parent = it->second.parent;
      shard.names.erase(it);
    } else if (has_vault_) {
      shard.names.erase(Raw(id));
    }
    shard.records.Erase(Raw(id));
    EraseIn(shard, *entry);
  }
  Forget(parent, 1);
  return true;
}

NodeTable::Stats NodeTable::stats() const {
  Stats stats;
  stats.descriptors = descriptors();
  for (const Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mutex);
    stats.entries += shard.used;
    stats.bytes += shard.slots.size() * sizeof(Entry);
  }
  return stats;
}

}  // namespace handlefs

// The table of nodes whose host handle does not fit into a nodeid, and of nodes
// that are known by a descriptor. Open addressing in 16 shards; an entry is 40
// bytes and holds handles of up to 20 bytes inline.
//
// Ids have bit 63 set and are a keyed hash of what identifies the file, so a
// server that starts without state gives a file the same id again, and never an
// old id to another file. On a collision (63 bits) the next free id is taken.
//
// Thread-safe. Entries count the kernel's lookups; Forget saturates, and a
// forget of an unknown id is ignored.
//
// With a vault each entry has a record there, and its count in the record's
// word. A successor knows by name what was known by a descriptor, until it is
// looked up again.
#ifndef HANDLEFS_HANDLES_NODE_TABLE_H_
#define HANDLEFS_HANDLES_NODE_TABLE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "handles/host_handle.h"
#include "handles/node_records.h"
#include "handles/siphash.h"
#include "io/base/vault.h"
#include "proto/base/ids.h"

namespace handlefs {

inline constexpr uint64_t kTableBit = uint64_t{1} << 63;
constexpr bool IsTableId(NodeId id) { return (Raw(id) & kTableBit) != 0; }

class NodeTable {
 public:
  // A file that is known by its handle, on file system `fs`. Its id depends on
  // the file system's tag, which outlives the server, and not on its index.
  struct ByHandle {
    uint16_t fs;
    HostHandle handle;
    uint32_t tag = 0;
  };
  // A file without handle, known by numbers while a descriptor pins it.
  // The time of birth tells it from a later file with the same inode number;
  // only the id depends on it.
  struct ByNumbers {
    uint16_t fs;
    uint64_t dev;
    uint64_t ino;
    int64_t birth_ns = 0;  // 0 where the file system has none
    friend bool operator==(const ByNumbers&, const ByNumbers&) = default;
  };
  // Where to find a file again for which there was no descriptor left.
  struct ByName {
    NodeId parent = kNoNode;
    std::string name;
    int64_t birth_ns = 0;  // as in ByNumbers
  };
  struct Found {
    std::optional<ByHandle> handle;
    ByNumbers numbers{};         // if there is no handle
    std::optional<ByName> name;  // if there is neither handle nor fd
    UniqueFd fd;                 // a duplicate
  };

  explicit NodeTable(const HashKey& key) : key_(key) {}
  // Before any request: what earlier servers left, and where things go from
  // now on.
  void TakeOver(Vault& vault);
  ~NodeTable();
  NodeTable(const NodeTable&) = delete;
  NodeTable& operator=(const NodeTable&) = delete;

  // The id of the file, with one more lookup.
  NodeId Acquire(const ByHandle& file);
  // `where` is what a successor finds it by; nothing for a file without a name.
  NodeId Acquire(const ByNumbers& file, UniqueFd fd,
                 std::optional<ByName> where = std::nullopt);
  // Over the budget of descriptors. The parent's entry is kept alive. A file
  // that is known by name already is known by this one from now on.
  NodeId Acquire(const ByNumbers& file, ByName where);
  // The id that the file would have if no other had it; changes nothing.
  NodeId IdOf(const ByHandle& file) const;
  // Makes a file known by an id that an earlier server gave it, without a
  // lookup: the next FORGET drops it. False if the id means another file.
  bool Adopt(NodeId id, const ByHandle& file);
  // The id if the file is known; counts nothing.
  std::optional<NodeId> Find(const ByHandle& file);
  std::optional<NodeId> Find(const ByNumbers& file);

  // EMFILE etc. where the descriptor cannot be duplicated; ESTALE: unknown id.
  Result<Found> Get(NodeId id);
  bool IsByName(NodeId id);
  // Its name is of use, to this server or a successor.
  bool NeedsName(NodeId id);
  // A file without a handle was seen under this name.
  void Named(NodeId id, ByName where);
  // A rename through the mount: entries known by name follow it.
  void Moved(NodeId id, NodeId parent, std::string name);
  void AddLookup(NodeId id);
  // True if that was the last lookup and the entry is gone.
  bool Forget(NodeId id, uint64_t lookups);

  struct Stats {
    size_t entries = 0;
    size_t descriptors = 0;
    size_t bytes = 0;
  };
  Stats stats() const;
  // Descriptors kept in entries; cheaper than stats().
  size_t descriptors() const {
    return descriptors_.load(std::memory_order_relaxed);
  }

 private:
  enum class Kind : uint8_t { kEmpty, kInline, kHeap, kFd, kName };
  struct Entry {
    uint64_t id = 0;
    uint32_t lookups = 0;
    uint16_t fs = 0;
    uint16_t type = 0;
    uint8_t size = 0;
    Kind kind = Kind::kEmpty;
    std::array<std::byte, 20> data;
  };
  static_assert(sizeof(Entry) == 40);
  struct Shard {
    mutable absl::Mutex mutex;
    std::vector<Entry> slots ABSL_GUARDED_BY(mutex);  // a power of two
    size_t used ABSL_GUARDED_BY(mutex) = 0;
    absl::flat_hash_map<uint64_t, ByName> names ABSL_GUARDED_BY(mutex);
    NodeRecords records ABSL_GUARDED_BY(mutex);
  };
  static constexpr size_t kShards = 16;

  Shard& ShardOf(uint64_t id) { return shards_[id >> 59 & (kShards - 1)]; }
  uint64_t HashOf(const ByHandle& file) const;
  uint64_t HashOf(const ByNumbers& file) const;
  static Entry MakeEntry(const ByHandle& file);
  static Entry MakeEntry(const ByNumbers& file, int fd);
  static bool Same(const Entry& entry, const ByHandle& file);
  static bool Same(const Entry& entry, const ByNumbers& file);
  static int FdOf(const Entry& entry);
  static ByNumbers NumbersOf(const Entry& entry);

  static Entry* FindIn(Shard& shard, uint64_t id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
  static Entry& InsertIn(Shard& shard, const Entry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
  static void EraseIn(Shard& shard, Entry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);

  template <typename File>
  std::optional<NodeId> FindFile(const File& file);
  // One more lookup of a known file, or a new entry made by `make`.
  template <typename File, typename Make>
  NodeId AcquireFile(const File& file, Make make);
  bool ToFd(NodeId id, UniqueFd& fd);

  // Into the records.
  static void Note(Shard& shard, const Entry& entry, const ByHandle& file)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
  static void Note(Shard& shard, const Entry& entry, const ByNumbers& file,
                   const ByName& where)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mutex);
  void Restore(const NodeRecords::Inherited& item);

  const HashKey key_;
  bool has_vault_ = false;  // set before any request
  std::atomic<size_t> descriptors_{0};
  std::array<Shard, kShards> shards_;
};

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_NODE_TABLE_H_

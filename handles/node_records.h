// What a successor has to be told of the table's nodes: a record in the vault
// for each, and the kernel's count of lookups in the record's word.
//
// Written whole before an older one of the same node goes, so that a server
// killed in between leaves two, of which either does.
#ifndef HANDLEFS_HANDLES_NODE_RECORDS_H_
#define HANDLEFS_HANDLES_NODE_RECORDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "handles/host_handle.h"
#include "io/base/vault.h"
#include "proto/base/ids.h"

namespace handlefs {

struct NodeRecord {
  // Numbers are part of the layout.
  enum class Known : uint8_t { kByHandle = 2, kByFd = 3, kByName = 4 };

  uint64_t id = 0;
  Known known = Known::kByHandle;
  uint16_t fs = 0;
  // kByHandle
  uint32_t tag = 0;
  HostHandle handle;
  // The others. A name is up to 255 bytes.
  uint64_t dev = 0;
  uint64_t ino = 0;
  int64_t birth_ns = 0;
  NodeId parent = kNoNode;
  std::string name;
};

// Those of some nodes, by their ids. Not thread-safe.
class NodeRecords {
 public:
  struct Inherited {
    NodeRecord record;
    Vault::Ref ref;
    uint32_t lookups;
  };
  // Of all nodes, once; records that are broken are left out.
  static std::vector<Inherited> TakeFrom(Vault& vault);

  // Until then nothing is kept.
  void KeepIn(Vault& vault) { vault_ = &vault; }
  // A record that is there already.
  void Adopt(uint64_t id, Vault::Ref ref) { refs_[id] = ref; }

  void Put(const NodeRecord& record, uint32_t lookups);
  void SetLookups(uint64_t id, uint32_t lookups);
  void Erase(uint64_t id);

 private:
  Vault* vault_ = nullptr;
  absl::flat_hash_map<uint64_t, Vault::Ref> refs_;
};

}  // namespace handlefs

#endif  // HANDLEFS_HANDLES_NODE_RECORDS_H_

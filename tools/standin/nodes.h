// What the played kernel remembers of nodes: lookups and node handles, as the
// kernel of RFC v3 keeps them in its inodes; and names, link counts and locks,
// which tell a first lookup from another one and whether the server may be
// replaced now.
//
// Everything of a node is dropped when its lookups come to 0 by FORGET. Not
// thread-safe.
#ifndef HANDLEFS_TOOLS_STANDIN_NODES_H_
#define HANDLEFS_TOOLS_STANDIN_NODES_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "bytes.h"
#include "proto/abi.h"

namespace handlefs::standin {

class Nodes {
 public:
  Nodes();

  // Null if there is none. The root has none until a lookup of ".." finds it.
  const Buffer* HandleOf(uint64_t node) const;
  bool Knows(uint64_t node) const { return nodes_.contains(node); }
  size_t size() const { return nodes_.size(); }

  // A reply gave the kernel `node`: one lookup more.
  void Looked(uint64_t node);
  // The handle that came with it. False if the node has another one.
  bool SetHandle(uint64_t node, Bytes handle);
  void Forget(uint64_t node, uint64_t lookups);

  // Names, as far as replies told them.
  void Named(uint64_t dir, std::string_view name, uint64_t node);
  // The node of a name, 0 if there is none: then its lookup is a first one.
  uint64_t Find(uint64_t dir, std::string_view name) const;
  void Unlinked(uint64_t dir, std::string_view name);
  enum class Move { kReplace, kExchange };
  void Renamed(uint64_t dir, std::string_view name, uint64_t newdir,
               std::string_view newname, Move move);
  void SawAttributes(uint64_t node, const abi::Attr& attr);

  // What a new server cannot know: nodes without a name, and locks.
  void Locked(uint64_t node, const abi::LkIn& in);
  void Flushed(uint64_t node, uint64_t owner);
  void Released(uint64_t node, uint64_t fh);
  // Why the server cannot be replaced now; null if it can.
  const char* WhyNotRestart() const;

 private:
  struct Name {
    uint64_t dir;
    std::string text;
    bool operator==(const Name&) const = default;
  };
  struct NameHash {
    size_t operator()(const Name& name) const {
      return std::hash<std::string>()(name.text) ^ (name.dir * 0x9e3779b97f4aU);
    }
  };
  struct Node {
    uint64_t lookups = 0;
    std::optional<Buffer> handle;
    uint32_t links = 1;
    bool is_dir = false;
    std::vector<Name> names;
  };
  struct Lock {
    uint64_t node, owner, fh;
    auto operator<=>(const Lock&) const = default;
  };
  void TakeName(const Name& name);
  void LosesName(uint64_t node);

  std::unordered_map<uint64_t, Node> nodes_;
  std::unordered_map<Name, uint64_t, NameHash> names_;
  std::unordered_set<uint64_t> nameless_;
  std::set<Lock> locks_;
};

}  // namespace handlefs::standin

#endif  // HANDLEFS_TOOLS_STANDIN_NODES_H_

#include "nodes.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "proto/base/ids.h"

namespace handlefs::standin {

Nodes::Nodes() {
  Node& root = nodes_[Raw(kRootNode)];
  root.lookups = 1;
  root.is_dir = true;
}

const Buffer* Nodes::HandleOf(uint64_t node) const {
  auto it = nodes_.find(node);
  return it != nodes_.end() && it->second.handle ? &*it->second.handle
                                                 : nullptr;
}

void Nodes::Looked(uint64_t node) { ++nodes_[node].lookups; }

bool Nodes::SetHandle(uint64_t node, Bytes handle) {
  std::optional<Buffer>& kept = nodes_[node].handle;
  if (kept) return std::ranges::equal(*kept, handle);
  kept.emplace(handle.begin(), handle.end());
  return true;
}

void Nodes::Forget(uint64_t node, uint64_t lookups) {
  auto it = nodes_.find(node);
  if (it == nodes_.end() || node == Raw(kRootNode)) return;
  if (it->second.lookups > lookups) {
    it->second.lookups -= lookups;
    return;
  }
  for (const Name& name : it->second.names) {
    auto named = names_.find(name);
    if (named != names_.end() && named->second == node) names_.erase(named);
  }
  nodes_.erase(it);
  nameless_.erase(node);
  std::erase_if(locks_, [&](const Lock& lock) { return lock.node == node; });
}

void Nodes::Named(uint64_t dir, std::string_view text, uint64_t node) {
  if (text == "." || text == "..") return;
  Name name{dir, std::string(text)};
  auto [it, is_new] = names_.try_emplace(name, node);
  if (!is_new && it->second == node) return;
  if (!is_new) {
    TakeName(name);
    names_[name] = node;
  }
  nodes_[node].names.push_back(std::move(name));
}

uint64_t Nodes::Find(uint64_t dir, std::string_view name) const {
  auto it = names_.find(Name{dir, std::string(name)});
  return it == names_.end() ? 0 : it->second;
}

void Nodes::TakeName(const Name& name) {
  auto it = names_.find(name);
  if (it == names_.end()) return;
  if (auto node = nodes_.find(it->second); node != nodes_.end()) {
    std::erase(node->second.names, name);
  }
  names_.erase(it);
}

void Nodes::LosesName(uint64_t id) {
  auto it = nodes_.find(id);
  if (it == nodes_.end()) return;
  Node& node = it->second;
  if (!node.is_dir && node.links > 1) {
    --node.links;
    return;
  }
  node.links = 0;
  nameless_.insert(id);
}

void Nodes::Unlinked(uint64_t dir, std::string_view name) {
  uint64_t node = Find(dir, name);
  TakeName({dir, std::string(name)});
  if (node != 0) LosesName(node);
}

void Nodes::Renamed(uint64_t dir, std::string_view name, uint64_t newdir,
                    std::string_view newname, Move move) {
  uint64_t node = Find(dir, name);
  uint64_t other = Find(newdir, newname);
  // Two names of one file: nothing happens.
  if (node != 0 && node == other) return;
  TakeName({dir, std::string(name)});
  TakeName({newdir, std::string(newname)});
  if (node != 0) Named(newdir, newname, node);
  if (other == 0) return;
  if (move == Move::kExchange) {
    Named(dir, name, other);
  } else {
    LosesName(other);
  }
}

void Nodes::SawAttributes(uint64_t id, const abi::Attr& attr) {
  auto it = nodes_.find(id);
  if (it == nodes_.end()) return;
  it->second.is_dir = S_ISDIR(attr.mode);
  // A directory's count says nothing (btrfs): only RMDIR takes its name.
  if (it->second.is_dir) return;
  it->second.links = attr.nlink;
  if (attr.nlink == 0) {
    nameless_.insert(id);
  } else {
    nameless_.erase(id);
  }
}

void Nodes::Locked(uint64_t node, const abi::LkIn& in) {
  Lock lock{node, in.owner, in.fh};
  if (in.lk.type != F_UNLCK) {
    locks_.insert(lock);
  } else if (in.lk.start == 0 && in.lk.end >= INT64_MAX) {
    std::erase_if(locks_, [&](const Lock& l) {
      return l.node == node && l.owner == in.owner;
    });
  }
}

void Nodes::Flushed(uint64_t node, uint64_t owner) {
  std::erase_if(locks_, [&](const Lock& l) {
    return l.node == node && l.owner == owner;
  });
}

void Nodes::Released(uint64_t node, uint64_t fh) {
  std::erase_if(locks_,
                [&](const Lock& l) { return l.node == node && l.fh == fh; });
}

const char* Nodes::WhyNotRestart() const {
  if (!nameless_.empty()) return "a node without a name is in use";
  if (!locks_.empty()) return "a lock is held";
  return nullptr;
}

}  // namespace handlefs::standin

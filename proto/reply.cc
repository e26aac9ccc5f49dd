#include "proto/reply.h"

#include <algorithm>

namespace handlefs::proto {
namespace {

void PutName(ReplyBuffer& out, size_t head, size_t total,
             std::string_view name) {
  std::byte* at = out.Space().data();
  std::memcpy(at, name.data(), name.size());
  std::memset(at + name.size(), 0, total - head - name.size());
  out.Use(total - head);
}

abi::Dirent Head(const DirEntry& entry) {
  return {.ino = entry.ino,
          .off = entry.off,
          .namelen = static_cast<uint32_t>(entry.name.size()),
          .type = entry.type};
}

}  // namespace

bool AddDirent(ReplyBuffer& out, size_t limit, const DirEntry& entry) {
  size_t total = DirentSize(entry.name.size());
  if (out.size() + total > std::min(limit, out.capacity())) return false;
  out.Put(Head(entry));
  PutName(out, sizeof(abi::Dirent), total, entry.name);
  return true;
}

bool AddDirentplus(ReplyBuffer& out, size_t limit, const DirEntry& entry,
                   const abi::EntryOut& node) {
  size_t total = DirentplusSize(entry.name.size());
  if (out.size() + total > std::min(limit, out.capacity())) return false;
  out.Put(abi::Direntplus{.entry_out = node, .dirent = Head(entry)});
  PutName(out, sizeof(abi::Direntplus), total, entry.name);
  return true;
}

}  // namespace handlefs::proto

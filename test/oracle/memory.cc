#include "memory.h"

#include <linux/stat.h>
#include <sys/stat.h>

#include <cstring>

namespace oracle {

namespace {

std::string SlotLabel(const Op& op) { return "@" + std::to_string(op.slot); }

// What the call does to the object in its slot.
uint32_t DoneToSlot(Kind kind) {
  switch (kind) {
    case Kind::kRead:
    case Kind::kPread:
    case Kind::kReadv:
    case Kind::kCopyRange:
    case Kind::kSendfile:
      return kWasRead;
    case Kind::kMmap:
      return uint32_t{kWasRead} | kWasMapped;
    default:
      return 0;
  }
}

}  // namespace

void Memory::Clear() {
  inodes_.clear();
  objects_.clear();
}

void Memory::Note(const Op& op, const Result& objects) {
  objects_.clear();
  main_ = op.p.IsFd()                   ? "@" + std::to_string(op.p.slot)
          : (op.flags & kNoFollow) != 0 ? "p"
                                        : "p/";
  if (UsesSlot(op.kind) && op.kind != Kind::kOpen) main_ = SlotLabel(op);
  for (const Field& f : objects) {
    if (f.tag != Tag::kRaw) continue;
    RawTimes raw;
    memcpy(&raw, f.text.data(), sizeof(raw));
    objects_.emplace(f.label, raw.ino);
    Entry& inode = inodes_[raw.ino];
    if (memcmp(inode.born, raw.t[3], sizeof(inode.born)) != 0) {
      inode = Entry();
      memcpy(inode.born, raw.t[3], sizeof(inode.born));
    }
    inode.known.mode = static_cast<uint32_t>(raw.mode);
    uint32_t& past = inode.known.past;
    if ((raw.mode & (S_ISUID | S_ISGID)) != 0) past |= kWasSetId;
    if (f.label == SlotLabel(op)) past |= DoneToSlot(op.kind);
    constexpr uint64_t kPins = STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND;
    past &= ~uint32_t{kIsPinned};
    if ((raw.attributes & kPins) != 0) past |= kIsPinned;
  }
}

Known Memory::Inode(uint64_t ino) const {
  auto it = inodes_.find(ino);
  return it == inodes_.end() ? Known() : it->second.known;
}

Known Memory::Object(const std::string& label) const {
  auto it = objects_.find(label.empty() ? main_ : label);
  return it == objects_.end() ? Known() : Inode(it->second);
}

uint32_t Memory::AnyObject() const {
  uint32_t past = 0;
  for (const auto& [label, ino] : objects_) past |= Inode(ino).past;
  return past;
}

}  // namespace oracle

#include "handles/open_files.h"

#include <utility>

namespace handlefs {
namespace {
constexpr uint32_t kIndexBits = 24;
constexpr uint32_t kIndexMask = (1u << kIndexBits) - 1;
}  // namespace

Result<Fh> OpenFiles::Insert(std::shared_ptr<OpenFile> file) {
  absl::MutexLock lock(&mutex_);
  uint32_t index;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else {
    if (slots_.size() > kIndexMask) return Errno(ENFILE);
    index = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  }
  Slot& slot = slots_[index];
  by_node_[Raw(file->node)] = file;
  slot.file = std::move(file);
  return Fh{incarnation_ << 40 | uint64_t{slot.generation} << kIndexBits |
            index};
}

const OpenFiles::Slot* OpenFiles::SlotOf(Fh fh) const {
  uint64_t raw = Raw(fh);
  size_t index = raw & kIndexMask;
  if (IsForeign(fh) || index >= slots_.size()) return nullptr;
  const Slot& slot = slots_[index];
  auto generation = static_cast<uint16_t>(raw >> kIndexBits);
  return slot.file && slot.generation == generation ? &slot : nullptr;
}

Result<std::shared_ptr<OpenFile>> OpenFiles::Find(Fh fh) const {
  absl::ReaderMutexLock lock(&mutex_);
  if (const Slot* slot = SlotOf(fh)) return slot->file;
  if (IsForeign(fh)) {
    auto it = adopted_.find(Raw(fh));
    if (it != adopted_.end()) return it->second;
  }
  return Errno(EBADF);
}

std::shared_ptr<OpenFile> OpenFiles::OfNode(NodeId node) const {
  absl::ReaderMutexLock lock(&mutex_);
  auto it = by_node_.find(Raw(node));
  return it == by_node_.end() ? nullptr : it->second.lock();
}

void OpenFiles::Adopt(Fh fh, std::shared_ptr<OpenFile> file) {
  absl::MutexLock lock(&mutex_);
  std::shared_ptr<OpenFile>& place = adopted_[Raw(fh)];
  if (place) file->first = place->first ? place->first : place;
  place = std::move(file);
}

Result<std::shared_ptr<OpenFile>> OpenFiles::Remove(Fh fh) {
  absl::MutexLock lock(&mutex_);
  if (auto it = adopted_.find(Raw(fh)); it != adopted_.end()) {
    std::shared_ptr<OpenFile> file = std::move(it->second);
    adopted_.erase(it);
    return file;
  }
  if (SlotOf(fh) == nullptr) return Errno(EBADF);
  auto index = static_cast<uint32_t>(Raw(fh) & kIndexMask);
  Slot& slot = slots_[index];
  ++slot.generation;
  free_.push_back(index);
  auto last = by_node_.find(Raw(slot.file->node));
  if (last != by_node_.end() && last->second.lock() == slot.file) {
    by_node_.erase(last);
  }
  return std::move(slot.file);
}

size_t OpenFiles::size() const {
  absl::ReaderMutexLock lock(&mutex_);
  return slots_.size() - free_.size() + adopted_.size();
}

}  // namespace handlefs

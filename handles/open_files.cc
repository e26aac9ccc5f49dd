#include "handles/open_files.h"

#include <utility>

namespace handlefs {
namespace {
constexpr uint32_t kIndexBits = 24;
constexpr uint32_t kIndexMask = (1u << kIndexBits) - 1;

// In the vault. The record's word is a Left.
struct Record {
  uint64_t fh;
  uint64_t node;
  uint64_t unique;
  int32_t flags;
  int32_t backing;
};

uint64_t Plain(Unique unique) { return Raw(unique) & ~kUniqueResend; }
}  // namespace

void OpenFiles::Restore(
    const std::function<void(const OpenFile&, Left)>& visit) {
  if (vault_ == nullptr) return;
  for (Vault::Item& item : vault_->Inherited(Vault::Kind::kOpenFile)) {
    Record record;
    if (!Vault::Read(item, record)) continue;
    auto file = std::make_shared<OpenFile>();
    file->fd = std::move(item.fd);
    file->flags = record.flags;
    file->node = NodeId{record.node};
    file->backing = BackingId{record.backing};
    file->record = item.ref;
    file->is_kept = static_cast<bool>(file->fd);
    auto left = static_cast<Left>(item.word);
    visit(*file, left);
    if (left == Left::kClosing) {
      vault_->Erase(item.ref);
      continue;
    }
    absl::MutexLock lock(&mutex_);
    if (record.unique != 0) by_request_[record.unique] = record.fh;
    if (file->fd) by_node_[record.node] = file;
    adopted_[record.fh] = std::move(file);
  }
}

std::shared_ptr<OpenFile> OpenFiles::Wake(Fh fh,
                                          std::shared_ptr<OpenFile> file) {
  absl::MutexLock lock(&mutex_);
  auto it = adopted_.find(Raw(fh));
  if (it == adopted_.end() || it->second->fd) {
    return it == adopted_.end() ? file : it->second;
  }
  by_node_[Raw(file->node)] = file;
  it->second = std::move(file);
  return it->second;
}

std::optional<Fh> OpenFiles::OfRequest(Unique unique) {
  absl::MutexLock lock(&mutex_);
  auto it = by_request_.find(Plain(unique));
  if (it == by_request_.end()) return std::nullopt;
  return Fh{it->second};
}

void OpenFiles::Closing(const OpenFile& file) {
  if (file.record == Vault::kNoRef) return;
  vault_->Word(file.record)->store(static_cast<uint64_t>(Left::kClosing));
}

void OpenFiles::Closed(const OpenFile& file) {
  if (file.record != Vault::kNoRef) vault_->Erase(file.record);
}

void OpenFiles::Keep(OpenFile& file) {
  if (file.record == Vault::kNoRef || file.is_kept.exchange(true)) return;
  vault_->Keep(file.record, file.fd);
}

Result<Fh> OpenFiles::Insert(std::shared_ptr<OpenFile> file, int host_flags,
                             Unique unique) {
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
  Fh fh{incarnation_ << 40 | uint64_t{slot.generation} << kIndexBits | index};
  if (vault_ != nullptr) {
    file->record = vault_->PutStruct(Vault::Kind::kOpenFile,
                                     Record{.fh = Raw(fh),
                                            .node = Raw(file->node),
                                            .unique = Plain(unique),
                                            .flags = host_flags,
                                            .backing = Raw(file->backing)});
  }
  by_node_[Raw(file->node)] = file;
  slot.file = std::move(file);
  return fh;
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
    ForgetNode(file);
    return file;
  }
  if (SlotOf(fh) == nullptr) return Errno(EBADF);
  auto index = static_cast<uint32_t>(Raw(fh) & kIndexMask);
  Slot& slot = slots_[index];
  ++slot.generation;
  free_.push_back(index);
  ForgetNode(slot.file);
  return std::move(slot.file);
}

void OpenFiles::ForgetNode(const std::shared_ptr<OpenFile>& file) {
  auto last = by_node_.find(Raw(file->node));
  if (last != by_node_.end() && last->second.lock() == file) {
    by_node_.erase(last);
  }
}

std::vector<NodeId> OpenFiles::OpenNodes() const {
  absl::ReaderMutexLock lock(&mutex_);
  std::vector<NodeId> out;
  for (const Slot& slot : slots_) {
    if (slot.file) out.push_back(slot.file->node);
  }
  for (const auto& [fh, file] : adopted_) out.push_back(file->node);
  return out;
}

size_t OpenFiles::size() const {
  absl::ReaderMutexLock lock(&mutex_);
  return slots_.size() - free_.size() + adopted_.size();
}

}  // namespace handlefs

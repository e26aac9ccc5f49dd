#include "io/slot.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "io/dev_port.h"
#include "proto/flags.h"

namespace handlefs::io {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kWriteHeaders = sizeof(abi::InHeader) + sizeof(abi::WriteIn);
// An xattr value with its name and headers must fit whatever max_write is.
constexpr size_t kLeastData = proto::kMaxXattr + 2 * kPage;

constexpr size_t RoundUp(size_t n) { return (n + kPage - 1) / kPage * kPage; }

}  // namespace

size_t PayloadSize(size_t max_write) { return std::max(max_write, kLeastData); }

Slot::Slot(SlotPool* pool, size_t request_size, size_t payload_size)
    : pool_(pool) {
  // A page before each buffer holds the headers that stand before its data.
  size_t request_room = kPage + RoundUp(request_size);
  size_t total = request_room + kPage + RoundUp(payload_size);
  void* at = mmap(nullptr, total, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  memory_ = {static_cast<std::byte*>(at), total};
  request_ = memory_.subspan(kPage - kWriteHeaders, request_size);
  payload_ = memory_.subspan(request_room + kPage, payload_size);
}

Slot::~Slot() { munmap(memory_.data(), memory_.size()); }

void Slot::Shrink() {
  madvise(memory_.data(), memory_.size(), MADV_DONTNEED);
  is_populated_ = false;
}

void Slot::Populate() {
  if (is_populated_) return;
  is_populated_ = true;
  // Its first page has the headers that end where the second begins.
  std::span<std::byte> pages = memory_.first(kPage + RoundUp(request_.size()));
  if (madvise(pages.data(), pages.size(), MADV_POPULATE_WRITE) == 0) return;
  for (size_t at = 0; at < pages.size(); at += kPage) {
    *const_cast<volatile std::byte*>(&pages[at]) = std::byte{0};
  }
}

void Slot::Finish(const abi::OutHeader& header) {
  std::memcpy(payload_.data() - sizeof(header), &header, sizeof(header));
  reply_size_ = header.len;
  if (port_->TakeBack(this, DevPort::Outcome::kReply)) return;
  port_->Write(reply());
  pool_->Return(this);
}

void Slot::FinishSilently() {
  if (port_->TakeBack(this, DevPort::Outcome::kSilent)) return;
  pool_->Return(this);
}

LateReply Slot::Release(Unique unique) {
  LateReply late(port_, unique);
  FinishSilently();
  return late;
}

SlotPool::SlotPool(size_t max_write, Pages pages)
    : request_size_(
          std::max<size_t>({proto::kMinReadBuffer, kWriteHeaders + max_write,
                            kWriteHeaders + kLeastData})),
      payload_size_(PayloadSize(max_write)),
      pages_(pages) {}

Slot* SlotPool::Take() {
  Slot* slot = TakeAny();
  if (pages_ == Pages::kBeforeRead) slot->Populate();
  return slot;
}

Slot* SlotPool::TakeAny() {
  absl::MutexLock lock(&mutex_);
  if (idle_.empty()) {
    all_.push_back(std::make_unique<Slot>(this, request_size_, payload_size_));
    return all_.back().get();
  }
  Slot* slot = idle_.back();
  idle_.pop_back();
  return slot;
}

void SlotPool::Return(Slot* slot) {
  absl::MutexLock lock(&mutex_);
  if (idle_.size() >= kWarm) slot->Shrink();
  idle_.push_back(slot);
}

}  // namespace handlefs::io

#include "io/uring_memory.h"

#include <sys/mman.h>
#include <unistd.h>

namespace handlefs::io {
namespace {
constexpr size_t kPage = 4096;
// More requests than these are seldom held at once; those have memory that ends
// with the server.
constexpr size_t kSlots = 1024;
// Far from where programs and libraries are put, so that the same place is free
// in a program that takes this one's; within 38 bits, which all machines have.
constexpr uintptr_t kAddress = 0x2000000000;

void* Address(uintptr_t address) {
  // Nothing is there yet: mmap is to put it there.
  return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr)
}

constexpr size_t Stride(size_t payload_size) {
  return UringMemory::Slot::kFront + kPage +
         (payload_size + kPage - 1) / kPage * kPage;
}
}  // namespace

std::unique_ptr<UringMemory> UringMemory::Create(size_t payload_size) {
  UniqueFd memory(memfd_create("handlefs-rings", MFD_CLOEXEC));
  const size_t size = kSlots * Stride(payload_size);
  if (!memory || ftruncate(memory.get(), static_cast<off_t>(size)) != 0) {
    return nullptr;
  }
  void* at =
      mmap(Address(kAddress), size, PROT_READ | PROT_WRITE,
           MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, memory.get(), 0);
  if (at == MAP_FAILED) {
    at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
              memory.get(), 0);
  }
  if (at == MAP_FAILED) return nullptr;
  return std::unique_ptr<UringMemory>(new UringMemory(
      std::move(memory), static_cast<std::byte*>(at), payload_size));
}

std::unique_ptr<UringMemory> UringMemory::Map(UniqueFd memory,
                                              uintptr_t address,
                                              size_t payload_size) {
  void* at = mmap(
      Address(address), kSlots * Stride(payload_size), PROT_READ | PROT_WRITE,
      MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, memory.get(), 0);
  if (at == MAP_FAILED) return nullptr;
  return std::unique_ptr<UringMemory>(new UringMemory(
      std::move(memory), static_cast<std::byte*>(at), payload_size));
}

UringMemory::~UringMemory() { munmap(base_, kSlots * Stride(payload_size_)); }

UringMemory::Slot* UringMemory::At(size_t index) const {
  return reinterpret_cast<Slot*>(base_ + index * Stride(payload_size_));
}

UringMemory::Slot* UringMemory::Take(uint16_t queue) {
  absl::MutexLock lock(&mutex_);
  Slot* slot = nullptr;
  while (slot == nullptr) {
    if (!free_.empty()) {
      slot = free_.back();
      free_.pop_back();
    } else if (next_ < kSlots) {
      slot = At(next_++);
      // An earlier server's.
      if (slot->use.load() == Slot::Use::kTaken) slot = nullptr;
    } else {
      return nullptr;
    }
  }
  slot->queue = queue;
  slot->aside = 0;
  slot->answered = 0;
  slot->committed = 0;
  slot->use.store(Slot::Use::kTaken, std::memory_order_release);
  return slot;
}

void UringMemory::Give(Slot* slot) {
  slot->use.store(Slot::Use::kFree, std::memory_order_release);
  absl::MutexLock lock(&mutex_);
  free_.push_back(slot);
}

std::vector<UringMemory::Slot*> UringMemory::Inherited() {
  std::vector<Slot*> out;
  for (size_t i = 0; i < kSlots; ++i) {
    // Slots are taken in order; the first that never was ends them.
    Slot* slot = At(i);
    Slot::Use use = slot->use.load(std::memory_order_acquire);
    if (use == Slot::Use::kNever) break;
    if (use == Slot::Use::kTaken) out.push_back(slot);
  }
  return out;
}

}  // namespace handlefs::io

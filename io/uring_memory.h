// The buffers of FUSE-over-io_uring entries, in memory that outlives the
// server: a request that the kernel has put there is answered only by whoever
// commits its entry with buffers at the same addresses. So the keeper maps
// them, and each server that it forks has them in the same place.
//
// A reply goes where the request was, and a server may be killed half way. So
// the request is put aside first, and the reply's header (with all of it, where
// the request's data stays in the buffers) comes to them only when `answered`
// says so: an unanswered request is whole.
//
// Slots are taken and given back by lanes; thread-safe. What a killed server
// had not answered is found by the two numbers of a slot: the request that the
// kernel put there last, and the one that was answered last.
#ifndef HANDLEFS_IO_URING_MEMORY_H_
#define HANDLEFS_IO_URING_MEMORY_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "io/base/fd.h"
#include "proto/abi.h"

namespace handlefs::io {

class UringMemory {
 public:
  // In front of the buffers of an entry.
  struct Slot {
    enum class Use : uint32_t { kNever = 0, kTaken, kFree };
    static constexpr size_t kFront = 8192;
    std::atomic<Use> use;
    uint16_t queue;
    uint16_t spare;
    // Commit ids: the request that was put aside here, the one that is answered
    // and the one whose reply the kernel has taken.
    std::atomic<uint64_t> aside;
    std::atomic<uint64_t> answered;
    std::atomic<uint64_t> committed;
    abi::InHeader header;
    uint32_t payload_size;
    uint32_t tail_size;  // of `tail`
    abi::OutHeader reply;
    alignas(16) std::array<std::byte, 64> reply_payload;
    // Names, and what else would be written over.
    std::array<std::byte, 7168> tail;

    // The headers' page, and behind it the payload.
    std::byte* buffers() { return reinterpret_cast<std::byte*>(this) + kFront; }
  };
  static_assert(sizeof(Slot) <= Slot::kFront);

  // Of address space alone; null if that is not to be had. `payload_size` is
  // the most that an entry will want.
  static std::unique_ptr<UringMemory> Create(size_t payload_size);
  // That of another process, at the same address; null if something else is
  // there in this one.
  static std::unique_ptr<UringMemory> Map(UniqueFd memory, uintptr_t address,
                                          size_t payload_size);
  ~UringMemory();
  UringMemory(const UringMemory&) = delete;
  UringMemory& operator=(const UringMemory&) = delete;

  BorrowedFd memory() const { return memory_; }
  uintptr_t address() const { return reinterpret_cast<uintptr_t>(base_); }
  size_t payload_size() const { return payload_size_; }
  // Null: all are taken.
  Slot* Take(uint16_t queue);
  void Give(Slot* slot);
  // The slots that an earlier server took, once, before the first Take.
  std::vector<Slot*> Inherited();

 private:
  UringMemory(UniqueFd memory, std::byte* base, size_t payload_size)
      : memory_(std::move(memory)), base_(base), payload_size_(payload_size) {}
  Slot* At(size_t index) const;

  const UniqueFd memory_;
  std::byte* const base_;
  const size_t payload_size_;
  absl::Mutex mutex_;
  std::vector<Slot*> free_ ABSL_GUARDED_BY(mutex_);
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_URING_MEMORY_H_

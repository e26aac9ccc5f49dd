// Buffers of the `dev` transport: one request and its reply. Allocated once,
// reused for ever; a slot that is away with a waiting request is replaced by
// another until it comes back. Pages are touched only as far as messages reach,
// so a slot costs what its largest messages were, and the pool gives memory
// back when more slots lie idle than are usually needed.
//
// Where killed servers are to be survived, a request's pages are there before
// it is read: Linux (6.18) ends a request with EIO whose reader is killed while
// it waits for a page to put it into.
#ifndef HANDLEFS_IO_SLOT_H_
#define HANDLEFS_IO_SLOT_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "io/transport.h"

namespace handlefs::io {

class DevPort;
class SlotPool;

// Of one request or reply that carries up to `max_write` bytes of data, or an
// xattr of any size.
size_t PayloadSize(size_t max_write);

class Slot final : public Exchange {
 public:
  Slot(SlotPool* pool, size_t request_size, size_t payload_size);
  ~Slot() override;
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  // Where the next request is read to. The data of a WRITE (behind its 80
  // bytes of headers) is page-aligned, so that it can be written with O_DIRECT.
  std::span<std::byte> request() const { return request_; }
  // The out header and the payload behind it, as one piece.
  std::span<const std::byte> reply() const {
    return {payload_.data() - sizeof(abi::OutHeader), reply_size_};
  }
  void Assign(DevPort* port) { port_ = port; }
  // Puts memory behind request().
  void Populate();

  void Finish(const abi::OutHeader& header) override;
  void FinishSilently() override;
  LateReply Release(Unique unique) override;

 private:
  friend class SlotPool;
  void Shrink();  // gives the pages back to the system

  SlotPool* const pool_;
  std::span<std::byte> memory_;
  std::span<std::byte> request_;
  bool is_populated_ = false;
  size_t reply_size_ = 0;
  DevPort* port_ = nullptr;
};

// Thread-safe.
class SlotPool {
 public:
  enum class Pages { kAsTouched, kBeforeRead };
  // Room for requests and replies that carry up to `max_write` bytes of data.
  explicit SlotPool(size_t max_write, Pages pages = Pages::kAsTouched);
  // Never fails short of memory, and then ends the process as any allocation.
  Slot* Take();
  void Return(Slot* slot);
  size_t request_size() const { return request_size_; }

 private:
  Slot* TakeAny();
  static constexpr size_t kWarm = 4;  // idle slots that keep their pages
  const size_t request_size_;
  const size_t payload_size_;
  const Pages pages_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Slot>> all_ ABSL_GUARDED_BY(mutex_);
  std::vector<Slot*> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_SLOT_H_

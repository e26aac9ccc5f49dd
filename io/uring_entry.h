// One entry of FUSE-over-io_uring: buffers that the kernel puts a request in
// and takes the reply from, and the Exchange for what is in them.
//
// The payload buffer serves for both directions. A handler may write its reply
// while it still reads the request's names, so those are copied aside; the
// data of WRITE and SETXATTR stays where it is, page-aligned, and their replies
// are written elsewhere first.
//
// Belongs to one lane, whose thread alone touches it, but for Finish and what
// leads there: those come from any thread.
#ifndef HANDLEFS_IO_URING_ENTRY_H_
#define HANDLEFS_IO_URING_ENTRY_H_

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "io/transport.h"
#include "io/uring_memory.h"

namespace handlefs::io {

class UringLane;
struct UringQueue;

class UringEntry final : public Exchange, public ReplyPort {
 public:
  // Who holds the buffers.
  enum class Place : uint8_t { kKernel, kServer, kGone };

  // `payload_size` is what the kernel was told: max_write or more. `memory` is
  // where the buffers outlive the server; null, or full: they end with it.
  UringEntry(UringLane* lane, UringQueue* queue, size_t payload_size,
             UringMemory* memory = nullptr);
  // With the buffers of an earlier server, and what the kernel has put there.
  UringEntry(UringLane* lane, UringQueue* queue, size_t payload_size,
             UringMemory* memory, UringMemory::Slot* slot);
  ~UringEntry() override;
  UringEntry(const UringEntry&) = delete;
  UringEntry& operator=(const UringEntry&) = delete;

  // The headers and the payload, as REGISTER wants them.
  const std::array<iovec, 2>& buffers() const { return buffers_; }
  UringQueue& queue() const { return *queue_; }
  uint64_t commit_id() const;
  // The reply is in the buffers. False after a Finish that was not for this
  // request: an earlier server was killed before.
  bool is_answered() const;
  // The kernel has taken the reply.
  void NoteCommitted(uint64_t commit_id);
  // A successor finds what is in the buffers.
  bool outlives_server() const { return slot_ != nullptr; }
  uint64_t node() const { return node_; }  // of the request that was read

  // What the kernel has put into the buffers, also when an earlier server has
  // begun to answer it. EINVAL: its sizes contradict each other; the header is
  // there all the same.
  Result<proto::RawRequest> Read();
  abi::InHeader header() const;
  // Brings the reply of an answered request to the buffers, for the kernel.
  void PutReply();

  // Exchange and ReplyPort.
  void Finish(const abi::OutHeader& header) override;
  void FinishSilently() override;
  LateReply Release(Unique unique) override;
  void SendHeader(const abi::OutHeader& header) override { Finish(header); }

  Place place = Place::kServer;
  bool registered = false;

 private:
  abi::UringReqHeader& headers() const;
  void UseMemory(size_t payload_size);
  // The request is in the slot, as it came.
  bool is_aside() const;
  proto::Bytes PutAside(const abi::InHeader& header, size_t payload,
                        proto::Bytes excess, proto::Bytes rest);

  UringLane* const lane_;
  UringQueue* const queue_;
  UringMemory* outlives_ = nullptr;
  UringMemory::Slot* slot_ = nullptr;  // of it
  std::span<std::byte> memory_;
  std::array<iovec, 2> buffers_{};
  std::span<std::byte> data_;  // the payload of both directions
  std::vector<std::byte> aside_;
  abi::OutHeader reply_{};
  alignas(16) std::array<std::byte, 64> reply_payload_;
  uint64_t node_ = 0;
  size_t touched_ = 0;  // bytes of the payload since it was last given back
};

}  // namespace handlefs::io

#endif  // HANDLEFS_IO_URING_ENTRY_H_

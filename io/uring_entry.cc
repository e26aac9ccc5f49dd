#include "io/uring_entry.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "io/uring_lane.h"
#include "proto/opcode.h"

namespace handlefs::io {
namespace {

constexpr size_t kPage = 4096;
// Of the payload, what all requests but those with data fit into.
constexpr size_t kNames = 4 * kPage;
// An entry that carried more gives its pages back when it carries little.
constexpr size_t kMuch = 16 * kPage;

constexpr size_t RoundUp(size_t n) { return (n + kPage - 1) / kPage * kPage; }

bool StaysInPlace(uint32_t opcode) {
  return opcode == static_cast<uint32_t>(proto::Opcode::kWrite) ||
         opcode == static_cast<uint32_t>(proto::Opcode::kSetxattr);
}

}  // namespace

UringEntry::UringEntry(UringLane* lane, UringQueue* queue, size_t payload_size,
                       UringMemory* memory)
    : UringEntry(lane, queue, payload_size, memory,
                 memory != nullptr && payload_size <= memory->payload_size()
                     ? memory->Take(queue->id)
                     : nullptr) {
  // What the last one to have the slot left there is no request.
  if (slot_ != nullptr) headers() = {};
}

UringEntry::UringEntry(UringLane* lane, UringQueue* queue, size_t payload_size,
                       UringMemory* memory, UringMemory::Slot* slot)
    : lane_(lane), queue_(queue), outlives_(memory), slot_(slot) {
  size_t total = kPage + RoundUp(payload_size);
  if (slot_ != nullptr) {
    memory_ = {slot_->buffers(), total};
    // A thread that is being killed cannot have pages made: the kernel would
    // end with EINTR what it then puts here.
    (void)madvise(slot_, UringMemory::Slot::kFront + kPage + kNames,
                  MADV_POPULATE_WRITE);
    UseMemory(payload_size);
    if (is_aside() && StaysInPlace(slot_->header.opcode)) {
      payload_ = slot_->reply_payload;
    }
    return;
  }
  void* at = mmap(nullptr, total, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw std::bad_alloc();
  memory_ = {static_cast<std::byte*>(at), total};
  UseMemory(payload_size);
}

void UringEntry::UseMemory(size_t payload_size) {
  data_ = payload_ = memory_.subspan(kPage, payload_size);
  buffers_ = {iovec{memory_.data(), sizeof(abi::UringReqHeader)},
              iovec{data_.data(), data_.size()}};
}

UringEntry::~UringEntry() {
  if (slot_ != nullptr) {
    outlives_->Give(slot_);
  } else {
    munmap(memory_.data(), memory_.size());
  }
}

bool UringEntry::is_answered() const {
  return slot_ == nullptr || slot_->answered.load() == commit_id();
}

void UringEntry::NoteCommitted(uint64_t commit_id) {
  if (slot_ != nullptr) slot_->committed.store(commit_id);
}

abi::UringReqHeader& UringEntry::headers() const {
  return *reinterpret_cast<abi::UringReqHeader*>(memory_.data());
}

uint64_t UringEntry::commit_id() const {
  return headers().ring_ent_in_out.commit_id;
}

bool UringEntry::is_aside() const {
  return slot_ != nullptr && slot_->aside.load() == commit_id();
}

abi::InHeader UringEntry::header() const {
  if (is_aside()) return slot_->header;
  abi::InHeader header;
  std::memcpy(&header, headers().in_out, sizeof(header));
  return header;
}

// What is too large for the slot is lost with a server that is killed while it
// answers.
proto::Bytes UringEntry::PutAside(const abi::InHeader& header, size_t payload,
                                  proto::Bytes excess, proto::Bytes rest) {
  const size_t size = excess.size() + rest.size();
  const bool fits = slot_ != nullptr && size <= slot_->tail.size();
  if (!fits) aside_.resize(size);
  std::span<std::byte> to =
      fits ? std::span(slot_->tail).first(size) : std::span(aside_);
  std::ranges::copy(excess, to.begin());
  std::ranges::copy(rest, to.subspan(excess.size()).begin());
  if (fits) {
    slot_->header = header;
    slot_->payload_size = static_cast<uint32_t>(payload);
    slot_->tail_size = static_cast<uint32_t>(size);
    slot_->aside.store(commit_id(), std::memory_order_release);
  }
  return to;
}

Result<proto::RawRequest> UringEntry::Read() {
  const bool again = is_aside();
  proto::RawRequest raw{.header = header(), .fixed = {}, .tail = {}};
  node_ = raw.header.nodeid;
  payload_ = data_;
  const size_t payload =
      again ? slot_->payload_size : headers().ring_ent_in_out.payload_sz;
  if (payload > data_.size() ||
      raw.header.len < sizeof(abi::InHeader) + payload) {
    return Errno(EINVAL);
  }
  touched_ = std::max(touched_, payload);
  // Only what is in neither of the two is the operation's own struct.
  const size_t first = raw.header.len - sizeof(abi::InHeader) - payload;
  if (first > sizeof(headers().op_in)) return Errno(EINVAL);
  auto op_in = std::as_bytes(std::span(headers().op_in)).first(first);
  const proto::OpRow* row = proto::FindRow(raw.header.opcode);
  if (row == nullptr) return raw;
  raw.fixed = op_in.first(std::min<size_t>(first, row->fixed_in));
  proto::Bytes excess = op_in.subspan(raw.fixed.size());
  const bool stays = excess.empty() && StaysInPlace(raw.header.opcode);
  if (stays) {
    payload_ = slot_ != nullptr ? slot_->reply_payload : reply_payload_;
  }
  proto::Bytes data = data_.first(payload);
  if (again) {
    raw.tail = std::span(slot_->tail).first(slot_->tail_size);
  } else {
    // A compound's own header counts to its body.
    raw.tail =
        PutAside(raw.header, payload, excess, stays ? proto::Bytes() : data);
  }
  if (stays) raw.tail = data;
  return raw;
}

void UringEntry::PutReply() {
  const abi::OutHeader& reply = slot_ != nullptr ? slot_->reply : reply_;
  const size_t payload = reply.len - sizeof(reply);
  std::memcpy(headers().in_out, &reply, sizeof(reply));
  headers().ring_ent_in_out.payload_sz = static_cast<uint32_t>(payload);
  if (payload_.data() != data_.data()) {
    std::ranges::copy(payload_.first(payload), data_.begin());
  }
  if (touched_ > kMuch && payload <= kNames) {
    auto idle = data_.subspan(kNames);
    madvise(idle.data(), idle.size(),
            slot_ != nullptr ? MADV_REMOVE : MADV_DONTNEED);
    touched_ = 0;
  }
  touched_ = std::max(touched_, payload);
}

void UringEntry::Finish(const abi::OutHeader& header) {
  if (slot_ != nullptr) {
    slot_->reply = header;
    slot_->answered.store(commit_id(), std::memory_order_release);
  } else {
    reply_ = header;
  }
  lane_->Answered(this);
}

// Nothing that wants no reply comes over a ring; an entry goes back only with
// one, though.
void UringEntry::FinishSilently() {
  Finish(proto::MakeOutHeader(Unique{header().unique}, 0));
}

LateReply UringEntry::Release(Unique unique) { return {this, unique}; }

}  // namespace handlefs::io

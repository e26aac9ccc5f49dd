// FUSE_COMPOUND v5 (posted 2026-02-10), and LOOKUP_HANDLE RFC v3 (2026-02-25)
// which is built on it: one and the same kernel. Compounds have no INIT bit; a
// v5 kernel sends OPEN+GETATTR for every open.
#include "proto/dialects.h"

namespace handlefs::proto {
namespace {

// Flags of compound_in.
constexpr uint32_t kSeparable = 1 << 0;
constexpr uint32_t kAtomic = 1 << 1;

Status Read(Bytes body, Compound& out) {
  Cursor cursor(body);
  auto head = cursor.Take<abi::CompoundInV5>();
  if (!head) return Refuse(out, "too short for a compound");
  if (head->count == 0 || head->count > kMaxSubs) {
    return Refuse(out, "count is not 1 to 16");
  }
  // The hole before it may hold anything.
  if (head->reserved != 0) return Refuse(out, "reserved is not 0");
  out.on_failure = (head->flags & kAtomic) != 0      ? OnFailure::kUndo
                   : (head->flags & kSeparable) != 0 ? OnFailure::kGoOn
                                                     : OnFailure::kStop;
  out.kernel_drops_partial = true;
  out.result_size = head->result_size;
  Status chain = ParseChain(cursor.rest(), {}, out);
  ResolvePlaceholders(out);
  if (!chain.ok()) return chain;
  if (out.count != head->count) {
    return Refuse(out, "count is not the number of subs");
  }
  return Ok();
}

void PutHead(ReplyBuffer& out, size_t count) {
  // A count of 0, or short of a sub, makes the kernel use what is not there.
  out.Put(abi::CompoundOutV5{
      .count = static_cast<uint32_t>(count), .flags = 0, .reserved = 0});
}

}  // namespace

constinit const Dialect kLookupHandleV3 = {
    .name = "lookup-handle-v3",
    .about = "the RFC of LOOKUP_HANDLE, version 3, on compounds version 5",
    .entry = EntryShape::kEntry2,
    .answers_handle_bit = true,
    .read = &Read,
    .put_head = &PutHead,
    .head_counts = true,
};

// The same, and requests of all kinds carry the handle of their node (a second
// one where there is a second node).
constinit const Dialect kLookupHandleAll = {
    .name = "lookup-handle-all",
    .about = "experiment: as v3, and every request carries its nodes' handles",
    .entry = EntryShape::kEntry2,
    .answers_handle_bit = true,
    .handles_everywhere = true,
    .read = &Read,
    .put_head = &PutHead,
    .head_counts = true,
};

// What reviewers of v3 proposed in place of compounds (2026-04): LOOKUP_HANDLE
// as a request of its own whose reply has the attributes in it.
constinit const Dialect kLookupHandleInline = {
    .name = "lookup-handle-inline",
    .about = "a proposal: LOOKUP_HANDLE answered with attributes and handle",
    .entry = EntryShape::kInline,
    .answers_handle_bit = true,
    .read = &Read,
    .put_head = &PutHead,
    .head_counts = true,
};

}  // namespace handlefs::proto

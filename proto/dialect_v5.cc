// FUSE_COMPOUND v5 (posted 2026-02-10), and LOOKUP_HANDLE RFC v3 (2026-02-25)
// which is built on it: one and the same kernel. Compounds have no INIT bit; a
// v5 kernel sends OPEN+GETATTR for every open.
#include "proto/dialects.h"

namespace handlefs::proto {
namespace {

// Flags of compound_in.
constexpr uint32_t kSeparable = 1 << 0;
constexpr uint32_t kAtomic = 1 << 1;

Result<Compound> Parse(Bytes body) {
  Cursor cursor(body);
  auto head = cursor.Take<abi::CompoundInV5>();
  if (!head || head->count == 0 || head->count > kMaxSubs) {
    return Errno(EINVAL);
  }
  Compound compound;
  compound.on_failure = (head->flags & kAtomic) != 0      ? OnFailure::kUndo
                        : (head->flags & kSeparable) != 0 ? OnFailure::kGoOn
                                                          : OnFailure::kStop;
  compound.kernel_drops_partial = true;
  compound.result_size = head->result_size;
  RETURN_IF_ERROR(ParseChain(cursor.rest(), {}, compound));
  if (compound.count != head->count) return Errno(EINVAL);
  ResolvePlaceholders(compound);
  return compound;
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
    .parse = &Parse,
    .put_head = &PutHead,
};

// The same, and requests of all kinds carry the handle of their node (a second
// one where there is a second node).
constinit const Dialect kLookupHandleAll = {
    .name = "lookup-handle-all",
    .about = "experiment: as v3, and every request carries its nodes' handles",
    .entry = EntryShape::kEntry2,
    .answers_handle_bit = true,
    .handles_everywhere = true,
    .parse = &Parse,
    .put_head = &PutHead,
};

// What reviewers of v3 proposed in place of compounds (2026-04): LOOKUP_HANDLE
// as a request of its own whose reply has the attributes in it.
constinit const Dialect kLookupHandleInline = {
    .name = "lookup-handle-inline",
    .about = "a proposal: LOOKUP_HANDLE answered with attributes and handle",
    .entry = EntryShape::kInline,
    .answers_handle_bit = true,
    .parse = &Parse,
    .put_head = &PutHead,
};

}  // namespace handlefs::proto

// FUSE_COMPOUND v6 (posted 2026-02-26): no count; flags per compound. A kernel
// replays the subs one by one after a failure of the whole, so the whole fails
// only before anything was executed.
#include "proto/dialects.h"

namespace handlefs::proto {
namespace {

constexpr uint32_t kSeparable = 1 << 0;
constexpr uint32_t kContinue = 1 << 1;
constexpr uint32_t kAtomic = 1 << 2;

Status Read(Bytes body, Compound& out) {
  Cursor cursor(body);
  auto head = cursor.Take<abi::CompoundInV6>();
  if (!head) return Refuse(out, "too short for a compound");
  if (head->reserved != 0) return Refuse(out, "reserved is not 0");
  out.on_failure = (head->flags & kAtomic) != 0 ? OnFailure::kUndo
                   : (head->flags & (kSeparable | kContinue)) != 0
                       ? OnFailure::kGoOn
                       : OnFailure::kStop;
  out.kernel_drops_partial = true;
  out.result_size = head->result_size;
  Status chain = ParseChain(cursor.rest(), {}, out);
  ResolvePlaceholders(out);
  return chain;
}

void PutHead(ReplyBuffer& out, size_t) { out.Put(abi::CompoundOutV6{}); }

}  // namespace

constinit const Dialect kCompoundV6 = {
    .name = "compound-v6",
    .about = "compounds version 6, no handles",
    .read = &Read,
    .put_head = &PutHead,
};

}  // namespace handlefs::proto

// FUSE_COMPOUND: several requests in one message. Four framings were posted;
// each is a dialect (dialect.h) which turns bytes into the form here and back.
// The whole chain is parsed and validated before anything of it is executed.
//
// Sub requests stand back to back without padding and are unaligned. An
// extension in a sub is found by length: what is left behind the texts up to
// the sub's len. In most framings total_extlen is 0 there all the same.
#ifndef HANDLEFS_PROTO_COMPOUND_H_
#define HANDLEFS_PROTO_COMPOUND_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "proto/cursor.h"
#include "proto/reply.h"

namespace handlefs::proto {

// The kernels that posted compounds send 2 or 3; v5 allows 16.
inline constexpr size_t kMaxSubs = 16;

// In a compound the replies of LOOKUP_HANDLE and MKOBJ_HANDLE have this size
// whatever the handle's: the kernel copies so many bytes without looking.
inline constexpr size_t kEntry2Size =
    sizeof(abi::Entry2Out) + sizeof(abi::FileHandle) + abi::kMaxNodeHandle;
static_assert(kEntry2Size == 170);

// How the reply to LOOKUP_HANDLE looks.
enum class EntryShape : uint8_t {
  kNone,    // the op does not exist
  kEntry2,  // entry2_out and the handle; attributes by a STATX beside it
  kInline,  // fuse_entry_handle_out and the handle (a proposal of reviewers)
};

struct SubRequest {
  static constexpr uint8_t kOwnNode = 0xff;
  RawRequest raw;
  // The earlier sub whose node this one is about, in place of header.nodeid.
  uint8_t node_of = kOwnNode;
};

// What the failure of one sub means for the others. In any case a sub whose
// node was to come from a failed one fails with the same error.
enum class OnFailure : uint8_t {
  kGoOn,  // nothing
  kStop,  // those behind it fail with the same error
  kUndo,  // and those before it are undone
};

struct Compound {
  OnFailure on_failure = OnFailure::kStop;
  // The kernel gives back neither the lookup nor the open file of a sub if a
  // later one about the same node fails: the server has to.
  bool kernel_drops_partial = false;
  // Bytes of all sub payloads that the kernel has room for; SIZE_MAX unless
  // the framing says.
  size_t result_size = SIZE_MAX;
  size_t count = 0;
  std::array<SubRequest, kMaxSubs> subs;
  // Why it was refused, for the trace; of sub `count` or of the whole.
  std::string_view problem;
  bool problem_in_sub = false;

  std::span<const SubRequest> chain() const { return {subs.data(), count}; }
};

// Ops that make sense only as a message of their own: EOPNOTSUPP in a compound.
bool MayBeSub(const OpRow& row);

// For the dialects: cuts `body` into subs. `prefix` bytes stand before each
// header; `read_prefix` sees them. EINVAL: a length that does not fit, no sub,
// more than kMaxSubs, bytes left over, or an unknown opcode; the subs before it
// are in `out`.
struct ChainOptions {
  size_t prefix = 0;
  // Notes what stands in the prefix of sub `index`; the reason if it refuses.
  std::string_view (*read_prefix)(Bytes prefix, size_t index,
                                  Compound& out) = nullptr;
};
Status ParseChain(Bytes body, const ChainOptions& options, Compound& out);
// EINVAL, with the reason.
Status Refuse(Compound& out, std::string_view why);
// Nodeid 1 behind a LOOKUP_HANDLE or MKOBJ_HANDLE means the node that it gave
// (the kernel sends STATX and OPEN so): the framings without dependencies.
void ResolvePlaceholders(Compound& compound);
// The smallest reply of a sub that succeeds, without its out header; of those
// with a handle, which are padded, also the largest.
size_t FixedReplySize(const OpRow& row, EntryShape shape = EntryShape::kEntry2);

}  // namespace handlefs::proto

#endif  // HANDLEFS_PROTO_COMPOUND_H_

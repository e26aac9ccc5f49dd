// The dialects of the protocol that no released kernel speaks: FUSE_COMPOUND in
// its framings and FUSE_LOOKUP_HANDLE. Numbers and layouts will move again, so
// each is one file (dialect_*.cc) and one row of kDialects.
#ifndef HANDLEFS_PROTO_DIALECT_H_
#define HANDLEFS_PROTO_DIALECT_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proto/compound.h"

namespace handlefs::proto {

struct Dialect {
  std::string_view name;
  // One line for people.
  std::string_view about;
  EntryShape entry = EntryShape::kNone;
  // INIT is answered with bit 43, HAS_LOOKUP_HANDLE.
  bool answers_handle_bit = false;
  // Every request carries the handles of its nodes: the server keeps no table.
  bool handles_everywhere = false;
  // `body` is what follows the in header of the COMPOUND. EINVAL: `out` says
  // why, and has the subs before the bad one. Null: ENOSYS.
  Status (*read)(Bytes body, Compound& out) = nullptr;
  // The compound_out that stands before the sub replies.
  void (*put_head)(ReplyBuffer& out, size_t count) = nullptr;
  // It begins with their number.
  bool head_counts = false;

  bool has_compounds() const { return read != nullptr; }
  Result<Compound> parse(Bytes body) const {
    Compound compound;
    RETURN_IF_ERROR(read(body, compound));
    return compound;
  }
};

// The first row is mainline, which has neither.
std::span<const Dialect* const> Dialects();
const Dialect* FindDialect(std::string_view name);
const Dialect& MainlineDialect();

// What an INIT tells about the kernel (its bugs are the evidence).
struct Fingerprint {
  const Dialect* dialect;
  std::string evidence;  // one line
};
Fingerprint RecognizeInit(const abi::InitIn& in);
// Bit 43 is offered with its other meaning, HAS_IO_URING_BUFPOOL of 7.46.
bool HasBufpoolBit(const abi::InitIn& in);

// The framing of a compound, by its bytes; null if no framing fits. A kernel
// never changes its framing.
const Dialect* RecognizeCompound(Bytes body);
// The framing that one which fits none is most like.
const Dialect& LikelyFraming(Bytes body);

// Bytes of compound_out in every framing.
inline constexpr size_t kCompoundHeadSize = 16;

}  // namespace handlefs::proto

#endif  // HANDLEFS_PROTO_DIALECT_H_

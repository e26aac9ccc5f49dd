// FUSE_COMPOUND v7 (posted 2026-06-04) and the framing of the library branch
// before it ("dev"): dependencies are on the wire, in a prefix of each sub.
// Errors of the subs are reported apart, so nothing is given back for
// another's.
#include "proto/dialects.h"

namespace handlefs::proto {
namespace {

constexpr uint8_t kNoDependency = 0xff;
constexpr uint8_t kDevIsDependent = 1 << 2;
constexpr uint8_t kDevKnownFlags = 0x7;

// A dependency is an earlier sub that yields a node.
bool Depend(uint8_t on, size_t index, Compound& out) {
  if (on >= index) return false;
  const OpRow* row = FindRow(out.subs[on].raw.header.opcode);
  if (row == nullptr || (row->flags & kMakesEntry) == 0) return false;
  out.subs[index].node_of = on;
  return true;
}

bool ReadPrefixV7(Bytes bytes, size_t index, Compound& out) {
  auto prefix = Cursor(bytes).Take<abi::CompoundSubV7>();
  for (uint8_t byte : prefix->reserved) {
    if (byte != 0) return false;
  }
  return prefix->dep_index == kNoDependency ||
         Depend(prefix->dep_index, index, out);
}

bool ReadPrefixDev(Bytes bytes, size_t index, Compound& out) {
  auto prefix = Cursor(bytes).Take<abi::CompoundSubDev>();
  if ((prefix->flags & ~kDevKnownFlags) != 0 || prefix->padding != 0 ||
      prefix->reserved != 0) {
    return false;
  }
  return (prefix->flags & kDevIsDependent) == 0 ||
         Depend(prefix->sub_dep_index, index, out);
}

Result<Compound> Parse(Bytes body, const ChainOptions& options) {
  Cursor cursor(body);
  auto head = cursor.Take<abi::CompoundV7>();
  if (!head || head->reserved[0] != 0 || head->reserved[1] != 0) {
    return Errno(EINVAL);
  }
  Compound compound;
  compound.on_failure = OnFailure::kGoOn;
  RETURN_IF_ERROR(ParseChain(cursor.rest(), options, compound));
  return compound;
}

Result<Compound> ParseV7(Bytes body) {
  return Parse(body, {.prefix = sizeof(abi::CompoundSubV7),
                      .read_prefix = &ReadPrefixV7});
}
Result<Compound> ParseDev(Bytes body) {
  return Parse(body, {.prefix = sizeof(abi::CompoundSubDev),
                      .read_prefix = &ReadPrefixDev});
}

void PutHead(ReplyBuffer& out, size_t) { out.Put(abi::CompoundV7{}); }

}  // namespace

constinit const Dialect kCompoundV7 = {
    .name = "compound-v7",
    .about = "compounds version 7, no handles",
    .parse = &ParseV7,
    .put_head = &PutHead,
};

constinit const Dialect kCompoundDev = {
    .name = "compound-dev",
    .about = "compounds as in the library branch between versions 6 and 7",
    .parse = &ParseDev,
    .put_head = &PutHead,
};

}  // namespace handlefs::proto

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
std::string_view Depend(uint8_t on, size_t index, Compound& out) {
  if (on >= index) return "it depends on no earlier sub";
  const OpRow* row = FindRow(out.subs[on].raw.header.opcode);
  if (row == nullptr || (row->flags & kMakesEntry) == 0) {
    return "it depends on a sub that gives no node";
  }
  out.subs[index].node_of = on;
  return {};
}

std::string_view ReadPrefixV7(Bytes bytes, size_t index, Compound& out) {
  auto prefix = Cursor(bytes).Take<abi::CompoundSubV7>();
  for (uint8_t byte : prefix->reserved) {
    if (byte != 0) return "reserved is not 0";
  }
  if (prefix->dep_index == kNoDependency) return {};
  return Depend(prefix->dep_index, index, out);
}

std::string_view ReadPrefixDev(Bytes bytes, size_t index, Compound& out) {
  auto prefix = Cursor(bytes).Take<abi::CompoundSubDev>();
  if ((prefix->flags & ~kDevKnownFlags) != 0) return "unknown flags";
  if (prefix->padding != 0 || prefix->reserved != 0) {
    return "reserved is not 0";
  }
  if ((prefix->flags & kDevIsDependent) == 0) return {};
  return Depend(prefix->sub_dep_index, index, out);
}

Status Read(Bytes body, const ChainOptions& options, Compound& out) {
  Cursor cursor(body);
  auto head = cursor.Take<abi::CompoundV7>();
  if (!head) return Refuse(out, "too short for a compound");
  if (head->reserved[0] != 0 || head->reserved[1] != 0) {
    return Refuse(out, "reserved is not 0");
  }
  out.on_failure = OnFailure::kGoOn;
  return ParseChain(cursor.rest(), options, out);
}

Status ReadV7(Bytes body, Compound& out) {
  return Read(
      body,
      {.prefix = sizeof(abi::CompoundSubV7), .read_prefix = &ReadPrefixV7},
      out);
}
Status ReadDev(Bytes body, Compound& out) {
  return Read(
      body,
      {.prefix = sizeof(abi::CompoundSubDev), .read_prefix = &ReadPrefixDev},
      out);
}

void PutHead(ReplyBuffer& out, size_t) { out.Put(abi::CompoundV7{}); }

}  // namespace

constinit const Dialect kCompoundV7 = {
    .name = "compound-v7",
    .about = "compounds version 7, no handles",
    .read = &ReadV7,
    .put_head = &PutHead,
};

constinit const Dialect kCompoundDev = {
    .name = "compound-dev",
    .about = "compounds as in the library branch between versions 6 and 7",
    .read = &ReadDev,
    .put_head = &PutHead,
};

}  // namespace handlefs::proto

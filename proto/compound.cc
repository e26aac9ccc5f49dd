#include "proto/compound.h"

namespace handlefs::proto {

bool MayBeSub(const OpRow& row) {
  return (row.flags & (kDevOnly | kAlone)) == 0;
}

Status ParseChain(Bytes body, const ChainOptions& options, Compound& out) {
  Cursor cursor(body);
  while (!cursor.rest().empty()) {
    if (out.count == kMaxSubs) return Errno(EINVAL);
    SubRequest& sub = out.subs[out.count];
    if (options.prefix != 0) {
      auto prefix = cursor.TakeBytes(options.prefix);
      if (!prefix || !options.read_prefix(*prefix, out.count, out)) {
        return Errno(EINVAL);
      }
    }
    auto header = Cursor(cursor.rest()).Take<abi::InHeader>();
    if (!header || header->len < sizeof(abi::InHeader)) return Errno(EINVAL);
    auto message = cursor.TakeBytes(header->len);
    if (!message || FindRow(header->opcode) == nullptr) return Errno(EINVAL);
    ASSIGN_OR_RETURN(sub.raw, Split(*message, sizeof(abi::SetxattrIn)));
    sub.raw.ext_place = RawRequest::ExtPlace::kRest;
    ++out.count;
  }
  return out.count == 0 ? Status(Errno(EINVAL)) : Ok();
}

void ResolvePlaceholders(Compound& compound) {
  uint8_t maker = SubRequest::kOwnNode;
  for (size_t i = 0; i < compound.count; ++i) {
    SubRequest& sub = compound.subs[i];
    auto op = static_cast<Opcode>(sub.raw.header.opcode);
    if (op == Opcode::kLookupHandle || op == Opcode::kMkobjHandle) {
      maker = static_cast<uint8_t>(i);
    } else if (NodeId{sub.raw.header.nodeid} == kRootNode) {
      sub.node_of = maker;
    }
  }
}

size_t FixedReplySize(const OpRow& row) {
  if (row.op == Opcode::kLookupHandle || row.op == Opcode::kMkobjHandle) {
    return kEntry2Size;
  }
  return row.reply == ReplyKind::kFixed || row.reply == ReplyKind::kFixedData
             ? row.reply_size
             : 0;
}

}  // namespace handlefs::proto

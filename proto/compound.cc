#include "proto/compound.h"

namespace handlefs::proto {

bool MayBeSub(const OpRow& row) {
  return (row.flags & (kDevOnly | kAlone)) == 0;
}

Status Refuse(Compound& out, std::string_view why) {
  out.problem = why;
  return Errno(EINVAL);
}

Status ParseChain(Bytes body, const ChainOptions& options, Compound& out) {
  Cursor cursor(body);
  // Until the sub is whole.
  out.problem_in_sub = true;
  while (!cursor.rest().empty()) {
    if (out.count == kMaxSubs) return Refuse(out, "more than 16 subs");
    SubRequest& sub = out.subs[out.count];
    if (options.prefix != 0) {
      auto prefix = cursor.TakeBytes(options.prefix);
      if (!prefix) return Refuse(out, "the prefix is cut off");
      std::string_view why = options.read_prefix(*prefix, out.count, out);
      if (!why.empty()) return Refuse(out, why);
    }
    auto header = Cursor(cursor.rest()).Take<abi::InHeader>();
    if (!header) return Refuse(out, "the header is cut off");
    if (header->len < sizeof(abi::InHeader)) {
      return Refuse(out, "len is less than a header");
    }
    auto message = cursor.TakeBytes(header->len);
    if (!message) return Refuse(out, "len reaches past the end");
    if (FindRow(header->opcode) == nullptr) {
      return Refuse(out, "unknown opcode");
    }
    ASSIGN_OR_RETURN(sub.raw, Split(*message, sizeof(abi::SetxattrIn)));
    sub.raw.ext_place = RawRequest::ExtPlace::kRest;
    ++out.count;
  }
  out.problem_in_sub = false;
  return out.count == 0 ? Refuse(out, "no subs") : Ok();
}

void ResolvePlaceholders(Compound& compound) {
  uint8_t maker = SubRequest::kOwnNode;
  for (size_t i = 0; i < compound.count; ++i) {
    SubRequest& sub = compound.subs[i];
    const OpRow* row = FindRow(sub.raw.header.opcode);
    if (row != nullptr && (row->flags & kGivesHandle) != 0) {
      maker = static_cast<uint8_t>(i);
    } else if (NodeId{sub.raw.header.nodeid} == kRootNode) {
      sub.node_of = maker;
    }
  }
}

size_t FixedReplySize(const OpRow& row, EntryShape shape) {
  if ((row.flags & kGivesHandle) != 0) {
    constexpr size_t kHandle = kEntry2Size - sizeof(abi::Entry2Out);
    return shape == EntryShape::kInline ? sizeof(abi::EntryHandleOut) + kHandle
                                        : kEntry2Size;
  }
  return row.reply == ReplyKind::kFixed || row.reply == ReplyKind::kFixedData
             ? row.reply_size
             : 0;
}

}  // namespace handlefs::proto

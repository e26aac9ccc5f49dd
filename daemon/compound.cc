// Runs a compound: parsed and validated whole, then sub by sub, each as if it
// had come alone. The kernel that reads the reply checks little (it copies
// fixed sizes, and takes what is missing for zeros), so every sub is answered,
// with exactly its size.
#include "proto/compound.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "daemon/log.h"
#include "daemon/server.h"

namespace handlefs {
namespace {

using proto::OnFailure;
using proto::SubRequest;

constexpr size_t kHead = sizeof(abi::OutHeader);

struct SubReply {
  bool failed = false;
  Errno error{0};
  size_t at = 0;    // of the payload
  size_t size = 0;  // of the payload
  NodeId made = kNoNode;
  std::optional<Errno> lost;  // succeeded in vain

  void Fail(Errno why) {
    failed = true;
    error = why;
    size = 0;
  }
};

using Replies = std::array<SubReply, proto::kMaxSubs>;

const proto::OpRow& RowOfSub(const SubRequest& sub) {
  return *proto::FindRow(sub.raw.header.opcode);
}

bool GivesSomething(const SubRequest& sub) {
  const proto::OpRow& row = RowOfSub(sub);
  return (row.flags & proto::kMakesEntry) != 0 || row.op == Opcode::kOpen ||
         row.op == Opcode::kOpendir;
}

// Nothing that cannot be taken back may stand before the end of a compound that
// is all or nothing.
bool CanBeUndone(const proto::Compound& compound) {
  for (size_t i = 0; i + 1 < compound.count; ++i) {
    const proto::OpRow& row = RowOfSub(compound.subs[i]);
    if ((row.flags & proto::kMutates) != 0 &&
        !GivesSomething(compound.subs[i])) {
      return false;
    }
  }
  return true;
}

// Whether sub `later` is about what sub `first` gave, a node or an open file.
bool IsAbout(const proto::Compound& compound, size_t later, size_t first) {
  const SubRequest& a = compound.subs[first];
  const SubRequest& b = compound.subs[later];
  if (b.node_of == first) return true;
  return (RowOfSub(a).flags & proto::kMakesEntry) == 0 && GivesSomething(a) &&
         a.node_of == b.node_of && a.raw.header.nodeid == b.raw.header.nodeid;
}

// Marks what the kernel will drop without a word because another sub failed,
// and what is about it.
void FindLost(const proto::Compound& compound, Replies& replies,
              Errno first_error) {
  for (size_t i = 0; i < compound.count; ++i) {
    if (compound.on_failure == OnFailure::kUndo) replies[i].lost = first_error;
    if (!compound.kernel_drops_partial) continue;
    for (size_t j = i + 1; j < compound.count && !replies[i].lost; ++j) {
      if (replies[j].failed && IsAbout(compound, j, i)) {
        replies[i].lost = replies[j].error;
      }
    }
    const uint8_t from = compound.subs[i].node_of;
    if (from != SubRequest::kOwnNode && replies[from].lost) {
      replies[i].lost = replies[from].lost;
    }
  }
}

}  // namespace

const proto::Dialect* Server::FramingOf(proto::Bytes body) {
  if (const proto::Dialect* framing = framing_.load()) return framing;
  // The options name a dialect without compounds.
  if (options_.dialect != nullptr) return nullptr;
  const proto::Dialect* found = proto::RecognizeCompound(body);
  if (found != nullptr && framing_.exchange(found) == nullptr) {
    Log(LogLevel::kInfo, absl::StrCat("compounds are framed as in dialect ",
                                      std::string(found->name)));
  }
  return found;
}

Status Server::RunCompound(OpContext context, const proto::RawRequest& raw,
                           ReplyBuffer& out) {
  const proto::Dialect* framing = FramingOf(raw.tail);
  if (framing == nullptr) {
    return Errno(options_.dialect != nullptr ? ENOSYS : EINVAL);
  }
  ASSIGN_OR_RETURN(proto::Compound compound, framing->parse(raw.tail));
  const std::span<SubRequest> subs(compound.subs.data(), compound.count);
  const proto::EntryShape shape = dialect().entry;
  size_t least = 0;
  for (const SubRequest& sub : subs) {
    least += proto::FixedReplySize(RowOfSub(sub), shape);
  }
  const size_t heads = proto::kCompoundHeadSize + kHead * subs.size();
  if (least > compound.result_size || heads + least > out.capacity()) {
    return Errno(EINVAL);
  }
  const bool atomic = compound.on_failure == OnFailure::kUndo;
  if (atomic && !CanBeUndone(compound)) return Errno(EOPNOTSUPP);

  framing->put_head(out, subs.size());
  size_t room = std::min(compound.result_size, out.capacity() - heads);
  Replies replies;
  Chain chain;
  bool failed = false;
  Errno first_error{0};
  for (size_t i = 0; i < subs.size(); ++i) {
    SubRequest& sub = subs[i];
    SubReply& reply = replies[i];
    const proto::OpRow& row = RowOfSub(sub);
    least -= proto::FixedReplySize(row, shape);
    // One caller, whatever the framing puts here.
    sub.raw.header.uid = raw.header.uid;
    sub.raw.header.gid = raw.header.gid;
    sub.raw.header.pid = raw.header.pid;
    Status status = Ok();
    if (failed && compound.on_failure != OnFailure::kGoOn) {
      status = first_error;
    } else if (sub.node_of != SubRequest::kOwnNode) {
      const SubReply& from = replies[sub.node_of];
      if (from.failed) status = from.error;
      sub.raw.header.nodeid = Raw(from.made);
    }
    out.Use(kHead);
    reply.at = out.size();
    // What the subs behind need is kept for them.
    ReplyBuffer payload(out.Space().first(room - least));
    if (status.ok()) {
      OpContext here{.place = i == 0 ? context.place : Place::kPool,
                     .chain = &chain,
                     .intent = context.intent};
      status = proto::MayBeSub(row) ? Answer(here, sub.raw, payload)
                                    : Status(Errno(EOPNOTSUPP));
      // Only what reads can have more to say than was reckoned with.
      if (status.ok() && payload.overflowed()) status = Errno(ERANGE);
    }
    if (!status.ok()) {
      // Nothing has been done yet: the whole may wait elsewhere, or end.
      if (i == 0 &&
          (status.error() == kWouldWait || status.error() == Errno(EINTR))) {
        return status;
      }
      reply.Fail(status.error());
      if (!failed) first_error = status.error();
      failed = true;
      continue;
    }
    // The kernel copies so many bytes of these whatever the handle's size is.
    const size_t fixed = proto::FixedReplySize(row, shape);
    const bool padded = fixed != row.reply_size && fixed > payload.size();
    if (padded) {
      std::memset(payload.Space().data(), 0, fixed - payload.size());
      payload.Use(fixed - payload.size());
    }
    reply.size = payload.size();
    room -= reply.size;
    out.Use(reply.size);
    if ((row.flags & proto::kMakesEntry) != 0) {
      reply.made = NodeId{
          *proto::Cursor(out.Written().subspan(reply.at)).Take<uint64_t>()};
    }
  }

  if (failed) {
    FindLost(compound, replies, first_error);
    // An opened file goes before its node.
    for (size_t i = subs.size(); i-- > 0;) {
      SubReply& reply = replies[i];
      if (reply.failed || !reply.lost) continue;
      if (GivesSomething(subs[i])) {
        ops_.TakeBack(subs[i].raw, out.Written().subspan(reply.at, reply.size),
                      Ops::Undo::kNames);
      }
      reply.Fail(*reply.lost);
    }
  }

  // The headers, and what was taken back closes up.
  const size_t end = out.size();
  size_t at = proto::kCompoundHeadSize;
  std::byte* base = out.Written().data();
  for (size_t i = 0; i < subs.size(); ++i) {
    const SubReply& reply = replies[i];
    std::memmove(base + at + kHead, base + reply.at, reply.size);
    Unique unique{subs[i].raw.header.unique};
    abi::OutHeader header = reply.failed
                                ? proto::MakeErrorHeader(unique, reply.error)
                                : proto::MakeOutHeader(unique, reply.size);
    std::memcpy(base + at, &header, kHead);
    at += kHead + reply.size;
  }
  out.Shrink(end - at);
  return Ok();
}

}  // namespace handlefs

#include "tracer.h"

#include <algorithm>
#include <cstring>

#include "proto/base/ids.h"
#include "proto/flags.h"
#include "proto/notify.h"
#include "proto/text.h"

namespace handlefs::trace {
namespace {

using proto::Bytes;
using proto::Cursor;
using proto::Explanation;
using proto::Opcode;

constexpr bool Is(uint32_t opcode, Opcode op) {
  return opcode == static_cast<uint32_t>(op);
}

// A request has an opcode where a reply has an error, which is 0 or negative;
// notifications have a positive number there, and no unique.
Direction DirectionOf(Bytes message) {
  auto header = Cursor(message).Take<abi::OutHeader>();
  if (!header || header->error <= 0 || header->unique == 0) {
    return Direction::kReply;
  }
  return Direction::kRequest;
}

Explanation Malformed(std::string_view direction, size_t size,
                      const std::string& why) {
  Explanation out;
  out.text = std::string(direction) + " malformed (" + std::to_string(size) +
             " bytes) ! " + why;
  out.problems = 1;
  return out;
}

}  // namespace

Explanation Tracer::Request(Bytes message) {
  auto raw = proto::Split(message, setxattr_size_);
  if (!raw.ok()) {
    auto header = Cursor(message).Take<abi::InHeader>();
    if (!header) {
      return Malformed("rx", message.size(), "too short for a header");
    }
    return Malformed("rx " + std::to_string(header->unique) + " " +
                         proto::OpcodeName(header->opcode),
                     message.size(), "len is " + std::to_string(header->len));
  }
  const uint32_t opcode = raw->header.opcode;
  const proto::Dialect* framing = dialect_;
  if (framing == nullptr && Is(opcode, Opcode::kCompound)) {
    if (const auto* found = proto::RecognizeCompound(raw->tail)) {
      framing_ = found;
    }
    framing = framing_;
  }
  const proto::OpRow* row = proto::FindRow(opcode);
  if (row == nullptr || row->reply != proto::ReplyKind::kNever) {
    asked_[raw->header.unique & ~kUniqueResend] = proto::AskedBy(*raw, framing);
  }
  Forget(*raw);
  Explanation out = proto::ExplainRequest(*raw, framing);
  if (Is(opcode, Opcode::kInit)) {
    if (auto init = proto::Decode<Opcode::kInit>(*raw); init.ok()) {
      proto::Fingerprint kernel = proto::RecognizeInit(init->in);
      out.text +=
          "\n  " + std::string(kernel.dialect->name) + ": " + kernel.evidence;
    }
  }
  return out;
}

Explanation Tracer::Reply(Bytes message) {
  Cursor cursor(message);
  auto header = cursor.Take<abi::OutHeader>();
  if (!header) {
    return Malformed("tx", message.size(), "too short for a header");
  }
  if (header->unique == 0) return proto::ExplainNotification(message);
  auto found = asked_.find(header->unique & ~kUniqueResend);
  if (found == asked_.end()) {
    return proto::ExplainReply(proto::GuessAsked(*header, cursor.rest()),
                               *header, cursor.rest());
  }
  proto::Asked asked = std::move(found->second);
  asked_.erase(found);
  if (Is(asked.opcode, Opcode::kInit) && header->error == 0) {
    // What there is of it: old servers answer with less.
    abi::InitOut out{};
    std::memcpy(&out, cursor.rest().data(),
                std::min(cursor.rest().size(), sizeof(out)));
    auto flags = proto::InitFlags::FromWire(out.flags, out.flags2);
    setxattr_size_ = flags.Has(proto::init::kSetxattrExt) ? 16 : 8;
  }
  return proto::ExplainReply(asked, *header, cursor.rest());
}

// What may come back with another handle.
void Tracer::Forget(const proto::RawRequest& raw) {
  if (Is(raw.header.opcode, Opcode::kForget)) {
    handles_.erase(raw.header.nodeid);
  } else if (Is(raw.header.opcode, Opcode::kBatchForget)) {
    Cursor cursor(raw.tail);
    while (auto one = cursor.Take<abi::ForgetOne>())
      handles_.erase(one->nodeid);
  }
}

// The kernel compares: an inode whose handle is another one turns bad.
void Tracer::Compare(Explanation& out) {
  for (auto& [node, handle] : out.handles) {
    auto [known, is_new] = handles_.try_emplace(node, handle);
    if (is_new || known->second == handle) continue;
    known->second = std::move(handle);
    ++out.problems;
    out.text += "\n  ! another handle than before of n" + std::to_string(node);
  }
}

std::string Tracer::Take(Direction direction, Bytes message) {
  if (direction == Direction::kUnknown) direction = direction_;
  if (direction == Direction::kUnknown) direction = DirectionOf(message);
  Explanation out =
      direction == Direction::kRequest ? Request(message) : Reply(message);
  Compare(out);
  problems_ += out.problems;
  return out.text + '\n';
}

}  // namespace handlefs::trace

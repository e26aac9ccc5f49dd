// Replies, judged as the posted kernel code reads them: it copies fixed sizes,
// takes what is missing for zeros, and trusts nodeids, modes and handle sizes.
#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "proto/explain.h"
#include "proto/text.h"
#include "proto/text_line.h"

namespace handlefs::proto {
namespace {

using internal::Line;

constexpr size_t kHead = sizeof(abi::OutHeader);
constexpr int32_t kMostNegative = -511;

struct Lifetime {
  uint64_t seconds = 0;
  uint32_t nanoseconds = 0;
  bool operator==(const Lifetime&) const = default;
};

struct SubReply {
  Line line{""};
  abi::OutHeader header{};
  Bytes payload;
  bool ok() const { return header.error == 0; }
};

bool IsType(uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
      return true;
    default:
      return false;
  }
}

void CheckMode(Line& line, uint32_t mode) {
  if (!IsType(mode)) line.Problem("a mode without a type");
}
void CheckStatx(Line& line, const abi::Statx& stat) {
  static constexpr uint32_t kBasic = 0x7ff;
  CheckMode(line, stat.mode);
  if (stat.size > INT64_MAX) line.Problem("a negative size");
  if ((stat.mask & kBasic) != kBasic) {
    line.Problem("mask lacks basic attributes");
  }
}

// Nodeid, generation and handle of LOOKUP_HANDLE and MKOBJ_HANDLE.
void CheckEntryHandle(Line& line, Opcode op, Bytes payload, bool in_compound,
                      Explanation& out) {
  Cursor cursor(payload);
  auto entry = Cursor(payload).Take<abi::Entry2Out>();
  if (!entry) return;  // too short, which was said
  if (entry->nodeid == 0) {
    line.Problem("nodeid 0 is taken for a node: a missing name is ENOENT");
  }
  if (entry->nodeid == Raw(kRootNode)) {
    if (op == Opcode::kMkobjHandle) line.Problem("the root is not made");
    if (entry->generation != 0) line.Problem("the root has generation 0");
  }
  const bool is_inline = payload.size() >= sizeof(abi::EntryHandleOut);
  if (is_inline) {
    CheckStatx(line, cursor.Take<abi::EntryHandleOut>()->stat);
  } else {
    (void)cursor.Take<abi::Entry2Out>();
  }
  auto handle = cursor.Take<abi::FileHandle>();
  if (!handle || handle->size > cursor.rest().size()) return;  // was said
  out.handles.emplace_back(
      entry->nodeid,
      std::string(internal::AsText(cursor.rest().first(handle->size))));
  const size_t struct_size = payload.size() - cursor.rest().size();
  const size_t natural = struct_size + handle->size;
  const size_t padded = (natural + 7) & ~size_t{7};
  const size_t fixed = struct_size + abi::kMaxNodeHandle;
  if (payload.size() != natural &&
      !(in_compound && (payload.size() == padded || payload.size() == fixed))) {
    line.Problem("bytes behind the handle");
  }
}

void CheckSuccess(Line& line, uint32_t opcode, Bytes payload, bool in_compound,
                  Explanation& out) {
  const OpRow* row = FindRow(opcode);
  if (row == nullptr) return;
  if ((row->flags & kGivesHandle) != 0) {
    CheckEntryHandle(line, row->op, payload, in_compound, out);
  } else if (row->op == Opcode::kStatx) {
    if (auto statx = Cursor(payload).Take<abi::StatxOut>()) {
      CheckStatx(line, statx->stat);
    }
  } else if (row->op == Opcode::kGetattr || row->op == Opcode::kSetattr) {
    if (auto attr = Cursor(payload).Take<abi::AttrOut>()) {
      CheckMode(line, attr->attr.mode);
    }
  } else if ((row->flags & kMakesEntry) != 0) {
    auto entry = Cursor(payload).Take<abi::EntryOut>();
    if (entry && entry->nodeid != 0) CheckMode(line, entry->attr.mode);
  }
}

void CheckError(Line& line, const abi::OutHeader& header, size_t payload) {
  if (header.error > 0) line.Problem("a positive error");
  if (header.error < kMostNegative) line.Problem("an error below -511");
  if (header.error != 0 && payload != 0) line.Problem("bytes behind an error");
}

// Behind the name of the op.
void Answer(Line& line, uint32_t opcode, const abi::OutHeader& header,
            Bytes payload, bool in_compound, Explanation& out) {
  internal::ReplyText(line, opcode, header, payload);
  CheckError(line, header, payload.size());
  if (header.error == 0) CheckSuccess(line, opcode, payload, in_compound, out);
  const OpRow* row = FindRow(opcode);
  if (row != nullptr && (row->flags & kGivesHandle) != 0 &&
      header.error == -ENOSYS) {
    line.Problem("the kernel does not fall back to LOOKUP");
  }
}

// A reply to a compound, cut into its subs.
class CompoundReply {
 public:
  CompoundReply(const Asked& asked, Line& whole, Explanation& out)
      : asked_(asked), whole_(whole), out_(out) {}

  void Read(Bytes payload) {
    Cursor cursor(payload);
    auto count = Cursor(payload).Take<uint32_t>();
    if (!cursor.TakeBytes(kCompoundHeadSize)) {
      whole_.Malformed(payload.size()).Problem("too short for a compound");
      return;
    }
    if (asked_.result_size < payload.size() &&
        payload.size() - asked_.result_size >
            kCompoundHeadSize + kHead * asked_.subs.size()) {
      flags_.Problem("longer than the kernel's buffer");
    }
    const size_t most = asked_.framing->head_counts
                            ? std::min<size_t>(*count, asked_.subs.size())
                            : asked_.subs.size();
    while (!cursor.rest().empty() && subs_.size() < most) {
      if (!ReadSub(cursor)) break;
    }
    if (asked_.framing->head_counts && *count != subs_.size()) {
      flags_.Problem("count is ").Digits(*count, 10);
    }
    if (!cursor.rest().empty()) {
      flags_.Problem("bytes behind the last sub: ");
      flags_.Digits(cursor.rest().size(), 10);
    }
    CheckAllAnswered();
    whole_.Value(uint64_t{subs_.size()});
    whole_.Word(subs_.size() == 1 ? "sub" : "subs").Append(flags_);
    for (size_t i = 0; i < subs_.size(); ++i) CheckAmongOthers(i);
  }

  // The lines of the subs, behind that of the whole.
  void Finish() && {
    for (SubReply& sub : subs_) {
      out_.problems += sub.line.problems();
      out_.text += '\n';
      out_.text += std::move(sub.line).Done();
    }
  }

 private:
  bool ReadSub(Cursor& cursor) {
    const size_t index = subs_.size();
    SubReply sub;
    sub.line = Line("  ." + std::to_string(index));
    auto header = Cursor(cursor.rest()).Take<abi::OutHeader>();
    if (!header || header->len < kHead || header->len > cursor.rest().size()) {
      flags_.Problem("sub .").Digits(index, 10).Raw(
          !header               ? " is cut off"
          : header->len < kHead ? " has a len less than a header"
                                : " has a len past the end");
      return false;
    }
    sub.header = *header;
    sub.payload = cursor.TakeBytes(header->len)->subspan(kHead);
    const uint32_t opcode = asked_.subs[index].opcode;
    sub.line.Word(opcode == 0 ? "?" : OpcodeName(opcode));
    Answer(sub.line, opcode, sub.header, sub.payload, true, out_);
    subs_.push_back(std::move(sub));
    return true;
  }

  // The kernel takes a sub without reply for a success full of zeros, unless a
  // failure before it ends the matter.
  void CheckAllAnswered() {
    if (subs_.size() == asked_.subs.size()) return;
    if (std::all_of(subs_.begin(), subs_.end(),
                    [](const SubReply& sub) { return sub.ok(); })) {
      flags_.Problem("not answered: ");
      flags_.Digits(asked_.subs.size() - subs_.size(), 10);
      flags_.Raw(" of ").Digits(asked_.subs.size(), 10);
    }
  }

  void CheckAmongOthers(size_t index) {
    SubReply& sub = subs_[index];
    if (!sub.ok()) return;
    const Asked::Sub& asked = asked_.subs[index];
    if (asked.opcode == static_cast<uint32_t>(Opcode::kStatx) &&
        asked.node_of < index) {
      CheckAttributesOf(asked.node_of, sub);
    }
    if (!asked_.kernel_drops_partial) return;
    for (size_t later = index + 1; later < subs_.size(); ++later) {
      if (subs_[later].ok() || !IsAbout(later, index)) continue;
      sub.line.Problem("kept, and the kernel drops it as .");
      sub.line.Digits(later, 10).Raw(" failed");
      break;
    }
  }

  // STATX of the node that an earlier sub gave with handle.
  void CheckAttributesOf(size_t maker, SubReply& sub) {
    const SubReply& from = subs_[maker];
    auto entry = Cursor(from.payload).Take<abi::Entry2Out>();
    auto statx = Cursor(sub.payload).Take<abi::StatxOut>();
    const OpRow* row = FindRow(asked_.subs[maker].opcode);
    if (!from.ok() || !entry || !statx || row == nullptr ||
        (row->flags & kGivesHandle) == 0 ||
        from.payload.size() >= sizeof(abi::EntryHandleOut)) {
      return;
    }
    Lifetime name{entry->entry_valid, entry->entry_valid_nsec};
    if (name != Lifetime{statx->attr_valid, statx->attr_valid_nsec}) {
      sub.line.Problem("attr_valid is not the entry_valid of .");
      sub.line.Digits(maker, 10);
    }
    if (row->op == Opcode::kMkobjHandle && !S_ISREG(statx->stat.mode)) {
      sub.line.Problem("what was made is no regular file");
    }
  }

  // Whether sub `later` is about the node or the open file that `first` gave.
  bool IsAbout(size_t later, size_t first) const {
    const Asked::Sub& a = asked_.subs[first];
    const Asked::Sub& b = asked_.subs[later];
    if (b.node_of == first) return true;
    const bool opens = a.opcode == static_cast<uint32_t>(Opcode::kOpen) ||
                       a.opcode == static_cast<uint32_t>(Opcode::kOpendir);
    return opens && a.node_of == b.node_of && a.nodeid == b.nodeid;
  }

  const Asked& asked_;
  Line& whole_;
  Explanation& out_;
  Line flags_{""};  // of the whole
  std::vector<SubReply> subs_;
};

bool HasHandleOp(const Asked& asked) {
  return std::any_of(
      asked.subs.begin(), asked.subs.end(), [](const Asked::Sub& sub) {
        const OpRow* row = FindRow(sub.opcode);
        return row != nullptr && (row->flags & kGivesHandle) != 0;
      });
}

// The ops that the kernels put into compounds differ in what their replies
// take; 0 if the size tells nothing.
uint32_t LikelyOpcode(size_t payload) {
  constexpr auto opcode = [](Opcode op) { return static_cast<uint32_t>(op); };
  for (Opcode op :
       {Opcode::kOpen, Opcode::kGetattr, Opcode::kLookup, Opcode::kStatx}) {
    if (payload == RowOf(op).reply_size) return opcode(op);
  }
  const bool entry2 =
      payload >= sizeof(abi::Entry2Out) + 2 && payload <= kEntry2Size;
  return entry2 ? opcode(Opcode::kLookupHandle) : 0;
}

}  // namespace

Asked GuessAsked(const abi::OutHeader& header, Bytes payload) {
  Asked asked;
  asked.guessed = true;
  Cursor cursor(payload);
  auto count = Cursor(payload).Take<uint32_t>();
  if (header.error != 0 || !cursor.TakeBytes(kCompoundHeadSize)) return asked;
  std::vector<Asked::Sub> subs;
  while (!cursor.rest().empty()) {
    auto sub = Cursor(cursor.rest()).Take<abi::OutHeader>();
    if (!sub || sub->len < kHead || subs.size() == kMaxSubs) return asked;
    auto message = cursor.TakeBytes(sub->len);
    if (!message) return asked;
    subs.push_back({.opcode = LikelyOpcode(message->size() - kHead)});
  }
  const bool counted = *count != 0;
  if (subs.empty() || (counted && *count != subs.size())) return asked;
  asked.opcode = static_cast<uint32_t>(Opcode::kCompound);
  asked.framing = FindDialect(counted ? "lookup-handle-v3" : "compound-v6");
  asked.subs = std::move(subs);
  return asked;
}

Explanation ExplainReply(const Asked& asked, const abi::OutHeader& header,
                         Bytes payload) {
  std::string name = asked.opcode != 0 ? OpcodeName(asked.opcode) : "";
  if (asked.guessed) name += '?';
  Line line("tx", header.unique, name);
  Explanation out;
  const bool whole = header.len == kHead + payload.size();
  if (asked.framing != nullptr && header.error == 0 && whole) {
    line.Word("OK");
    CompoundReply reply(asked, line, out);
    reply.Read(payload);
    out.problems = line.problems();
    out.text = std::move(line).Done();
    std::move(reply).Finish();
    return out;
  }
  Answer(line, asked.opcode, header, payload, false, out);
  if (!whole) line.Problem("len is not the number of bytes");
  if (header.error == -ENOSYS && HasHandleOp(asked)) {
    line.Problem("the kernel does not fall back to LOOKUP");
  }
  out.problems = line.problems();
  out.text = std::move(line).Done();
  return out;
}

Explanation ExplainNotification(Bytes message) {
  Line line("nx");
  internal::NotificationText(line, message);
  Explanation out;
  out.problems = line.problems();
  out.text = std::move(line).Done();
  return out;
}

}  // namespace handlefs::proto

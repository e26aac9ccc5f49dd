#include "answers.h"

#include <linux/fs.h>
#include <sys/stat.h>

#include <algorithm>

#include "proto/base/ids.h"
#include "proto/text.h"

namespace handlefs::standin {
namespace {

using proto::Opcode;

// STATX_BASIC_STATS
constexpr uint32_t kBasicStats = 0x7ff;
constexpr uint32_t kNanoseconds = 1000000000;
// The kernel refuses other errors in a reply.
constexpr int kMostErrno = 511;

// As new_encode_dev() of the kernel.
uint32_t EncodeDev(uint32_t major, uint32_t minor) {
  return (minor & 0xff) | (major << 8) | ((minor & ~0xffU) << 12);
}

abi::Attr ToAttr(const abi::Statx& sx) {
  abi::Attr attr{};
  attr.ino = sx.ino;
  attr.size = sx.size;
  attr.blocks = sx.blocks;
  attr.atime = static_cast<uint64_t>(sx.atime.tv_sec);
  attr.mtime = static_cast<uint64_t>(sx.mtime.tv_sec);
  attr.ctime = static_cast<uint64_t>(sx.ctime.tv_sec);
  attr.atimensec = sx.atime.tv_nsec;
  attr.mtimensec = sx.mtime.tv_nsec;
  attr.ctimensec = sx.ctime.tv_nsec;
  attr.mode = sx.mode;
  attr.nlink = sx.nlink;
  attr.uid = sx.uid;
  attr.gid = sx.gid;
  attr.rdev = EncodeDev(sx.rdev_major, sx.rdev_minor);
  attr.blksize = sx.blksize;
  return attr;
}

bool IsValidType(uint32_t mode) {
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

// Its reply has a node, which has a name and no handle.
bool IsNamedEntry(Opcode op) {
  const proto::OpRow* row = proto::FindRow(static_cast<uint32_t>(op));
  return row != nullptr && (row->flags & proto::kMakesEntry) != 0 &&
         op != Opcode::kLookup && op != Opcode::kTmpfile;
}

Buffer ForgetOnce(const Exchange& e, uint64_t node) {
  abi::InHeader header{};
  header.len = sizeof(header) + sizeof(abi::ForgetIn);
  header.opcode = static_cast<uint32_t>(Opcode::kForget);
  header.unique = e.header.unique;
  header.nodeid = node;
  return Join(header, abi::ForgetIn{.nlookup = 1});
}

template <typename T>
T As(Bytes bytes) {
  return *proto::Cursor(bytes).Take<T>();
}

}  // namespace

bool Answers::Complain(const Exchange& e, const std::string& why) {
  std::string what = proto::OpcodeName(e.header.opcode);
  if (e.form != Form::kPlain) {
    what += " as ";
    what += e.form == Form::kLookupInline ? "LOOKUP_HANDLE" : "COMPOUND";
    for (const Sub& sub : e.plan.subs) {
      what += ' ';
      what += proto::RowOf(sub.op).name;
    }
  }
  complaints_.Add(what + " of node " + std::to_string(e.header.nodeid) + ": " +
                  why);
  return false;
}

Verdict Answers::Broken(const Exchange& e, const std::string& why) {
  Complain(e, why);
  return Eio(e);
}

Verdict Answers::Eio(const Exchange& e) const {
  return {.reply = Join(abi::OutHeader{.len = sizeof(abi::OutHeader),
                                       .error = -EIO,
                                       .unique = e.header.unique}),
          .before = {},
          .again = {}};
}

Verdict Answers::Reply(const Exchange& e, Bytes payload) const {
  Verdict verdict{
      .reply = Join(abi::OutHeader{
          .len = static_cast<uint32_t>(sizeof(abi::OutHeader) + payload.size()),
          .error = 0,
          .unique = e.header.unique}),
      .before = {},
      .again = {}};
  PutBytes(verdict.reply, payload);
  return verdict;
}

Verdict Answers::Failed(Exchange& e, int error) {
  if (e.is_faulty) {
    e.is_faulty = false;
    e.was_faulty = true;
    return {.reply = {}, .before = {}, .again = translator_.Translate(e)};
  }
  if (e.was_faulty && e.form == Form::kCreate &&
      (error == EEXIST || error == ESTALE)) {
    Complain(e, "a file that was made in a failed compound is still there");
  }
  if ((e.form == Form::kLookup || e.form == Form::kLookupInline) &&
      error == ENOSYS) {
    Complain(e, "ENOSYS for LOOKUP_HANDLE after it was agreed upon");
  }
  return {.reply = Join(abi::OutHeader{.len = sizeof(abi::OutHeader),
                                       .error = -error,
                                       .unique = e.header.unique}),
          .before = {},
          .again = {}};
}

Verdict Answers::Take(Exchange& e, Bytes message) {
  auto header = As<abi::OutHeader>(message);
  Bytes payload = message.subspan(sizeof(header));
  if (header.len != message.size()) {
    return Broken(e, "the reply says it has " + std::to_string(header.len) +
                         " bytes and has " + std::to_string(message.size()));
  }
  if (header.error > 0 || header.error < -kMostErrno) {
    return Broken(e, "the error is " + std::to_string(header.error));
  }
  if (header.error != 0 && !payload.empty()) {
    return Broken(e, "an error comes with a payload");
  }
  if (!e.held.empty()) return Release(e, message);
  if (e.form == Form::kPlain) {
    if (header.error == 0) NotePlain(e, payload);
    if (header.error == 0 && layout_.handles_everywhere &&
        IsNamedEntry(e.op())) {
      auto entry = proto::Cursor(payload).Take<abi::EntryOut>();
      if (entry && nodes_.HandleOf(entry->nodeid) == nullptr) {
        e.held.assign(message.begin(), message.end());
        return {.reply = {}, .before = {}, .again = translator_.LookupMade(e)};
      }
    }
    return {.reply = Buffer(message.begin(), message.end()),
            .before = {},
            .again = {}};
  }
  if (header.error == 0) return Convert(e, payload);
  const int error = -header.error;
  // LOOKUP_HANDLE and MKOBJ_HANDLE have nothing to fall back to.
  const bool can_replay =
      e.form == Form::kOpen || e.form == Form::kLookupGetattr;
  if (can_replay && !e.is_faulty && layout_.replays(error)) {
    if (error == ENOSYS && layout_.remembers_enosys) {
      translator_.NoMoreCompounds();
    }
    return {.reply = {}, .before = {}, .again = translator_.Plain(e)};
  }
  return Failed(e, error);
}

bool Answers::SizeIsRight(const Sub& sub, Bytes payload) const {
  if (payload.size() == sub.reply_size) return true;
  if (sub.op != Opcode::kLookupHandle && sub.op != Opcode::kMkobjHandle) {
    return false;
  }
  // The handle may end where it ends, with or without padding.
  constexpr size_t kHead = sizeof(abi::Entry2Out) + sizeof(abi::FileHandle);
  if (payload.size() < kHead) return false;
  size_t natural =
      kHead + As<abi::FileHandle>(payload.subspan(sizeof(abi::Entry2Out))).size;
  return payload.size() == natural || payload.size() == (natural + 7) / 8 * 8 ||
         payload.size() == (sub.reply_size + 7) / 8 * 8;
}

std::optional<std::vector<Answers::SubReply>> Answers::Split(const Exchange& e,
                                                             Bytes body) {
  constexpr size_t kHead = 16;
  constexpr size_t kSubHead = sizeof(abi::OutHeader);
  auto bad = [&](const std::string& why) {
    Complain(e, why);
    return std::nullopt;
  };
  if (body.size() < kHead) return bad("the reply has no compound_out");
  const Plan& plan = e.plan;
  const size_t most = kHead + kSubHead * plan.subs.size() + plan.ResultSize();
  if (layout_.framing->limits_result && body.size() > most) {
    return bad("the reply is longer than the kernel's buffers: " +
               std::to_string(body.size()) + " of " + std::to_string(most));
  }
  if (auto why = layout_.framing->check_head(body.first(kHead), plan)) {
    return bad(*why);
  }
  std::vector<SubReply> subs;
  proto::Cursor cursor(body.subspan(kHead));
  for (const Sub& sub : plan.subs) {
    const std::string which = "the reply of sub " +
                              std::to_string(subs.size()) + ", " +
                              std::string(proto::RowOf(sub.op).name) + ", ";
    auto header = cursor.Take<abi::OutHeader>();
    if (!header) return bad(which + "is missing");
    if (header->len < kSubHead) return bad(which + "has a bad length");
    auto payload = cursor.TakeBytes(header->len - kSubHead);
    if (!payload) return bad(which + "reaches behind the end");
    if (header->error > 0 || header->error < -kMostErrno) {
      return bad(which + "has the error " + std::to_string(header->error));
    }
    if (header->error != 0 && !payload->empty()) {
      return bad(which + "is an error with a payload");
    }
    if (header->error == 0 && !SizeIsRight(sub, *payload)) {
      return bad(which + "has " + std::to_string(payload->size()) +
                 " bytes and not " + std::to_string(sub.reply_size));
    }
    subs.push_back({-header->error, *payload});
  }
  if (!cursor.rest().empty()) return bad("there is something behind the subs");
  return subs;
}

bool Answers::CheckAttributes(const Exchange& e, uint32_t mode, uint64_t size) {
  if (!IsValidType(mode)) {
    return Complain(e, "the mode " + std::to_string(mode) +
                           " is that of no file: the kernel ends in a BUG()");
  }
  if (size > INT64_MAX) return Complain(e, "a file size beyond all limits");
  return true;
}

bool Answers::CheckEntry(const Exchange& e, const abi::EntryOut& entry) {
  if (entry.nodeid == 0) {
    return Complain(e, "success with nodeid 0: the kernel ends in a BUG()");
  }
  if (entry.nodeid == Raw(kRootNode) && entry.generation != 0) {
    return Complain(e, "the root has a generation");
  }
  if (entry.entry_valid_nsec >= kNanoseconds ||
      entry.attr_valid_nsec >= kNanoseconds) {
    return Complain(e, "a lifetime with more than a second of nanoseconds");
  }
  return CheckAttributes(e, entry.attr.mode, entry.attr.size);
}

std::optional<Buffer> Answers::ReadHandle(const Exchange& e, Bytes bytes) {
  proto::Cursor cursor(bytes);
  auto head = cursor.Take<abi::FileHandle>();
  if (!head) {
    Complain(e, "there is no handle: the kernel takes what comes next for one");
    return std::nullopt;
  }
  if (head->size > abi::kMaxNodeHandle) {
    Complain(e, "a handle of " + std::to_string(head->size) + " bytes");
    return std::nullopt;
  }
  auto handle = cursor.TakeBytes(head->size);
  if (!handle) {
    Complain(e, "a handle that reaches behind the reply");
    return std::nullopt;
  }
  return Buffer(handle->begin(), handle->end());
}

std::optional<Answers::Found> Answers::ReadEntry2(const Exchange& e,
                                                  Bytes payload, Bytes statx) {
  auto in = As<abi::Entry2Out>(payload);
  auto out = As<abi::StatxOut>(statx);
  if (in.flags != 0 || in.spare != 0 || out.flags != 0) {
    Complain(e, "flags that nobody knows");
    return std::nullopt;
  }
  if ((out.stat.mask & kBasicStats) != kBasicStats) {
    Complain(e, "STATX without all basic attributes");
    return std::nullopt;
  }
  Found found;
  found.entry = {.nodeid = in.nodeid,
                 .generation = in.generation,
                 .entry_valid = in.entry_valid,
                 .attr_valid = out.attr_valid,
                 .entry_valid_nsec = in.entry_valid_nsec,
                 .attr_valid_nsec = out.attr_valid_nsec,
                 .attr = ToAttr(out.stat)};
  auto handle = ReadHandle(e, payload.subspan(sizeof(in)));
  if (!handle || !CheckEntry(e, found.entry)) return std::nullopt;
  found.handle = std::move(*handle);
  return found;
}

std::optional<Answers::Found> Answers::ReadInline(const Exchange& e,
                                                  Bytes payload) {
  auto in = proto::Cursor(payload).Take<abi::EntryHandleOut>();
  if (!in) {
    Complain(e, "the reply has " + std::to_string(payload.size()) + " bytes");
    return std::nullopt;
  }
  Found found;
  found.entry = {.nodeid = in->nodeid,
                 .generation = in->generation,
                 .entry_valid = in->entry_valid,
                 .attr_valid = in->attr_valid,
                 .entry_valid_nsec = in->entry_valid_nsec,
                 .attr_valid_nsec = in->attr_valid_nsec,
                 .attr = ToAttr(in->stat)};
  auto handle = ReadHandle(e, payload.subspan(sizeof(*in)));
  if (!handle || !CheckEntry(e, found.entry)) return std::nullopt;
  const size_t size = sizeof(*in) + sizeof(abi::FileHandle) + handle->size();
  if (payload.size() != size) {
    Complain(e, "bytes behind the handle");
    return std::nullopt;
  }
  found.handle = std::move(*handle);
  return found;
}

Verdict Answers::Release(Exchange& e, Bytes message) {
  Verdict verdict;
  verdict.reply = std::move(e.held);
  // Somebody may have taken the name away meanwhile.
  if (As<abi::OutHeader>(message).error != 0) return verdict;
  auto subs = Split(e, message.subspan(sizeof(abi::OutHeader)));
  if (!subs || (*subs)[0].error != 0 || (*subs)[1].error != 0) return verdict;
  auto found = ReadEntry2(e, (*subs)[0].payload, (*subs)[1].payload);
  if (!found) return verdict;
  const uint64_t node = found->entry.nodeid;
  if (nodes_.Knows(node) && !nodes_.SetHandle(node, found->handle)) {
    Complain(e, "node " + std::to_string(node) + " has another handle now");
  }
  verdict.before = ForgetOnce(e, node);
  return verdict;
}

bool Answers::Remember(const Exchange& e, const Found& found) {
  nodes_.Looked(found.entry.nodeid);
  if (!nodes_.SetHandle(found.entry.nodeid, found.handle)) {
    Complain(e, "node " + std::to_string(found.entry.nodeid) +
                    " has another handle than before: its inode goes bad");
    nodes_.Forget(found.entry.nodeid, 1);
    return false;
  }
  return true;
}

Verdict Answers::Looked(Exchange& e, const Found& found) {
  const uint64_t node = found.entry.nodeid;
  if (!e.is_first && nodes_.Knows(node) && nodes_.HandleOf(node) == nullptr) {
    // An inode that was made by MKDIR or the like has no handle. The kernel
    // finds that it differs, gives the lookup back, and looks up again.
    return {.reply = {},
            .before = ForgetOnce(e, node),
            .again = translator_.LookupAfresh(e)};
  }
  if (!Remember(e, found)) return Eio(e);
  abi::EntryOut entry = found.entry;
  if (!e.is_first) {
    entry.attr_valid = entry.entry_valid;
    entry.attr_valid_nsec = entry.entry_valid_nsec;
  }
  NoteEntry(e, entry);
  return Reply(e, std::as_bytes(std::span(&entry, 1)));
}

Verdict Answers::Convert(Exchange& e, Bytes payload) {
  if (e.form == Form::kLookupInline) {
    auto found = ReadInline(e, payload);
    return found ? Looked(e, *found) : Eio(e);
  }
  auto subs = Split(e, payload);
  if (!subs) return Eio(e);
  int error = 0;
  for (const SubReply& sub : *subs) {
    if (error == 0) error = sub.error;
  }
  const std::vector<SubReply>& sub = *subs;
  if (e.form == Form::kLookupGetattr) {
    if (sub[0].error != 0) return Failed(e, sub[0].error);
    auto entry = As<abi::EntryOut>(sub[0].payload);
    if (entry.nodeid != 0 && !CheckEntry(e, entry)) {
      return Eio(e);
    }
    if (sub[1].error == 0) {
      auto attr = As<abi::AttrOut>(sub[1].payload);
      if (attr.attr.ino != entry.attr.ino) {
        return Broken(e, "GETATTR is about another file than its LOOKUP");
      }
      entry.attr = attr.attr;
      entry.attr_valid = attr.attr_valid;
      entry.attr_valid_nsec = attr.attr_valid_nsec;
    }
    if (entry.nodeid != 0) {
      nodes_.Looked(entry.nodeid);
      NoteEntry(e, entry);
    }
    return Reply(e, std::as_bytes(std::span(&entry, 1)));
  }
  // What went before the failure is dropped without a word to the server.
  if (error == ENOSYS && e.form == Form::kOpen && layout_.replays(error)) {
    return {.reply = {}, .before = {}, .again = translator_.Plain(e)};
  }
  if (error != 0) return Failed(e, error);
  switch (e.form) {
    case Form::kLookup: {
      auto found = ReadEntry2(e, sub[0].payload, sub[1].payload);
      return found ? Looked(e, *found) : Eio(e);
    }
    case Form::kOpen: {
      auto attr = As<abi::AttrOut>(sub[1].payload);
      if (!CheckAttributes(e, attr.attr.mode, attr.attr.size)) {
        return Eio(e);
      }
      nodes_.SawAttributes(e.header.nodeid, attr.attr);
      return Reply(e, sub[0].payload);
    }
    case Form::kCreate: {
      auto found = ReadEntry2(e, sub[0].payload, sub[1].payload);
      if (!found) return Eio(e);
      if (found->entry.nodeid == Raw(kRootNode) ||
          !S_ISREG(found->entry.attr.mode)) {
        return Broken(e, "what was created is no regular file");
      }
      if (!Remember(e, *found)) return Eio(e);
      NoteEntry(e, found->entry);
      abi::CreateOut create{.entry = found->entry,
                            .open = As<abi::OpenOut>(sub[2].payload)};
      return Reply(e, std::as_bytes(std::span(&create, 1)));
    }
    default:
      return Broken(e, "unexpected");
  }
}

}  // namespace handlefs::standin

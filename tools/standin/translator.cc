#include "translator.h"

#include <fcntl.h>

#include <cassert>

#include "proto/base/ids.h"
#include "proto/cursor.h"
#include "proto/flags.h"

namespace handlefs::standin {
namespace {

using proto::Opcode;

// STATX_BASIC_STATS and STATX_BTIME.
constexpr uint32_t kStatxMask = 0xfff;
// FUSE_ROOT_ID where the node is what an earlier op gives.
constexpr uint64_t kPlaceholder = 1;
// The kernel puts FOPEN_KEEP_CACHE into the flags of this OPEN.
constexpr uint32_t kMkobjOpenFlags = proto::fopen::kKeepCache;
constexpr uint64_t kFaultEvery = 8;
constexpr size_t kEntry2Reply =
    sizeof(abi::Entry2Out) + sizeof(abi::FileHandle) + abi::kMaxNodeHandle;

void PutRecord(Buffer& out, size_t told, Bytes handle) {
  size_t size = sizeof(abi::ExtHeader) + sizeof(abi::FileHandle) + told;
  size_t end = out.size() + (size + 7) / 8 * 8;
  Put(out, abi::ExtHeader{.size = static_cast<uint32_t>(end - out.size()),
                          .type = proto::kExtHandle});
  Put(out, abi::FileHandle{.size = static_cast<uint16_t>(told)});
  PutBytes(out, handle);
  out.resize(end);
}

Bytes View(const Buffer* handle) { return handle ? Bytes(*handle) : Bytes(); }

Sub StatxOfPlaceholder() {
  return {.op = Opcode::kStatx,
          .node = kPlaceholder,
          .args = Join(abi::StatxIn{.getattr_flags = 0,
                                    .reserved = 0,
                                    .fh = 0,
                                    .sx_flags = 0,
                                    .sx_mask = kStatxMask}),
          .reply_size = sizeof(abi::StatxOut)};
}

Sub GetattrOf(uint64_t node) {
  return {.op = Opcode::kGetattr,
          .node = node,
          .args = Join(abi::GetattrIn{}),
          .reply_size = sizeof(abi::AttrOut)};
}

}  // namespace

Buffer Translator::HandlesOf(uint64_t node, uint64_t other) const {
  Buffer out;
  const Buffer* handle = nodes_.HandleOf(node);
  const Buffer* second = other == 0 ? nullptr : nodes_.HandleOf(other);
  // An empty one keeps the place of the first.
  if (handle != nullptr || second != nullptr) {
    PutRecord(out, View(handle).size(), View(handle));
  }
  if (second != nullptr) PutRecord(out, second->size(), *second);
  return out;
}

Buffer Translator::Plain(Exchange& e) {
  e.form = Form::kPlain;
  Buffer out = e.request;
  const proto::OpRow* row = proto::FindRow(e.header.opcode);
  if (!layout_.handles_everywhere || !has_handles_ || row == nullptr ||
      row->reply == proto::ReplyKind::kNever || e.header.nodeid == 0) {
    return out;
  }
  uint64_t other = 0;
  proto::Cursor cursor(Bytes(e.request).subspan(sizeof(e.header)));
  if (row->op == Opcode::kRename) {
    if (auto in = cursor.Take<abi::RenameIn>()) other = in->newdir;
  } else if (row->op == Opcode::kRename2) {
    if (auto in = cursor.Take<abi::Rename2In>()) other = in->newdir;
  } else if (row->op == Opcode::kLink) {
    if (auto in = cursor.Take<abi::LinkIn>()) other = in->oldnodeid;
  } else if (row->op == Opcode::kCopyFileRange ||
             row->op == Opcode::kCopyFileRange64) {
    if (auto in = cursor.Take<abi::CopyFileRangeIn>()) other = in->nodeid_out;
  }
  Buffer handles = HandlesOf(e.header.nodeid, other);
  if (handles.empty()) return out;
  PutBytes(out, handles);
  abi::InHeader header = e.header;
  header.len += static_cast<uint32_t>(handles.size());
  header.total_extlen += static_cast<uint16_t>(handles.size() / 8);
  Overwrite(out, header);
  return out;
}

Buffer Translator::Frame(const Exchange& e) const {
  assert(layout_.framing != nullptr);  // else nothing becomes a compound
  abi::InHeader header = e.header;
  header.opcode = static_cast<uint32_t>(Opcode::kCompound);
  header.nodeid = 0;
  header.total_extlen = 0;
  Buffer out = Join(header);
  layout_.framing->put(header, e.plan, out);
  header.len = static_cast<uint32_t>(out.size());
  Overwrite(out, header);
  return out;
}

bool Translator::TakesFault(Fault fault, Exchange& e) {
  if (fault_ != fault || e.was_faulty || !coin_.OneIn(kFaultEvery)) {
    return false;
  }
  ++faults_;
  e.is_faulty = true;
  return true;
}

void Translator::Spoil(Exchange& e) {
  // Its struct is cut: only this op is malformed, not the compound.
  e.plan.subs.back().args.resize(4);
}

// A name that no reply told is looked up to make an inode. Of others it cannot
// be seen here whether the kernel has their dentry still.
bool Translator::IsFirstLookup(const Exchange& e, std::string_view name) {
  if (fault_ == Fault::kAlwaysRevalidate) return false;
  if (name == "." || name == "..") return true;
  return nodes_.Find(e.header.nodeid, name) == 0 || coin_.Toss();
}

Buffer Translator::LookupExtension(Exchange& e, std::string_view name) {
  Buffer out;
  const Buffer* handle = nodes_.HandleOf(e.header.nodeid);
  const bool sends = layout_.handles_everywhere || (e.is_first && name != ".");
  if (fault_ == Fault::kNoExt || handle == nullptr || !sends) return out;
  Bytes bytes = *handle;
  if (fault_ == Fault::kExtZero) {
    bytes = {};
  } else if (TakesFault(Fault::kHeapHandle, e)) {
    Buffer heap(*handle);
    heap.resize(abi::kMaxNodeHandle + 1 + coin_.Number() % 4000);
    for (size_t i = handle->size(); i < heap.size(); ++i) {
      heap[i] = static_cast<std::byte>(coin_.Number());
    }
    PutRecord(out, heap.size(), heap);
    return out;
  } else if (!bytes.empty() && TakesFault(Fault::kShortHandle, e)) {
    bytes = bytes.first(bytes.size() - 1);
  }
  PutRecord(out, bytes.size(), bytes);
  return out;
}

Buffer Translator::Lookup(Exchange& e, std::string_view name) {
  Buffer args;
  PutText(args, name);
  Buffer extension = LookupExtension(e, name);
  PutBytes(args, extension);
  if (layout_.lookup == LookupForm::kHandleInline) {
    e.form = Form::kLookupInline;
    abi::InHeader header = e.header;
    header.opcode = static_cast<uint32_t>(Opcode::kLookupHandle);
    header.len = static_cast<uint32_t>(sizeof(header) + args.size());
    header.total_extlen = static_cast<uint16_t>(extension.size() / 8);
    Buffer out = Join(header);
    PutBytes(out, args);
    return out;
  }
  e.form = Form::kLookup;
  e.plan = {.together = Together::kInOrder, .subs = {}};
  e.plan.subs.push_back({.op = Opcode::kLookupHandle,
                         .node = e.header.nodeid,
                         .args = std::move(args),
                         .reply_size = kEntry2Reply});
  e.plan.subs.push_back(StatxOfPlaceholder());
  if (TakesFault(Fault::kDropUndone, e)) Spoil(e);
  return Frame(e);
}

Buffer Translator::LookupAfresh(Exchange& e) {
  e.is_first = true;
  const size_t at = sizeof(e.header) + proto::RowOf(e.op()).fixed_in;
  auto text = proto::Cursor(Bytes(e.request).subspan(at))
                  .TakeText(proto::Text::kLookupName);
  return Lookup(e, text->view());
}

Buffer Translator::LookupMade(Exchange& e) {
  e.was_faulty = true;  // nothing is tried with this one
  return LookupAfresh(e);
}

Buffer Translator::LookupAndGetattr(Exchange& e, std::string_view name) {
  e.form = Form::kLookupGetattr;
  Buffer args;
  PutText(args, name);
  e.plan = {.together = Together::kSeparable, .subs = {}};
  e.plan.subs.push_back({.op = Opcode::kLookup,
                         .node = e.header.nodeid,
                         .args = std::move(args),
                         .reply_size = sizeof(abi::EntryOut)});
  // The node is that of the dependency; nobody says what stands here.
  Sub getattr = GetattrOf(coin_.Toss() ? 0 : kPlaceholder);
  getattr.node_of = 0;
  e.plan.subs.push_back(std::move(getattr));
  return Frame(e);
}

Buffer Translator::Open(Exchange& e) {
  e.form = Form::kOpen;
  e.plan = {.together = Together::kSeparable, .subs = {}};
  Bytes args = Bytes(e.request).subspan(sizeof(e.header));
  Sub open{.op = e.op(),
           .node = e.header.nodeid,
           .args = Buffer(args.begin(), args.end()),
           .reply_size = sizeof(abi::OpenOut)};
  Sub getattr = GetattrOf(e.header.nodeid);
  if (layout_.handles_everywhere) {
    Buffer handle = HandlesOf(e.header.nodeid, 0);
    PutBytes(open.args, handle);
    PutBytes(getattr.args, handle);
  }
  e.plan.subs.push_back(std::move(open));
  e.plan.subs.push_back(std::move(getattr));
  if (TakesFault(Fault::kDropUndone, e)) Spoil(e);
  return Frame(e);
}

Buffer Translator::Create(Exchange& e) {
  e.form = Form::kCreate;
  e.plan = {.together = Together::kAtomic, .subs = {}};
  // What the kernel has behind the name, security context and group, stays in
  // front of the handle.
  Bytes args = Bytes(e.request).subspan(sizeof(e.header));
  Sub mkobj{.op = Opcode::kMkobjHandle,
            .node = e.header.nodeid,
            .args = Buffer(args.begin(), args.end()),
            .reply_size = kEntry2Reply};
  if (fault_ != Fault::kNoExt) {
    PutBytes(mkobj.args, HandlesOf(e.header.nodeid, 0));
  }
  uint32_t flags = kMkobjOpenFlags;
  if (fault_ == Fault::kMkobjFlags) {
    flags = static_cast<uint32_t>(coin_.Number()) &
            (O_ACCMODE | O_TRUNC | O_APPEND | O_EXCL | O_DIRECTORY);
  }
  e.plan.subs.push_back(std::move(mkobj));
  e.plan.subs.push_back(StatxOfPlaceholder());
  e.plan.subs.push_back(
      {.op = Opcode::kOpen,
       .node = kPlaceholder,
       .args = Join(abi::OpenIn{.flags = flags, .open_flags = 0}),
       .reply_size = sizeof(abi::OpenOut)});
  if (TakesFault(Fault::kDropUndone, e)) Spoil(e);
  return Frame(e);
}

Buffer Translator::Translate(Exchange& e) {
  const Opcode op = e.op();
  const bool frames = layout_.framing != nullptr && has_compounds_;
  if (op == Opcode::kLookup && layout_.lookup != LookupForm::kPlain) {
    auto text = proto::Cursor(Bytes(e.request).subspan(sizeof(e.header)))
                    .TakeText(proto::Text::kLookupName);
    if (!text.ok()) return Plain(e);
    if (layout_.lookup != LookupForm::kPlainAndGetattr) {
      if (!has_handles_) return Plain(e);
      e.is_first = IsFirstLookup(e, text->view());
      return Lookup(e, text->view());
    }
    // Names are revalidated so while both lifetimes are over.
    if (frames && nodes_.Find(e.header.nodeid, text->view()) != 0 &&
        coin_.Toss()) {
      return LookupAndGetattr(e, text->view());
    }
  }
  if ((op == Opcode::kOpen || op == Opcode::kOpendir) && frames &&
      layout_.open_with_getattr != Often::kNever) {
    auto in = proto::Cursor(Bytes(e.request).subspan(sizeof(e.header)))
                  .Take<abi::OpenIn>();
    const bool appends = in && (in->flags & O_APPEND) != 0;
    if (layout_.open_with_getattr == Often::kAlways || appends ||
        coin_.Toss()) {
      return Open(e);
    }
  }
  if (op == Opcode::kCreate && layout_.creates_by_mkobj && has_handles_) {
    return Create(e);
  }
  return Plain(e);
}

}  // namespace handlefs::standin

// Replies and notifications as text.
#include <array>
#include <cstdint>

#include "proto/flags.h"
#include "proto/reply.h"
#include "proto/text.h"
#include "proto/text_line.h"

namespace handlefs::proto {
namespace {

using internal::Line;

void AttrText(Line& line, const abi::Attr& attr) {
  line.Num("ino", attr.ino).Oct("mode", attr.mode).Num("size", attr.size);
  line.Num("nlink", attr.nlink);
}

void StatxText(Line& line, const abi::Statx& stat) {
  line.Num("ino", stat.ino).Oct("mode", stat.mode);
  line.Num("size", stat.size).Num("nlink", stat.nlink);
  line.Hex("mask", stat.mask);
}

// The name's lifetime, then the attributes'.
void Fields(Line& line, const abi::EntryOut& out) {
  if (out.nodeid == 0) {
    line.Word("negative ttl ").Seconds(out.entry_valid, out.entry_valid_nsec);
    return;
  }
  line.Node(out.nodeid).Num("gen", out.generation);
  AttrText(line, out.attr);
  line.Word("ttl ").Seconds(out.entry_valid, out.entry_valid_nsec);
  line.Raw("/").Seconds(out.attr_valid, out.attr_valid_nsec);
}
// Its attributes are elsewhere.
void Fields(Line& line, const abi::Entry2Out& out) {
  line.Node(out.nodeid).Num("gen", out.generation);
  line.Word("ttl ").Seconds(out.entry_valid, out.entry_valid_nsec);
  if (out.flags != 0) line.Hex("flags", out.flags);
}
// A proposal: they are in it.
void Fields(Line& line, const abi::EntryHandleOut& out) {
  line.Node(out.nodeid).Num("gen", out.generation);
  StatxText(line, out.stat);
  line.Word("ttl ").Seconds(out.entry_valid, out.entry_valid_nsec);
  line.Raw("/").Seconds(out.attr_valid, out.attr_valid_nsec);
}
void Fields(Line& line, const abi::AttrOut& out) {
  AttrText(line, out.attr);
  line.Word("ttl ").Seconds(out.attr_valid, out.attr_valid_nsec);
}
void Fields(Line& line, const abi::StatxOut& out) {
  StatxText(line, out.stat);
  line.Word("ttl ").Seconds(out.attr_valid, out.attr_valid_nsec);
}
void Fields(Line& line, const abi::OpenOut& out) {
  line.Id("fh", out.fh).Hex("open_flags", out.open_flags);
  if (out.backing_id != 0) line.Signed("backing", out.backing_id);
}
void Fields(Line& line, const abi::CreateOut& out) {
  Fields(line, out.entry);
  Fields(line, out.open);
}
void Fields(Line& line, const abi::WriteOut& out) {
  line.Num("size", out.size);
}
void Fields(Line& line, const abi::StatfsOut& out) {
  line.Num("blocks", out.st.blocks).Num("free", out.st.bfree);
  line.Num("avail", out.st.bavail).Num("files", out.st.files);
  line.Num("ffree", out.st.ffree).Num("bsize", out.st.bsize);
  line.Num("frsize", out.st.frsize).Num("namelen", out.st.namelen);
}
void Fields(Line& line, const abi::LkOut& out) {
  static constexpr std::string_view kTypes[] = {"rdlck", "wrlck", "unlck"};
  if (out.lk.type < std::size(kTypes)) {
    line.Word(kTypes[out.lk.type]);
  } else {
    line.Num("type", out.lk.type);
  }
  line.Value(out.lk.start).Raw("..").Digits(out.lk.end, 10);
  line.Id("p", out.lk.pid);
}
void Fields(Line& line, const abi::InitOut& out) {
  line.Value(uint64_t{out.major}).Raw(".").Digits(out.minor, 10);
  line.Num("readahead", out.max_readahead);
  line.Num("background", out.max_background).Raw("/");
  line.Digits(out.congestion_threshold, 10).Num("write", out.max_write);
  line.Num("gran", out.time_gran).Num("pages", out.max_pages);
  if (out.map_alignment != 0) line.Num("align", out.map_alignment);
  if (out.max_stack_depth != 0) line.Num("depth", out.max_stack_depth);
  if (out.request_timeout != 0) line.Num("timeout", out.request_timeout);
  internal::InitNames(line, out.flags, out.flags2);
}
void Fields(Line& line, const abi::CuseInitOut& out) {
  line.Value(uint64_t{out.major}).Raw(".").Digits(out.minor, 10);
  line.Hex("flags", out.flags).Num("dev", out.dev_major).Raw(":");
  line.Digits(out.dev_minor, 10);
}
void Fields(Line& line, const abi::BmapOut& out) {
  line.Num("block", out.block);
}
void Fields(Line& line, const abi::IoctlOut& out) {
  line.Signed("result", out.result);
  if (out.flags != 0) line.Hex("flags", out.flags);
}
void Fields(Line& line, const abi::PollOut& out) {
  line.Hex("revents", out.revents);
}
void Fields(Line& line, const abi::LseekOut& out) {
  line.Num("off", out.offset);
}
void Fields(Line& line, const abi::CopyFileRangeOut& out) {
  line.Num("size", out.bytes_copied);
}

// The struct that a reply begins with. Missing bytes read as zero: INIT may be
// answered with less.
template <typename T>
void Struct(Line& line, Bytes bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof(T)));
  Fields(line, value);
}

using Writer = void (*)(Line&, Bytes);
struct ReplyStruct {
  Opcode op;
  size_t size;
  Writer write;
};
template <typename T>
constexpr ReplyStruct Is(Opcode op) {
  return {.op = op, .size = sizeof(T), .write = &Struct<T>};
}
constexpr auto kReplyStructs = std::to_array<ReplyStruct>({
    Is<abi::EntryOut>(Opcode::kLookup),
    Is<abi::AttrOut>(Opcode::kGetattr),
    Is<abi::AttrOut>(Opcode::kSetattr),
    Is<abi::EntryOut>(Opcode::kSymlink),
    Is<abi::EntryOut>(Opcode::kMknod),
    Is<abi::EntryOut>(Opcode::kMkdir),
    Is<abi::EntryOut>(Opcode::kLink),
    Is<abi::OpenOut>(Opcode::kOpen),
    Is<abi::WriteOut>(Opcode::kWrite),
    Is<abi::StatfsOut>(Opcode::kStatfs),
    Is<abi::InitOut>(Opcode::kInit),
    Is<abi::OpenOut>(Opcode::kOpendir),
    Is<abi::LkOut>(Opcode::kGetlk),
    Is<abi::CreateOut>(Opcode::kCreate),
    Is<abi::BmapOut>(Opcode::kBmap),
    Is<abi::IoctlOut>(Opcode::kIoctl),
    Is<abi::PollOut>(Opcode::kPoll),
    Is<abi::LseekOut>(Opcode::kLseek),
    Is<abi::WriteOut>(Opcode::kCopyFileRange),
    Is<abi::CreateOut>(Opcode::kTmpfile),
    Is<abi::StatxOut>(Opcode::kStatx),
    Is<abi::CopyFileRangeOut>(Opcode::kCopyFileRange64),
    Is<abi::Entry2Out>(Opcode::kLookupHandle),
    Is<abi::Entry2Out>(Opcode::kMkobjHandle),
    Is<abi::CuseInitOut>(Opcode::kCuseInit),
});

constexpr bool HasStruct(const OpRow& row) {
  return row.reply == ReplyKind::kFixed || row.reply == ReplyKind::kFixedData;
}

constexpr Writer WriterOf(Opcode op) {
  for (const ReplyStruct& entry : kReplyStructs) {
    if (entry.op == op) return entry.write;
  }
  return nullptr;
}

// Every row with a struct is listed above, with the size that the row says.
static_assert([] {
  size_t listed = 0;
  for (const OpRow& row : kOpTable) {
    if (!HasStruct(row)) continue;
    for (const ReplyStruct& entry : kReplyStructs) {
      if (entry.op == row.op && entry.size == row.reply_size) ++listed;
    }
  }
  size_t wanted = 0;
  for (const OpRow& row : kOpTable) wanted += HasStruct(row) ? 1 : 0;
  return listed == wanted && wanted == kReplyStructs.size();
}());

// Entries are `head` bytes and a name, padded to 8; a Dirent ends the head.
void Directory(Line& line, Bytes page, size_t head) {
  Cursor cursor(page);
  uint64_t entries = 0;
  while (!cursor.rest().empty()) {
    if (!cursor.TakeBytes(head - sizeof(abi::Dirent))) break;
    auto dirent = cursor.Take<abi::Dirent>();
    if (!dirent) break;
    size_t pad = -(head + dirent->namelen) & 7;
    if (!cursor.TakeBytes(size_t{dirent->namelen} + pad)) break;
    ++entries;
  }
  if (!cursor.rest().empty()) {
    line.Malformed(page.size());
    return;
  }
  line.Value(entries).Word(entries == 1 ? "entry" : "entries");
}

void Dirents(Line& line, Bytes page) {
  Directory(line, page, sizeof(abi::Dirent));
}
void DirentsPlus(Line& line, Bytes page) {
  Directory(line, page, sizeof(abi::Direntplus));
}
void LinkTarget(Line& line, Bytes target) {
  line.Quoted(internal::AsText(target));
}

struct ReplyData {
  Opcode op;
  Writer write;
};
// Replies of data that say more than their size.
constexpr ReplyData kReplyData[] = {
    {Opcode::kReaddir, &Dirents},
    {Opcode::kReaddirplus, &DirentsPlus},
    {Opcode::kReadlink, &LinkTarget},
};

void DataText(Line& line, Opcode op, Bytes payload) {
  for (const ReplyData& entry : kReplyData) {
    if (entry.op == op) return entry.write(line, payload);
  }
  line.Data(payload.size());
}

// LOOKUP_HANDLE has two shapes, and a handle that fits is followed by padding
// or by nothing.
void EntryAndHandle(Line& line, Bytes payload) {
  Cursor cursor(payload);
  if (payload.size() >= sizeof(abi::EntryHandleOut)) {
    Fields(line, *cursor.Take<abi::EntryHandleOut>());
  } else {
    Fields(line, *cursor.Take<abi::Entry2Out>());
  }
  auto head = cursor.Take<abi::FileHandle>();
  if (!head) {
    line.Problem("no handle size");
    return;
  }
  if (head->size > abi::kMaxNodeHandle) {
    line.Num("handle of", head->size)
        .Problem("a handle of more than 128 bytes");
    return;
  }
  auto handle = cursor.TakeBytes(head->size);
  if (!handle) {
    line.Num("handle of", head->size).Problem("the handle is cut off");
    return;
  }
  line.Handle("handle", *handle);
}

// Whether the kernel would take this many bytes as the answer.
bool SizeFits(const OpRow& row, size_t size) {
  switch (row.reply) {
    case ReplyKind::kNever:
    case ReplyKind::kHeader:
      return size == 0;
    case ReplyKind::kFixed:
      if ((row.flags & kShortFixed) != 0) {
        return size >= 8 && size <= row.reply_size;
      }
      return size == row.reply_size;
    case ReplyKind::kFixedData:
      return size >= row.reply_size;
    case ReplyKind::kData:
    case ReplyKind::kSizeOrData:
      return true;
  }
  return false;
}

void PayloadText(Line& line, const OpRow& row, Bytes payload) {
  if (!SizeFits(row, payload.size())) {
    line.Malformed(payload.size());
    return;
  }
  if ((row.flags & kGivesHandle) != 0) {
    EntryAndHandle(line, payload);
  } else if (HasStruct(row)) {
    size_t head = std::min<size_t>(payload.size(), row.reply_size);
    WriterOf(row.op)(line, payload);
    if (row.reply == ReplyKind::kFixedData) {
      line.Data(payload.size() - head);
    }
  } else if (row.reply == ReplyKind::kData ||
             row.reply == ReplyKind::kSizeOrData) {
    // Eight bytes of kSizeOrData may be either; only the request knows.
    DataText(line, row.op, payload);
  }
}

}  // namespace

void internal::ReplyText(Line& line, uint32_t opcode,
                         const abi::OutHeader& header, Bytes payload) {
  const OpRow* row = FindRow(opcode);
  bool error = header.error < 0 && header.error > -512;
  if (error) {
    line.Word(ErrnoName(-header.error));
  } else if (header.error == 0) {
    line.Word("OK");
  } else {
    line.Signed("error", header.error);
  }
  bool bare = header.error != 0;
  if (header.len != sizeof(header) + payload.size() ||
      (bare && (!error || !payload.empty()))) {
    line.Malformed(payload.size());
  } else if (row != nullptr && !bare) {
    PayloadText(line, *row, payload);
  } else if (!payload.empty()) {
    line.Data(payload.size());
  }
}

std::string DescribeReply(uint32_t opcode, const abi::OutHeader& header,
                          Bytes payload) {
  Line line("tx", header.unique, OpcodeName(opcode));
  internal::ReplyText(line, opcode, header, payload);
  return std::move(line).Done();
}

namespace {

// A notification's name: `size` bytes and a NUL.
bool NotifyName(Line& line, Cursor& cursor, uint32_t size) {
  auto name = cursor.TakeBytes(size);
  auto nul = cursor.Take<char>();
  if (!name || !nul || *nul != '\0') return false;
  line.Quoted(internal::AsText(*name));
  return true;
}

bool Notified(Line& line, Cursor&, const abi::NotifyPollWakeupOut& out) {
  line.Num("kh", out.kh);
  return true;
}
bool Notified(Line& line, Cursor&, const abi::NotifyInvalInodeOut& out) {
  line.Node(out.ino).Signed("off", out.off).Signed("len", out.len);
  return true;
}
bool Notified(Line& line, Cursor& rest, const abi::NotifyInvalEntryOut& out) {
  line.Node(out.parent);
  if (!NotifyName(line, rest, out.namelen)) return false;
  if ((out.flags & kExpireOnly) != 0) line.Word("expire");
  return true;
}
bool Notified(Line& line, Cursor& rest, const abi::NotifyDeleteOut& out) {
  line.Node(out.parent).Node(out.child);
  return NotifyName(line, rest, out.namelen);
}
bool Notified(Line& line, Cursor&, const abi::NotifyStoreOut& out) {
  line.Node(out.nodeid).Num("off", out.offset).Data(out.size);
  return true;
}
bool Notified(Line& line, Cursor&, const abi::NotifyRetrieveOut& out) {
  line.Node(out.nodeid).Num("off", out.offset).Num("size", out.size);
  line.Num("answer", out.notify_unique);
  return true;
}
bool Notified(Line& line, Cursor&, const abi::NotifyPruneOut& out) {
  line.Num("count", out.count);
  return true;
}

template <typename T>
bool NotifyStruct(Line& line, Cursor& cursor) {
  auto out = cursor.Take<T>();
  return out && Notified(line, cursor, *out);
}
bool NotifyBare(Line&, Cursor&) { return true; }

struct NotifyRow {
  NotifyCode code;
  std::string_view name;
  bool (*write)(Line&, Cursor&);
};
constexpr NotifyRow kNotifyTable[] = {
    {NotifyCode::kPoll, "POLL", &NotifyStruct<abi::NotifyPollWakeupOut>},
    {NotifyCode::kInvalInode, "INVAL_INODE",
     &NotifyStruct<abi::NotifyInvalInodeOut>},
    {NotifyCode::kInvalEntry, "INVAL_ENTRY",
     &NotifyStruct<abi::NotifyInvalEntryOut>},
    {NotifyCode::kStore, "STORE", &NotifyStruct<abi::NotifyStoreOut>},
    {NotifyCode::kRetrieve, "RETRIEVE", &NotifyStruct<abi::NotifyRetrieveOut>},
    {NotifyCode::kDelete, "DELETE", &NotifyStruct<abi::NotifyDeleteOut>},
    {NotifyCode::kResend, "RESEND", &NotifyBare},
    {NotifyCode::kIncEpoch, "INC_EPOCH", &NotifyBare},
    {NotifyCode::kPrune, "PRUNE", &NotifyStruct<abi::NotifyPruneOut>},
};

}  // namespace

void internal::NotificationText(Line& line, Bytes message) {
  Cursor cursor(message);
  auto header = cursor.Take<abi::OutHeader>();
  if (!header) {
    line.Malformed(message.size());
    return;
  }
  for (const NotifyRow& row : kNotifyTable) {
    if (static_cast<int32_t>(row.code) != header->error) continue;
    line.Word(row.name);
    // Bulk data may be sent from elsewhere, so `len` may say more than is here.
    if (header->unique == 0 && header->len >= message.size()) {
      Line said = line;
      if (row.write(said, cursor)) {
        line = std::move(said);
        return;
      }
    }
    line.Malformed(message.size());
    return;
  }
  line.Signed("code", header->error).Data(cursor.rest().size());
}

std::string DescribeNotification(Bytes message) {
  Line line("nx");
  internal::NotificationText(line, message);
  return std::move(line).Done();
}

}  // namespace handlefs::proto

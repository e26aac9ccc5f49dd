#include "proto/text.h"

#include <cstdint>

#include "proto/flags.h"
#include "proto/text_line.h"

namespace handlefs::proto {
namespace {

using internal::Caller;
using internal::Line;

// What the fixed part of a request says. One overload per struct; a row whose
// struct has none does not compile.
void Fields(Line&, const NoFixed&) {}

void Fields(Line& line, const abi::ForgetIn& in) {
  line.Num("nlookup", in.nlookup);
}
void Fields(Line& line, const abi::BatchForgetIn& in) {
  line.Num("count", in.count);
}
void Fields(Line& line, const abi::GetattrIn& in) {
  if ((in.getattr_flags & kGetattrFh) != 0) line.Id("fh", in.fh);
}
void Fields(Line& line, const abi::StatxIn& in) {
  if ((in.getattr_flags & kGetattrFh) != 0) line.Id("fh", in.fh);
  line.Hex("flags", in.sx_flags).Hex("mask", in.sx_mask);
}

void SetTime(Line& line, std::string_view label, uint64_t seconds,
             uint32_t nanoseconds) {
  // Times before 1970 come as the two's complement of their seconds.
  line.Signed(label, static_cast<int64_t>(seconds)).Raw(".");
  line.Digits(nanoseconds, 10).Raw("ns");
}

void Fields(Line& line, const abi::SetattrIn& in) {
  auto has = [&in](uint32_t bit) { return (in.valid & bit) != 0; };
  line.Hex("valid", in.valid);
  if (has(fattr::kFh)) line.Id("fh", in.fh);
  if (has(fattr::kMode)) line.Oct("mode", in.mode);
  if (has(fattr::kUid)) line.Num("uid", in.uid);
  if (has(fattr::kGid)) line.Num("gid", in.gid);
  if (has(fattr::kSize)) line.Num("size", in.size);
  if (has(fattr::kAtimeNow)) {
    line.Word("atime now");
  } else if (has(fattr::kAtime)) {
    SetTime(line, "atime", in.atime, in.atimensec);
  }
  if (has(fattr::kMtimeNow)) {
    line.Word("mtime now");
  } else if (has(fattr::kMtime)) {
    SetTime(line, "mtime", in.mtime, in.mtimensec);
  }
  if (has(fattr::kCtime)) SetTime(line, "ctime", in.ctime, in.ctimensec);
  if (has(fattr::kLockOwner)) line.Hex("owner", in.lock_owner);
}

void Fields(Line& line, const abi::MknodIn& in) {
  line.Oct("mode", in.mode).Hex("rdev", in.rdev).Oct("umask", in.umask);
}
void Fields(Line& line, const abi::MkdirIn& in) {
  line.Oct("mode", in.mode).Oct("umask", in.umask);
}
void Fields(Line& line, const abi::RenameIn& in) {
  line.Word("newdir").Node(in.newdir);
}
void Fields(Line& line, const abi::Rename2In& in) {
  line.Word("newdir").Node(in.newdir).Hex("flags", in.flags);
}
void Fields(Line& line, const abi::LinkIn& in) {
  line.Word("old").Node(in.oldnodeid);
}
void Fields(Line& line, const abi::OpenIn& in) {
  line.Hex("flags", in.flags);
  if (in.open_flags != 0) line.Hex("open_flags", in.open_flags);
}
void Fields(Line& line, const abi::CreateIn& in) {
  line.Hex("flags", in.flags).Oct("mode", in.mode).Oct("umask", in.umask);
  if (in.open_flags != 0) line.Hex("open_flags", in.open_flags);
}
void Fields(Line& line, const abi::ReleaseIn& in) {
  line.Id("fh", in.fh).Hex("flags", in.flags);
  if ((in.release_flags & kReleaseFlush) != 0) line.Word("flush");
  if ((in.release_flags & kReleaseFlockUnlock) != 0) line.Word("flock-unlock");
  if (in.lock_owner != 0) line.Hex("owner", in.lock_owner);
}
void Fields(Line& line, const abi::FlushIn& in) {
  line.Id("fh", in.fh).Hex("owner", in.lock_owner);
}
void Fields(Line& line, const abi::ReadIn& in) {
  line.Id("fh", in.fh).Num("off", in.offset).Num("size", in.size);
  if ((in.read_flags & kReadLockowner) != 0) line.Hex("owner", in.lock_owner);
}
void Fields(Line& line, const abi::WriteIn& in) {
  line.Id("fh", in.fh).Num("off", in.offset).Num("size", in.size);
  if ((in.write_flags & kWriteCache) != 0) line.Word("cache");
  if ((in.write_flags & kWriteLockowner) != 0) line.Hex("owner", in.lock_owner);
  if ((in.write_flags & kWriteKillSuidgid) != 0) line.Word("kill-suidgid");
}
void Fields(Line& line, const abi::FsyncIn& in) {
  line.Id("fh", in.fh);
  if ((in.fsync_flags & kFsyncFdatasync) != 0) line.Word("data");
}
void Fields(Line& line, const abi::SetxattrIn& in) {
  line.Num("size", in.size).Hex("flags", in.flags);
  if ((in.setxattr_flags & kSetxattrAclKillSgid) != 0) line.Word("kill-sgid");
}
void Fields(Line& line, const abi::GetxattrIn& in) {
  line.Num("size", in.size);
}
void Fields(Line& line, const abi::LkIn& in) {
  static constexpr std::string_view kTypes[] = {"rdlck", "wrlck", "unlck"};
  line.Id("fh", in.fh).Hex("owner", in.owner);
  if (in.lk.type < std::size(kTypes)) {
    line.Word(kTypes[in.lk.type]);
  } else {
    line.Num("type", in.lk.type);
  }
  line.Value(in.lk.start).Raw("..").Digits(in.lk.end, 10).Id("p", in.lk.pid);
  if ((in.lk_flags & kLkFlock) != 0) line.Word("flock");
}
void Fields(Line& line, const abi::AccessIn& in) { line.Oct("mask", in.mask); }
void Fields(Line& line, const abi::InitIn& in) {
  line.Value(uint64_t{in.major}).Raw(".").Digits(in.minor, 10);
  line.Num("readahead", in.max_readahead);
  internal::InitNames(line, in.flags, in.flags2);
}
void Fields(Line& line, const abi::CuseInitIn& in) {
  line.Value(uint64_t{in.major}).Raw(".").Digits(in.minor, 10);
  line.Hex("flags", in.flags);
}
void Fields(Line& line, const abi::InterruptIn& in) {
  line.Num("target", in.unique & ~kUniqueResend);
  if ((in.unique & kUniqueResend) != 0) line.Raw("!");
}
void Fields(Line& line, const abi::BmapIn& in) {
  line.Num("block", in.block).Num("blocksize", in.blocksize);
}
void Fields(Line& line, const abi::IoctlIn& in) {
  line.Id("fh", in.fh).Hex("flags", in.flags).Hex("cmd", in.cmd);
  line.Hex("arg", in.arg).Num("in", in.in_size).Num("out", in.out_size);
}
void Fields(Line& line, const abi::PollIn& in) {
  line.Id("fh", in.fh).Num("kh", in.kh).Hex("flags", in.flags);
  line.Hex("events", in.events);
}
void Fields(Line& line, const abi::NotifyRetrieveIn& in) {
  line.Num("off", in.offset).Num("size", in.size);
}
void Fields(Line& line, const abi::FallocateIn& in) {
  line.Id("fh", in.fh).Num("off", in.offset).Num("len", in.length);
  line.Hex("mode", in.mode);
}
void Fields(Line& line, const abi::LseekIn& in) {
  line.Id("fh", in.fh).Signed("off", static_cast<int64_t>(in.offset));
  line.Num("whence", in.whence);
}
void Fields(Line& line, const abi::CopyFileRangeIn& in) {
  line.Id("fh", in.fh_in).Num("off", in.off_in).Word("to");
  line.Node(in.nodeid_out).Id("fh", in.fh_out).Num("off", in.off_out);
  line.Num("len", in.len).Hex("flags", in.flags);
}
void Fields(Line& line, const abi::SetupmappingIn& in) {
  line.Id("fh", in.fh).Num("off", in.foffset).Num("len", in.len);
  line.Hex("flags", in.flags).Num("moffset", in.moffset);
}
void Fields(Line& line, const abi::RemovemappingIn& in) {
  line.Num("count", in.count);
}
void Fields(Line&, const abi::SyncfsIn&) {}

// What follows the texts.
template <Opcode>
void TailData(Line& line, Bytes data) {
  line.Data(data.size());
}
template <>
void TailData<Opcode::kBatchForget>(Line& line, Bytes data) {
  static constexpr int kShown = 8;
  Cursor cursor(data);
  for (int i = 0; i < kShown; ++i) {
    auto one = cursor.Take<abi::ForgetOne>();
    if (!one) break;
    line.Node(one->nodeid).Raw("/").Digits(one->nlookup, 10);
  }
  if (!cursor.rest().empty()) line.Data(cursor.rest().size());
}

void ExtensionsText(Line& line, const Extensions& ext) {
  if (ext.secctx) {
    line.Word("+secctx(").Escaped(ext.secctx->name.view());
    line.Data(ext.secctx->value.size()).Raw(")");
  }
  if (ext.group) line.Word("+group(").Digits(*ext.group, 10).Raw(")");
  for (const auto& handle : {ext.handle, ext.handle2}) {
    if (handle) line.Handle("+handle", *handle);
  }
}

template <Opcode kOp>
void RowText(Line& line, const RawRequest& raw, Caller caller) {
  constexpr const OpRow& row = RowOf(kOp);
  auto request = Decode<kOp>(raw);
  if (!request.ok()) {
    line.Malformed(raw.fixed.size() + raw.tail.size());
    return;
  }
  if (row.text != Text::kNone) line.Quoted(request->text.view());
  if (row.text2 != Text::kNone) line.Quoted(request->text2.view());
  Fields(line, request->in);
  if (row.tail == Tail::kData) TailData<kOp>(line, request->data);
  ExtensionsText(line, request->ext);
  if ((row.flags & kMutates) != 0 && caller == Caller::kShow) {
    const abi::InHeader& header = request->header;
    line.Id("u", header.uid).Id("g", header.gid).Id("p", header.pid);
  }
}

using RequestWriter = void (*)(Line&, const RawRequest&, Caller);

template <size_t... kRow>
constexpr std::array<RequestWriter, sizeof...(kRow)> Writers(
    std::index_sequence<kRow...>) {
  return {&RowText<kOpTable[kRow].op>...};
}
constexpr auto kWriters = Writers(std::make_index_sequence<kOpRows>());

}  // namespace

void internal::RequestText(Line& line, const RawRequest& raw, Caller caller) {
  size_t row = RowIndex(raw.header.opcode);
  if (row < kOpRows) {
    kWriters[row](line, raw, caller);
  } else {
    line.Data(raw.fixed.size() + raw.tail.size());
  }
}

std::string DescribeRequest(const RawRequest& raw) {
  const abi::InHeader& header = raw.header;
  Line line("rx", header.unique, OpcodeName(header.opcode));
  // INIT, INTERRUPT and the like are about no node.
  if (header.nodeid != 0) line.Node(header.nodeid);
  internal::RequestText(line, raw, internal::Caller::kShow);
  return std::move(line).Done();
}

}  // namespace handlefs::proto

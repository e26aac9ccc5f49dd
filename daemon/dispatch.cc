// Binds the rows of the opcode table to ops. A row whose op has the wrong
// argument or reply does not compile, and neither does a row without one.
#include <algorithm>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "daemon/log.h"
#include "daemon/server.h"
#include "proto/text.h"

namespace handlefs {

struct Dispatch {
  // Decodes a request, runs its op, writes the payload of the reply.
  using Answer = Status (*)(Server&, OpContext, const proto::RawRequest&,
                            ReplyBuffer&);
  // Deals with a whole packet: ops without reply, or with a late one.
  using Special = void (*)(Server&, io::Packet&);
  struct Row {
    Answer answer = nullptr;
    Special special = nullptr;
  };
  using Table = std::array<Row, proto::kOpRows>;

  static void Finish(Server& server, io::Packet& packet, Errno error) {
    server.TraceReply(packet.raw,
                      proto::MakeErrorHeader(packet.token.unique(), error), {});
    server.stats_->End(packet, error.value());
    packet.token.ReplyError(error);
  }
  static void Finish(Server& server, io::Packet& packet, size_t payload) {
    server.TraceReply(packet.raw,
                      proto::MakeOutHeader(packet.token.unique(), payload),
                      packet.token.payload().first(payload));
    server.stats_->End(packet, 0, packet.token.payload().first(payload));
    packet.token.Reply(payload);
  }
  static void FinishSilently(Server& server, io::Packet& packet) {
    server.stats_->End(packet, 0);
    packet.token.NoReply();
  }

  // The request, vouched for by the handles that came with it.
  template <Opcode kOp>
  static Result<proto::Request<kOp>> Decoded(Server& server,
                                             const proto::RawRequest& raw) {
    ASSIGN_OR_RETURN(proto::Request<kOp> request, proto::Decode<kOp>(raw));
    RETURN_IF_ERROR(server.Vouch(request.node(), request.ext.handle));
    RETURN_IF_ERROR(server.Vouch(OtherNode(request.in), request.ext.handle2));
    return request;
  }
  template <typename Fixed>
  static NodeId OtherNode(const Fixed&) {
    return kNoNode;
  }
  static NodeId OtherNode(const abi::RenameIn& in) { return NodeId{in.newdir}; }
  static NodeId OtherNode(const abi::Rename2In& in) {
    return NodeId{in.newdir};
  }
  static NodeId OtherNode(const abi::LinkIn& in) {
    return NodeId{in.oldnodeid};
  }
  static NodeId OtherNode(const abi::CopyFileRangeIn& in) {
    return NodeId{in.nodeid_out};
  }

  // A reply of one struct, or a bare header (Unit).
  template <Opcode kOp, typename Out,
            Result<Out> (Ops::*kMethod)(OpContext, const Req<kOp>&)>
  static Status Value(Server& server, OpContext context,
                      const proto::RawRequest& raw, ReplyBuffer& out) {
    constexpr const proto::OpRow& row = proto::RowOf(kOp);
    constexpr bool header_only = std::is_same_v<Out, Unit>;
    static_assert(header_only ? row.reply == proto::ReplyKind::kHeader
                              : row.reply == proto::ReplyKind::kFixed &&
                                    row.reply_size == sizeof(Out));
    ASSIGN_OR_RETURN(proto::Request<kOp> request, Decoded<kOp>(server, raw));
    auto result = (server.ops_.*kMethod)(context, request);
    if (!result.ok()) return result.error();
    if constexpr (!header_only) out.Put(*result);
    return Ok();
  }

  // A reply of data.
  template <Opcode kOp,
            Status (Ops::*kMethod)(OpContext, const Req<kOp>&, ReplyBuffer&)>
  static Status Data(Server& server, OpContext context,
                     const proto::RawRequest& raw, ReplyBuffer& out) {
    constexpr proto::ReplyKind kind = proto::RowOf(kOp).reply;
    static_assert(kind == proto::ReplyKind::kData ||
                  kind == proto::ReplyKind::kSizeOrData ||
                  kind == proto::ReplyKind::kFixedData);
    ASSIGN_OR_RETURN(proto::Request<kOp> request, Decoded<kOp>(server, raw));
    return (server.ops_.*kMethod)(context, request, out);
  }

  // No reply; a malformed one is dropped.
  template <Opcode kOp, void (Ops::*kMethod)(OpContext, const Req<kOp>&)>
  static void Silent(Server& server, io::Packet& packet) {
    static_assert(proto::RowOf(kOp).reply == proto::ReplyKind::kNever);
    if (auto request = proto::Decode<kOp>(packet.raw); request.ok()) {
      (server.ops_.*kMethod)(OpContext{}, *request);
    }
    FinishSilently(server, packet);
  }

  // Answered when the lock is free.
  static void WaitForLock(Server& server, io::Packet& packet) {
    static_assert(proto::RowOf(Opcode::kSetlkw).reply ==
                  proto::ReplyKind::kHeader);
    auto request = Decoded<Opcode::kSetlkw>(server, packet.raw);
    Status status = request.ok() ? server.ops_.Setlkw(OpContext{}, *request)
                                 : Status(request.error());
    if (status.ok()) {
      Finish(server, packet, size_t{0});
    } else if (!request.ok() || status.error() != Errno(EAGAIN)) {
      Finish(server, packet, status.error());
    } else {
      server.ops_.WaitForLock(*request, server.Defer(packet));
    }
  }

  // Answered without the host.
  static Status Acknowledge(Server&, OpContext, const proto::RawRequest&,
                            ReplyBuffer&) {
    return Ok();
  }
  static Status Enosys(Server&, OpContext, const proto::RawRequest&,
                       ReplyBuffer&) {
    return Errno(ENOSYS);
  }
  static Status SecondInit(Server&, OpContext, const proto::RawRequest&,
                           ReplyBuffer&) {
    return Errno(EIO);
  }
  static Status Compound(Server& server, OpContext context,
                         const proto::RawRequest& raw, ReplyBuffer& out) {
    return server.RunCompound(context, raw, out);
  }
  // The ops of the RFC exist under a dialect that has them.
  template <Opcode kOp,
            Status (Ops::*kMethod)(OpContext, const Req<kOp>&, ReplyBuffer&)>
  static Status OfDialect(Server& server, OpContext context,
                          const proto::RawRequest& raw, ReplyBuffer& out) {
    if (server.dialect().entry == proto::EntryShape::kNone) {
      return Errno(ENOSYS);
    }
    return Data<kOp, kMethod>(server, context, raw, out);
  }
  static void Ignore(Server& server, io::Packet& packet) {
    FinishSilently(server, packet);
  }
  static void Interrupt(Server& server, io::Packet& packet) {
    auto request = proto::Decode<Opcode::kInterrupt>(packet.raw);
    if (request.ok()) server.Interrupt(Unique{request->in.unique});
    FinishSilently(server, packet);
  }

  struct Binder {
    Table table{};
    constexpr Row& operator[](Opcode op) {
      return table[proto::RowIndex(static_cast<uint32_t>(op))];
    }
  };
  static constexpr Table MakeTable();
};

#define HANDLEFS_VALUE(op, out, method) \
  bind[Opcode::op] = {.answer = &Dispatch::Value<Opcode::op, out, &Ops::method>}
#define HANDLEFS_DATA(op, method) \
  bind[Opcode::op] = {.answer = &Dispatch::Data<Opcode::op, &Ops::method>}
#define HANDLEFS_SILENT(op, method) \
  bind[Opcode::op] = {.special = &Dispatch::Silent<Opcode::op, &Ops::method>}

constexpr Dispatch::Table Dispatch::MakeTable() {
  Binder bind;
  HANDLEFS_VALUE(kLookup, abi::EntryOut, Lookup);
  HANDLEFS_SILENT(kForget, Forget);
  HANDLEFS_VALUE(kGetattr, abi::AttrOut, Getattr);
  HANDLEFS_VALUE(kSetattr, abi::AttrOut, Setattr);
  HANDLEFS_DATA(kReadlink, Readlink);
  HANDLEFS_VALUE(kSymlink, abi::EntryOut, Symlink);
  HANDLEFS_VALUE(kMknod, abi::EntryOut, Mknod);
  HANDLEFS_VALUE(kMkdir, abi::EntryOut, Mkdir);
  HANDLEFS_VALUE(kUnlink, Unit, Unlink);
  HANDLEFS_VALUE(kRmdir, Unit, Rmdir);
  HANDLEFS_VALUE(kRename, Unit, Rename);
  HANDLEFS_VALUE(kLink, abi::EntryOut, Link);
  HANDLEFS_VALUE(kOpen, abi::OpenOut, Open);
  HANDLEFS_DATA(kRead, Read);
  HANDLEFS_VALUE(kWrite, abi::WriteOut, Write);
  HANDLEFS_VALUE(kStatfs, abi::StatfsOut, Statfs);
  HANDLEFS_VALUE(kRelease, Unit, Release);
  HANDLEFS_VALUE(kFsync, Unit, Fsync);
  HANDLEFS_VALUE(kSetxattr, Unit, Setxattr);
  HANDLEFS_DATA(kGetxattr, Getxattr);
  HANDLEFS_DATA(kListxattr, Listxattr);
  HANDLEFS_VALUE(kRemovexattr, Unit, Removexattr);
  HANDLEFS_VALUE(kFlush, Unit, Flush);
  bind[Opcode::kInit] = {.answer = &SecondInit};
  HANDLEFS_VALUE(kOpendir, abi::OpenOut, Opendir);
  HANDLEFS_DATA(kReaddir, Readdir);
  HANDLEFS_VALUE(kReleasedir, Unit, Releasedir);
  HANDLEFS_VALUE(kFsyncdir, Unit, Fsyncdir);
  HANDLEFS_VALUE(kGetlk, abi::LkOut, Getlk);
  HANDLEFS_VALUE(kSetlk, Unit, Setlk);
  bind[Opcode::kSetlkw] = {.special = &WaitForLock};
  HANDLEFS_VALUE(kAccess, Unit, Access);
  HANDLEFS_VALUE(kCreate, abi::CreateOut, Create);
  bind[Opcode::kInterrupt] = {.special = &Interrupt};
  // Block numbers mean nothing to the client; only fuseblk mounts ask.
  bind[Opcode::kBmap] = {.answer = &Enosys};
  bind[Opcode::kDestroy] = {.answer = &Acknowledge};
  HANDLEFS_DATA(kIoctl, Ioctl);
  // Regular files are always ready: the kernel answers that itself after this.
  bind[Opcode::kPoll] = {.answer = &Enosys};
  // Nothing is ever retrieved.
  bind[Opcode::kNotifyReply] = {.special = &Ignore};
  HANDLEFS_SILENT(kBatchForget, BatchForget);
  HANDLEFS_VALUE(kFallocate, Unit, Fallocate);
  HANDLEFS_DATA(kReaddirplus, Readdirplus);
  HANDLEFS_VALUE(kRename2, Unit, Rename2);
  HANDLEFS_VALUE(kLseek, abi::LseekOut, Lseek);
  HANDLEFS_VALUE(kCopyFileRange, abi::WriteOut, CopyFileRange);
  // DAX windows exist on virtiofs alone.
  bind[Opcode::kSetupmapping] = {.answer = &Enosys};
  bind[Opcode::kRemovemapping] = {.answer = &Enosys};
  HANDLEFS_VALUE(kSyncfs, Unit, Syncfs);
  HANDLEFS_VALUE(kTmpfile, abi::CreateOut, Tmpfile);
  HANDLEFS_VALUE(kStatx, abi::StatxOut, Statx);
  HANDLEFS_VALUE(kCopyFileRange64, abi::CopyFileRangeOut, CopyFileRange64);
  bind[Opcode::kCompound] = {.answer = &Compound};
  bind[Opcode::kLookupHandle] = {
      .answer = &OfDialect<Opcode::kLookupHandle, &Ops::LookupHandle>};
  bind[Opcode::kMkobjHandle] = {
      .answer = &OfDialect<Opcode::kMkobjHandle, &Ops::MkobjHandle>};
  // A character device is not what is served here.
  bind[Opcode::kCuseInit] = {.answer = &Enosys};
  return bind.table;
}

namespace {
constexpr Dispatch::Table kRows = Dispatch::MakeTable();
// With -fsanitize=undefined the address of a function is no constant to g++ 12.
#ifndef __SANITIZE_ADDRESS__
static_assert(std::all_of(kRows.begin(), kRows.end(),
                          [](const Dispatch::Row& row) {
                            return (row.answer == nullptr) !=
                                   (row.special == nullptr);
                          }),
              "every row is handled, or bound to Enosys with its reason");
#endif
}  // namespace

Status Server::Vouch(NodeId node, const std::optional<proto::Bytes>& handle) {
  if (!handle || dialect_.load()->entry == proto::EntryShape::kNone) {
    return Ok();
  }
  if (node == kNoNode) return Errno(EINVAL);
  return nodes_.Vouch(node, *handle);
}

Status Server::Answer(OpContext context, const proto::RawRequest& raw,
                      ReplyBuffer& out) {
  const Dispatch::Row& row = kRows[proto::RowIndex(raw.header.opcode)];
  return row.answer(*this, context, raw, out);
}

void Server::CountResent(const Intent& intent) {
  State::Counters& counters = state_->counters();
  counters.resent.fetch_add(1, std::memory_order_relaxed);
  if (intent.answer() != nullptr) counters.recalled.fetch_add(1);
  if (intent.earlier() != nullptr) counters.settled.fetch_add(1);
}

void Server::Run(io::Packet packet, Place place) {
  const Dispatch::Row& row = kRows[proto::RowIndex(packet.raw.header.opcode)];
  if (dialect_.load(std::memory_order_relaxed)->handles_everywhere) {
    Nodes::BeginRequest();
  }
  if (row.special != nullptr) {
    row.special(*this, packet);
    return;
  }
  ReplyBuffer out(packet.token.payload());
  Intent intent(journal_ ? &*journal_ : nullptr, packet.token.unique(),
                packet.origin == io::Packet::Origin::kAgain
                    ? Intent::Turn::kAgain
                    : Intent::Turn::kFirst);
  if (state_ != nullptr && intent.is_again()) CountResent(intent);
  Status status = Ok();
  if (const Journal::Earlier* noted = intent.answer()) {
    if (noted->error != 0) status = Errno(noted->error);
    out.PutBytes(std::span(noted->payload).first(noted->payload_size));
  } else {
    status = row.answer(*this, OpContext{.place = place, .intent = &intent},
                        packet.raw, out);
    if (status.ok() || status.error() != kWouldWait) {
      intent.Done(out.Written(), status.ok() ? 0 : status.error().value());
    }
  }
  if (status.ok()) {
    Dispatch::Finish(*this, packet, out.size());
  } else if (status.error() != kWouldWait || place != Place::kReader) {
    Dispatch::Finish(*this, packet, status.error());
  } else if (pool_ != nullptr) {
    uint32_t group = nodes_.FsOf(NodeId{packet.raw.header.nodeid}).index;
    stats_->Queue(packet);
    pool_->Submit(group, std::move(packet));
  } else {
    Run(std::move(packet), Place::kPool);
  }
}

void Server::OnPacket(io::Packet packet) {
  const abi::InHeader& header = packet.raw.header;
  stats_->Begin(packet);
  TraceRequest(packet.raw);
  const proto::OpRow* row = proto::FindRow(header.opcode);
  if (row == nullptr) {
    Dispatch::Finish(*this, packet, Errno(ENOSYS));
    return;
  }
  const bool silent = row->reply == proto::ReplyKind::kNever;
  if (phase_.load(std::memory_order_relaxed) != Phase::kServing) {
    if (row->op == Opcode::kInit && phase_.load() == Phase::kStarting) {
      Start(std::move(packet));
    } else if (silent) {
      Dispatch::FinishSilently(*this, packet);
    } else {
      Dispatch::Finish(*this, packet, Errno(EIO));
    }
    return;
  }
  if (!silent && IsOwnThread(header.pid)) {
    // It would wait for itself, or for the thread that has to answer it.
    if (!told_own_request_.exchange(true)) {
      Log(LogLevel::kError,
          absl::StrCat("a thread of the server itself uses the mount (",
                       proto::OpcodeName(header.opcode),
                       "); such requests are answered with EIO"),
          {.op = proto::OpcodeName(header.opcode), .error = EIO});
    }
    Dispatch::Finish(*this, packet, Errno(EIO));
    return;
  }
  NodeId node{header.nodeid};
  if (GoesToPool(*row, node)) {
    uint32_t group = nodes_.FsOf(node).index;
    stats_->Queue(packet);
    pool_->Submit(group, std::move(packet));
    return;
  }
  Run(std::move(packet), Place::kReader);
}

}  // namespace handlefs

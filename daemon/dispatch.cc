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
  using Thunk = Server::Outcome (*)(Server&, OpContext, io::Packet&);
  using Table = std::array<Thunk, proto::kOpRows>;

  static void Finish(Server& server, io::Packet& packet, Errno error) {
    server.TraceReply(packet.raw.header.opcode,
                      proto::MakeErrorHeader(packet.token.unique(), error), {});
    packet.token.ReplyError(error);
  }
  static void Finish(Server& server, io::Packet& packet, size_t payload) {
    server.TraceReply(packet.raw.header.opcode,
                      proto::MakeOutHeader(packet.token.unique(), payload),
                      packet.token.payload().first(payload));
    packet.token.Reply(payload);
  }
  // The end of an op that gave a Result; `size` makes the payload.
  template <typename T, typename Size>
  static Server::Outcome Conclude(Server& server, io::Packet& packet,
                                  OpContext context, const Result<T>& result,
                                  Size size) {
    if (result.ok()) {
      Finish(server, packet, size());
      return Server::Outcome::kDone;
    }
    if (result.error() == kWouldWait && context.place == Place::kReader) {
      return Server::Outcome::kWouldWait;
    }
    Finish(server, packet, result.error());
    return Server::Outcome::kDone;
  }

  template <Opcode kOp>
  static Result<proto::Request<kOp>> Decoded(const io::Packet& packet) {
    return proto::Decode<kOp>(packet.raw);
  }

  // A reply of one struct, or a bare header (Unit).
  template <Opcode kOp, typename Out,
            Result<Out> (Ops::*kMethod)(OpContext, const Req<kOp>&)>
  static Server::Outcome Value(Server& server, OpContext context,
                               io::Packet& packet) {
    constexpr const proto::OpRow& row = proto::RowOf(kOp);
    constexpr bool header_only = std::is_same_v<Out, Unit>;
    static_assert(header_only ? row.reply == proto::ReplyKind::kHeader
                              : row.reply == proto::ReplyKind::kFixed &&
                                    row.reply_size == sizeof(Out));
    auto request = Decoded<kOp>(packet);
    if (!request.ok()) {
      Finish(server, packet, request.error());
      return Server::Outcome::kDone;
    }
    auto result = (server.ops_.*kMethod)(context, *request);
    return Conclude(server, packet, context, result, [&] {
      if constexpr (header_only) return size_t{0};
      proto::ReplyBuffer out(packet.token.payload());
      if constexpr (!header_only) out.Put(*result);
      return out.size();
    });
  }

  // A reply of data.
  template <Opcode kOp, Status (Ops::*kMethod)(OpContext, const Req<kOp>&,
                                               proto::ReplyBuffer&)>
  static Server::Outcome Data(Server& server, OpContext context,
                              io::Packet& packet) {
    constexpr proto::ReplyKind kind = proto::RowOf(kOp).reply;
    static_assert(kind == proto::ReplyKind::kData ||
                  kind == proto::ReplyKind::kSizeOrData ||
                  kind == proto::ReplyKind::kFixedData);
    auto request = Decoded<kOp>(packet);
    if (!request.ok()) {
      Finish(server, packet, request.error());
      return Server::Outcome::kDone;
    }
    proto::ReplyBuffer out(packet.token.payload());
    auto result = (server.ops_.*kMethod)(context, *request, out);
    return Conclude(server, packet, context, result,
                    [&] { return out.size(); });
  }

  // No reply; a malformed one is dropped.
  template <Opcode kOp, void (Ops::*kMethod)(OpContext, const Req<kOp>&)>
  static Server::Outcome Silent(Server& server, OpContext context,
                                io::Packet& packet) {
    static_assert(proto::RowOf(kOp).reply == proto::ReplyKind::kNever);
    if (auto request = Decoded<kOp>(packet); request.ok()) {
      (server.ops_.*kMethod)(context, *request);
    }
    packet.token.NoReply();
    return Server::Outcome::kDone;
  }

  // The op answers by itself, perhaps later.
  template <Opcode kOp,
            void (Ops::*kMethod)(OpContext, const Req<kOp>&, io::Token)>
  static Server::Outcome Later(Server& server, OpContext context,
                               io::Packet& packet) {
    static_assert(proto::RowOf(kOp).reply == proto::ReplyKind::kHeader);
    auto request = Decoded<kOp>(packet);
    if (!request.ok()) {
      Finish(server, packet, request.error());
      return Server::Outcome::kDone;
    }
    (server.ops_.*kMethod)(context, *request, std::move(packet.token));
    return Server::Outcome::kDone;
  }

  // Answered without the host.
  static Server::Outcome Acknowledge(Server& server, OpContext,
                                     io::Packet& packet) {
    Finish(server, packet, size_t{0});
    return Server::Outcome::kDone;
  }
  static Server::Outcome Ignore(Server&, OpContext, io::Packet& packet) {
    packet.token.NoReply();
    return Server::Outcome::kDone;
  }
  static Server::Outcome SecondInit(Server& server, OpContext,
                                    io::Packet& packet) {
    Finish(server, packet, Errno(EIO));
    return Server::Outcome::kDone;
  }
  static Server::Outcome Interrupt(Server& server, OpContext,
                                   io::Packet& packet) {
    if (auto request = Decoded<Opcode::kInterrupt>(packet); request.ok()) {
      server.Interrupt(Unique{request->in.unique});
    }
    packet.token.NoReply();
    return Server::Outcome::kDone;
  }
  static Server::Outcome Enosys(Server& server, OpContext, io::Packet& packet) {
    Finish(server, packet, Errno(ENOSYS));
    return Server::Outcome::kDone;
  }

  struct Binder {
    Table table{};
    constexpr Thunk& operator[](Opcode op) {
      return table[proto::RowIndex(static_cast<uint32_t>(op))];
    }
  };
  static constexpr Table MakeTable();
};

#define HANDLEFS_VALUE(op, out, method) \
  bind[Opcode::op] = &Dispatch::Value<Opcode::op, out, &Ops::method>
#define HANDLEFS_DATA(op, method) \
  bind[Opcode::op] = &Dispatch::Data<Opcode::op, &Ops::method>

constexpr Dispatch::Table Dispatch::MakeTable() {
  Binder bind;
  HANDLEFS_VALUE(kLookup, abi::EntryOut, Lookup);
  bind[Opcode::kForget] = &Silent<Opcode::kForget, &Ops::Forget>;
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
  bind[Opcode::kInit] = &SecondInit;
  HANDLEFS_VALUE(kOpendir, abi::OpenOut, Opendir);
  HANDLEFS_DATA(kReaddir, Readdir);
  HANDLEFS_VALUE(kReleasedir, Unit, Releasedir);
  HANDLEFS_VALUE(kFsyncdir, Unit, Fsyncdir);
  HANDLEFS_VALUE(kGetlk, abi::LkOut, Getlk);
  HANDLEFS_VALUE(kSetlk, Unit, Setlk);
  bind[Opcode::kSetlkw] = &Later<Opcode::kSetlkw, &Ops::Setlkw>;
  HANDLEFS_VALUE(kAccess, Unit, Access);
  HANDLEFS_VALUE(kCreate, abi::CreateOut, Create);
  bind[Opcode::kInterrupt] = &Interrupt;
  // Block numbers mean nothing to the client; only fuseblk mounts ask.
  bind[Opcode::kBmap] = &Enosys;
  bind[Opcode::kDestroy] = &Acknowledge;
  HANDLEFS_DATA(kIoctl, Ioctl);
  // Regular files are always ready: the kernel answers that itself after this.
  bind[Opcode::kPoll] = &Enosys;
  // Nothing is ever retrieved.
  bind[Opcode::kNotifyReply] = &Ignore;
  bind[Opcode::kBatchForget] = &Silent<Opcode::kBatchForget, &Ops::BatchForget>;
  HANDLEFS_VALUE(kFallocate, Unit, Fallocate);
  HANDLEFS_DATA(kReaddirplus, Readdirplus);
  HANDLEFS_VALUE(kRename2, Unit, Rename2);
  HANDLEFS_VALUE(kLseek, abi::LseekOut, Lseek);
  HANDLEFS_VALUE(kCopyFileRange, abi::WriteOut, CopyFileRange);
  // DAX windows exist on virtiofs alone.
  bind[Opcode::kSetupmapping] = &Enosys;
  bind[Opcode::kRemovemapping] = &Enosys;
  HANDLEFS_VALUE(kSyncfs, Unit, Syncfs);
  HANDLEFS_VALUE(kTmpfile, abi::CreateOut, Tmpfile);
  HANDLEFS_VALUE(kStatx, abi::StatxOut, Statx);
  HANDLEFS_VALUE(kCopyFileRange64, abi::CopyFileRangeOut, CopyFileRange64);
  // A character device is not what is served here.
  bind[Opcode::kCuseInit] = &Enosys;
  return bind.table;
}

namespace {
constexpr Dispatch::Table kThunks = Dispatch::MakeTable();
static_assert(std::none_of(kThunks.begin(), kThunks.end(),
                           [](Dispatch::Thunk t) { return t == nullptr; }),
              "every row is handled, or bound to Enosys with its reason");
}  // namespace

void Server::Run(io::Packet packet, Place place) {
  size_t index = proto::RowIndex(packet.raw.header.opcode);
  if (kThunks[index](*this, OpContext{.place = place}, packet) ==
      Outcome::kDone) {
    return;
  }
  if (pool_ != nullptr) {
    uint32_t group = nodes_.FsOf(NodeId{packet.raw.header.nodeid}).index;
    pool_->Submit(group, std::move(packet));
  } else {
    Run(std::move(packet), Place::kPool);
  }
}

void Server::OnPacket(io::Packet packet) {
  const abi::InHeader& header = packet.raw.header;
  if (options_.trace == Switch::kOn) {
    LogTrace(proto::DescribeRequest(packet.raw));
  }
  const proto::OpRow* row = proto::FindRow(header.opcode);
  if (row == nullptr) {
    Dispatch::Finish(*this, packet, Errno(ENOSYS));
    return;
  }
  const bool silent = row->reply == proto::ReplyKind::kNever;
  if (state_.load(std::memory_order_relaxed) != State::kServing) {
    if (row->op == Opcode::kInit && state_.load() == State::kStarting) {
      Start(std::move(packet));
    } else if (silent) {
      packet.token.NoReply();
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
                       "); such requests are answered with EIO"));
    }
    Dispatch::Finish(*this, packet, Errno(EIO));
    return;
  }
  NodeId node{header.nodeid};
  if (GoesToPool(*row, node)) {
    uint32_t group = nodes_.FsOf(node).index;
    pool_->Submit(group, std::move(packet));
    return;
  }
  Run(std::move(packet), Place::kReader);
}

}  // namespace handlefs

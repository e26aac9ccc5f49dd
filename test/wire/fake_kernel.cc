#include "fake_kernel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <exception>
#include <iostream>

#include "proto/cursor.h"
#include "proto/text.h"

namespace handlefs::test {
namespace {

using proto::Opcode;

constexpr int kTimeoutMs = 10000;
// Twice this is what a socket holds: two of the largest messages.
constexpr int kSocketBuffer = (1 << 20) + 8192;
constexpr size_t kLargestReply = (1 << 20) + 65536;

void GrowBuffer(int fd) {
  int size = kSocketBuffer;
  // Beyond the system's limit this takes privilege; within it, none.
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
  }
}

bool SizeIsRight(const proto::OpRow& row, const Answer& answer) {
  size_t size = answer.payload.size();
  switch (row.reply) {
    case proto::ReplyKind::kNever:
      return false;
    case proto::ReplyKind::kHeader:
      return size == 0;
    case proto::ReplyKind::kFixed:
      if (row.op == Opcode::kInit) return size == 8 || size == row.reply_size;
      return size == row.reply_size;
    case proto::ReplyKind::kFixedData:
      return size >= row.reply_size;
    case proto::ReplyKind::kData:
    case proto::ReplyKind::kSizeOrData:
      return true;
  }
  return false;
}

}  // namespace

proto::InitFlags OfferedFlags() {
  return proto::InitFlags::FromWire(0x73fffffb, 0x5fd);
}

FakeKernel::FakeKernel(const std::filesystem::path& source)
    : FakeKernel(source, Setup{}) {}

FakeKernel::FakeKernel(const std::filesystem::path& source, const Setup& setup)
    : buffer_(kLargestReply, '\0'),
      exceptions_at_start_(std::uncaught_exceptions()) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    throw WireFailure("socketpair");
  }
  socket_ = UniqueFd(ends[0]);
  GrowBuffer(ends[0]);
  GrowBuffer(ends[1]);
  process_ =
      std::make_unique<DaemonProcess>(source, setup.options, UniqueFd(ends[1]));
  if (setup.handshake == Handshake::kLeftToTest) return;
  Answer answer = Call(InitMessage(7, setup.minor, setup.offered));
  if (!answer.ok()) {
    throw WireFailure("INIT is refused: " + proto::ErrnoName(answer.error) +
                      " " + process_->Stderr());
  }
  init_ = answer.Get<abi::InitOut>();
}

FakeKernel::~FakeKernel() noexcept(false) {
  if (std::uncaught_exceptions() > exceptions_at_start_) {
    std::cerr << process_->Stderr();
  } else if (!stopped_) {
    Stop();
  }
}

Message FakeKernel::InitMessage(uint32_t major, uint32_t minor,
                                proto::InitFlags offered) {
  abi::InitIn in{};
  in.major = major;
  in.minor = minor;
  in.max_readahead = 131072;
  in.flags = offered.low();
  in.flags2 = offered.high();
  return Message(Opcode::kInit, 0).Put(in);
}

uint64_t FakeKernel::Send(Message message) {
  if (message.unique() == 0) {
    message.WithUnique(next_unique_);
    next_unique_ += 2;
  }
  return SendBytes(message.Encode());
}

uint64_t FakeKernel::SendBytes(std::string_view bytes) {
  abi::InHeader header;
  if (bytes.size() < sizeof(header)) throw WireFailure("no header to answer");
  std::memcpy(&header, bytes.data(), sizeof(header));
  const proto::OpRow* row = proto::FindRow(header.opcode);
  if (row == nullptr || row->reply != proto::ReplyKind::kNever) {
    waiting_[header.unique] = header.opcode;
  }
  SendRaw(bytes);
  return header.unique;
}

void FakeKernel::SendRaw(std::string_view bytes) {
  ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(bytes.size())) {
    throw WireFailure("the daemon does not read: " + process_->Stderr());
  }
}

Answer FakeKernel::Parse(const std::string& bytes) {
  abi::OutHeader header;
  if (bytes.size() < sizeof(header)) throw WireFailure("reply without header");
  std::memcpy(&header, bytes.data(), sizeof(header));
  Answer answer{.unique = header.unique,
                .error = -header.error,
                .payload = bytes.substr(sizeof(header))};
  auto it = waiting_.find(answer.unique);
  uint32_t opcode = it == waiting_.end() ? 0 : it->second;
  std::string text = proto::DescribeReply(
      opcode, header, std::as_bytes(std::span(answer.payload)));
  if (header.len != bytes.size()) {
    throw WireFailure("reply of wrong length: " + text);
  }
  if (answer.unique == 0) return answer;
  if (it == waiting_.end()) {
    throw WireFailure("an answer that nobody waits for: " + text);
  }
  if (header.error > 0 || header.error <= -512) {
    throw WireFailure("an error that the kernel refuses: " + text);
  }
  const proto::OpRow* row = proto::FindRow(opcode);
  if (header.error != 0 && !answer.payload.empty()) {
    throw WireFailure("an error with a payload: " + text);
  }
  if (answer.ok() && (row == nullptr || !SizeIsRight(*row, answer))) {
    throw WireFailure("a success of wrong size: " + text);
  }
  waiting_.erase(it);
  return answer;
}

// False at the end of the connection.
bool FakeKernel::ReceiveOne() {
  pollfd poller{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  if (poll(&poller, 1, kTimeoutMs) != 1) {
    throw WireFailure("no answer within ten seconds; the daemon said: " +
                      process_->Stderr());
  }
  ssize_t n = recv(socket_.get(), buffer_.data(), buffer_.size(), MSG_TRUNC);
  // A peer that dies with unread messages resets the connection.
  if (n <= 0) return false;
  if (static_cast<size_t>(n) > buffer_.size()) {
    throw WireFailure("a reply larger than anything asked for");
  }
  Answer answer = Parse(buffer_.substr(0, static_cast<size_t>(n)));
  if (answer.unique == 0) {
    ++notifications_;
  } else {
    answers_[answer.unique] = std::move(answer);
  }
  return true;
}

Answer FakeKernel::Receive(uint64_t unique) {
  while (!answers_.contains(unique)) {
    if (!ReceiveOne()) {
      process_->ExpectEnd(0);
      throw WireFailure("the daemon went away: " + process_->Stderr());
    }
  }
  return std::move(answers_.extract(unique).mapped());
}

void FakeKernel::Barrier() {
  if (!Getattr(1).ok()) throw WireFailure("the root has no attributes");
}

void FakeKernel::Stop(int status) {
  stopped_ = true;
  shutdown(socket_.get(), SHUT_WR);
  while (ReceiveOne()) {
  }
  process_->ExpectEnd(status);
}

Answer FakeKernel::Lookup(uint64_t dir, std::string_view name) {
  return Call(Message(Opcode::kLookup, dir).Name(name));
}
Answer FakeKernel::Getattr(uint64_t node) {
  return Call(Message(Opcode::kGetattr, node).Put(abi::GetattrIn{}));
}
Answer FakeKernel::Open(uint64_t node, uint32_t flags) {
  return Call(Message(Opcode::kOpen, node)
                  .Put(abi::OpenIn{.flags = flags, .open_flags = 0}));
}
Answer FakeKernel::Opendir(uint64_t node) {
  return Call(
      Message(Opcode::kOpendir, node)
          .Put(abi::OpenIn{.flags = O_RDONLY | O_DIRECTORY, .open_flags = 0}));
}
Answer FakeKernel::Create(uint64_t dir, std::string_view name, uint32_t flags,
                          uint32_t mode) {
  return Call(Message(Opcode::kCreate, dir)
                  .Put(abi::CreateIn{.flags = flags | O_CREAT,
                                     .mode = S_IFREG | mode,
                                     .umask = 0,
                                     .open_flags = 0})
                  .Name(name));
}
Answer FakeKernel::Mkdir(uint64_t dir, std::string_view name, uint32_t mode) {
  return Call(Message(Opcode::kMkdir, dir)
                  .Put(abi::MkdirIn{.mode = mode, .umask = 0})
                  .Name(name));
}
Answer FakeKernel::Read(uint64_t node, uint64_t fh, uint64_t offset,
                        uint32_t size) {
  abi::ReadIn in{};
  in.fh = fh;
  in.offset = offset;
  in.size = size;
  return Call(Message(Opcode::kRead, node).Put(in));
}
Answer FakeKernel::Write(uint64_t node, uint64_t fh, uint64_t offset,
                         std::string_view data) {
  abi::WriteIn in{};
  in.fh = fh;
  in.offset = offset;
  in.size = static_cast<uint32_t>(data.size());
  in.flags = O_RDWR;
  return Call(Message(Opcode::kWrite, node).Put(in).Data(data));
}
Answer FakeKernel::Release(Opcode op, uint64_t node, uint64_t fh,
                           uint32_t flags) {
  abi::ReleaseIn in{};
  in.fh = fh;
  in.release_flags = flags;
  return Call(Message(op, node).Put(in));
}
Answer FakeKernel::Readdir(Opcode op, uint64_t node, uint64_t fh,
                           uint64_t offset, uint32_t size) {
  abi::ReadIn in{};
  in.fh = fh;
  in.offset = offset;
  in.size = size;
  return Call(Message(op, node).Put(in));
}
Message FakeKernel::LockMessage(Opcode op, uint64_t node, uint64_t fh,
                                uint64_t owner, const abi::FileLock& lock,
                                uint32_t flags) const {
  abi::LkIn in{};
  in.fh = fh;
  in.owner = owner;
  in.lk = lock;
  in.lk_flags = flags;
  return Message(op, node).Put(in);
}
void FakeKernel::Forget(uint64_t node, uint64_t nlookup) {
  Send(Message(Opcode::kForget, node).Put(abi::ForgetIn{.nlookup = nlookup}));
}

uint64_t FakeKernel::Node(uint64_t dir, std::string_view name) {
  Answer answer = Lookup(dir, name);
  auto entry = answer.Get<abi::EntryOut>();
  if (!answer.ok() || entry.nodeid == 0) {
    throw WireFailure("no node for " + std::string(name) + ": " +
                      proto::ErrnoName(answer.error));
  }
  return entry.nodeid;
}

uint64_t FakeKernel::OpenFh(uint64_t node, uint32_t flags) {
  Answer answer = Open(node, flags);
  if (!answer.ok()) {
    throw WireFailure("OPEN: " + proto::ErrnoName(answer.error));
  }
  return answer.Get<abi::OpenOut>().fh;
}

std::vector<ListedEntry> FakeKernel::Entries(Opcode op, std::string_view page) {
  std::vector<ListedEntry> entries;
  proto::Cursor cursor(std::as_bytes(std::span(page)));
  while (!cursor.rest().empty()) {
    ListedEntry entry;
    size_t head = sizeof(abi::Dirent);
    if (op == Opcode::kReaddirplus) {
      head = sizeof(abi::Direntplus);
      auto node = cursor.Take<abi::EntryOut>();
      if (!node) throw WireFailure("a page ends inside an entry");
      entry.node = *node;
    }
    auto dirent = cursor.Take<abi::Dirent>();
    if (!dirent) throw WireFailure("a page ends inside an entry");
    entry.dirent = *dirent;
    auto name = cursor.TakeBytes(dirent->namelen);
    if (!name || !cursor.TakeBytes(-(head + dirent->namelen) & 7)) {
      throw WireFailure("a page ends inside a name");
    }
    entry.name = {reinterpret_cast<const char*>(name->data()), name->size()};
    entries.push_back(entry);
  }
  return entries;
}

}  // namespace handlefs::test
